/** Prints what the client adds to a page, minified and compressed, and fails above the limit. */
import { gzipSync } from 'node:zlib';
import { bundleClient } from './client-bundle.mjs';

const LIMIT_BYTES = 6_000;

const { code, bytesByFile } = await bundleClient();
const compressed = gzipSync(code, { level: 9 }).length;
for (const [file, bytes] of bytesByFile.sort((a, b) => b[1] - a[1])) {
  if (bytes > 0) console.log(`${String(bytes).padStart(6)}  ${file}`);
}
console.log(`${Buffer.byteLength(code)} bytes minified, ${compressed} with gzip; the limit is ${LIMIT_BYTES}`);
process.exitCode = compressed > LIMIT_BYTES ? 1 : 0;
