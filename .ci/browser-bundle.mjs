/** What a browser loads: a program and all that it imports, the libs from their sources, as one ES module. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/**
 * @param entry a file, seen from the root, or `{ contents }`
 * @param mode `development` keeps names and the checks of libraries
 * @returns the bundle, and for each file how many bytes of it are its own
 */
export async function bundleForBrowser(entry, mode = 'production') {
  const { outputFiles, metafile } = await build({
    ...(typeof entry === 'string' ? { entryPoints: [entry] } : { stdin: { ...entry, resolveDir: ROOT } }),
    absWorkingDir: ROOT,
    bundle: true,
    minify: mode === 'production',
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': JSON.stringify(mode) },
    tsconfig: 'tsconfig.json',
    metafile: true,
    write: false,
    outdir: '.',
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  return {
    code: outputFiles[0].text,
    bytesByFile: Object.entries(inputs).map(([file, { bytesInOutput }]) => [file, bytesInOutput]),
  };
}
