/** Prints what the client adds to a page, minified and compressed, for what is imported of it, and fails above the limits. */
import { gzipSync } from 'node:zlib';
import { bundleClient } from './client-bundle.mjs';

/** The most bytes with gzip. */
const LIMITS = [
  { names: ['createSseClient'], limit: 5_800 },
  { names: ['createSseClient', 'hub'], limit: 8_300 },
  { names: ['createSseClient', 'hub', 'sharedTabs'], limit: 10_800 },
];

for (const { names, limit } of LIMITS) {
  const { code, bytesByFile } = await bundleClient(names);
  const compressed = gzipSync(code, { level: 9 }).length;
  if (names.length === LIMITS.length) {
    console.log('Bytes of each file before they are minified:');
    for (const [file, bytes] of [...bytesByFile].sort((a, b) => b[1] - a[1])) {
      if (bytes > 0) console.log(`${String(bytes).padStart(6)}  ${file}`);
    }
  }
  console.log(
    `${names.join(', ')}: ${Buffer.byteLength(code)} bytes minified, ${compressed} with gzip; the limit is ${limit}`,
  );
  if (compressed > limit) process.exitCode = 1;
}
