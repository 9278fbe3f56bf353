/** What a bundler makes of `import { createSseClient } from '@sse-channels/client'`, from the sources: what a page loads. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** @returns the bundle, an ES module, and for each file how many bytes of it are its own */
export async function bundleClient() {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export { createSseClient } from '@sse-channels/client';`, resolveDir: ROOT },
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    tsconfig: 'tsconfig.json',
    metafile: true,
    write: false,
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  return {
    code: outputFiles[0].text,
    bytesByFile: Object.entries(inputs).map(([file, { bytesInOutput }]) => [file, bytesInOutput]),
  };
}
