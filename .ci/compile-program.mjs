/**
 * Compiles a folder's programs and, from their sources, the libs that they use: `node .ci/compile-program.mjs bench`. `nest build` would
 * leave the imports of a lib alone as soon as its package was built once, and the program would run on that old build.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = new URL(`../${process.argv[2]}/`, import.meta.url);
const dist = new URL('dist/', folder);
const compiler = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
const project = fileURLToPath(new URL('tsconfig.app.json', folder));

rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [compiler, '-p', project], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);

// What an import by a lib's name finds first, seen from dist.
for (const lib of readdirSync(new URL('libs/', dist))) {
  const alias = new URL(`node_modules/@sse-channels/${lib}/`, dist);
  mkdirSync(alias, { recursive: true });
  writeFileSync(new URL('package.json', alias), JSON.stringify({ type: 'module', exports: './index.js' }));
  writeFileSync(new URL('index.js', alias), `export * from '../../../libs/${lib}/src/index.js';\n`);
}
