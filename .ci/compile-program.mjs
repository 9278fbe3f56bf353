/**
 * Compiles a folder's programs and, from their sources, what they import: `node .ci/compile-program.mjs bench`. File by file and without a
 * look at the types, since `npm run typecheck` has looked at them. `nest build` would leave the imports of a lib alone as soon as its
 * package was built once, and the program would run on that old build.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';
import { SWC_OPTIONS } from './swc-options.mjs';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const OPTIONS = { ...SWC_OPTIONS, swcrc: false };
/** Imports of files, as they are left in compiled code. */
const RELATIVE_IMPORT = /(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+\.js)['"]/g;

/**
 * @param folder seen from the root; its files are compiled, and those of other folders that they import
 * @returns the folder that they were compiled to, in which each has the place that it has under the root
 */
export function compileProgram(folder) {
  const out = join(ROOT, folder, 'dist');
  rmSync(out, { recursive: true, force: true });
  const libs = readdirSync(join(ROOT, 'libs'));
  const due = [folder, ...libs.map((lib) => `libs/${lib}/src`)].flatMap(sourcesIn);
  const seen = new Set(due);
  for (const file of due) {
    const { code } = transformSync(readFileSync(join(ROOT, file), 'utf8'), { ...OPTIONS, filename: join(ROOT, file) });
    write(out, file.replace(/\.ts$/, '.js'), code);
    for (const [, specifier] of code.matchAll(RELATIVE_IMPORT)) {
      const imported = normalize(join(dirname(file), specifier)).replace(/\.js$/, '.ts');
      if (seen.has(imported)) continue;
      seen.add(imported);
      due.push(imported);
    }
  }
  // What an import by a lib's name finds first, seen from there.
  for (const lib of libs) {
    const alias = `node_modules/@sse-channels/${lib}`;
    write(out, `${alias}/package.json`, JSON.stringify({ type: 'module', exports: './index.js' }));
    write(out, `${alias}/index.js`, `export * from '../../../libs/${lib}/src/index.js';\n`);
  }
  return out;
}

function sourcesIn(folder) {
  return readdirSync(join(ROOT, folder), { recursive: true })
    .filter((name) => name.endsWith('.ts') && !/\.spec\.ts$|\.d\.ts$|(^|\/)(dist|node_modules)\//.test(name))
    .map((name) => join(folder, name));
}

function write(out, file, text) {
  const path = join(out, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) compileProgram(process.argv[2]);
