/**
 * Prints what the client adds to a page, minified and compressed, and fails above the limit: what a bundler makes of an import of
 * `createSseClient` from the sources, with the protocol's modules that it needs and nothing else.
 */
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LIMIT_BYTES = 6_000;

const { outputFiles, metafile } = await build({
  stdin: { contents: `export { createSseClient } from '@sse-channels/client';`, resolveDir: process.cwd() },
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  tsconfig: 'tsconfig.json',
  metafile: true,
  write: false,
});
const { contents } = outputFiles[0];
const compressed = gzipSync(contents, { level: 9 }).length;

const inputs = Object.entries(Object.values(metafile.outputs)[0].inputs);
for (const [file, { bytesInOutput }] of inputs.sort((a, b) => b[1].bytesInOutput - a[1].bytesInOutput)) {
  if (bytesInOutput > 0) console.log(`${String(bytesInOutput).padStart(6)}  ${file}`);
}
console.log(`${contents.length} bytes minified, ${compressed} with gzip; the limit is ${LIMIT_BYTES}`);
process.exitCode = compressed > LIMIT_BYTES ? 1 : 0;
