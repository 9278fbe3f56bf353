/** What a browser loads: a program and all that it imports, the libs from their sources, as ES modules. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
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
    ...options(mode),
    ...(typeof entry === 'string' ? { entryPoints: [entry] } : { stdin: { ...entry, resolveDir: ROOT } }),
    metafile: true,
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  return {
    code: outputFiles[0].text,
    bytesByFile: Object.entries(inputs).map(([file, { bytesInOutput }]) => [file, bytesInOutput]),
  };
}

/** Bundles the scripts of the sample's pages, with what they have in common, to where the sample serves them from. */
export async function bundleSamplePages() {
  const folder = 'apps/sample/page';
  const out = join(ROOT, folder, 'dist');
  const { outputFiles } = await build({
    ...options('production'),
    entryPoints: ['theme.ts', 'floor.ts', 'react-floor.tsx'].map((name) => join(folder, name)),
    splitting: true,
    sourcemap: 'linked',
  });
  mkdirSync(out, { recursive: true });
  // Two processes may do this at a time, and a third serve what is there: a file is whole at any moment.
  for (const { path, contents } of outputFiles) {
    const file = join(out, basename(path));
    if (existsSync(file) && readFileSync(file).equals(contents)) continue;
    writeFileSync(`${file}.${process.pid}`, contents);
    renameSync(`${file}.${process.pid}`, file);
  }
  const names = new Set(outputFiles.map(({ path }) => basename(path)));
  for (const name of readdirSync(out)) {
    if (!names.has(name) && !/\.\d+$/.test(name)) rmSync(join(out, name), { force: true });
  }
}

function options(mode) {
  return {
    absWorkingDir: ROOT,
    bundle: true,
    minify: mode === 'production',
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': JSON.stringify(mode) },
    tsconfig: 'tsconfig.json',
    outdir: '.',
    write: false,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleSamplePages();
