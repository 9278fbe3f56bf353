/**
 * Compiles the suite, and the libs from their sources, to dist/conformance: file by file and without a look at the types, since
 * `npm run typecheck` has looked at them. An import by a lib's name finds what was compiled here.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformFileSync } from '@swc/core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Where it goes; the own application's main program is in there. */
export const COMPILED = join(ROOT, 'dist', 'conformance');

const OPTIONS = {
  swcrc: false,
  jsc: {
    target: 'es2022',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
    keepClassNames: true,
  },
  module: { type: 'es6' },
};

export function compile() {
  rmSync(COMPILED, { recursive: true, force: true });
  const libs = readdirSync(join(ROOT, 'libs'));
  for (const folder of ['test/conformance', ...libs.map((lib) => `libs/${lib}/src`)]) compileFolder(folder);
  compileFile('test/programs.ts');
  for (const lib of libs) {
    write(`node_modules/@sse-channels/${lib}/package.json`, JSON.stringify({ type: 'module', exports: './index.js' }));
    write(`node_modules/@sse-channels/${lib}/index.js`, `export * from '../../../libs/${lib}/src/index.js';\n`);
  }
}

function compileFolder(folder) {
  for (const name of readdirSync(join(ROOT, folder), { recursive: true })) {
    if (name.endsWith('.ts') && !name.endsWith('.spec.ts')) compileFile(join(folder, name));
  }
}

function compileFile(file) {
  write(file.replace(/\.ts$/, '.js'), transformFileSync(join(ROOT, file), OPTIONS).code);
}

function write(file, text) {
  const path = join(COMPILED, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) compile();
