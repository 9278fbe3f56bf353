/**
 * Builds the publishable packages from one source: dist/esm and dist/cjs of every lib, or of the libs named as arguments.
 * A lib starts at its index, so specs stay out; other libs are read as their users read them, through their package.json.
 */
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import ts from 'typescript';

const host = {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic(diagnostic) {
    throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
  },
};
const formatHost = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => process.cwd(),
  getNewLine: () => '\n',
};
const all = readdirSync('libs').map((lib) => JSON.parse(readFileSync(`libs/${lib}/package.json`, 'utf8')));
const wanted = process.argv.slice(2);
const built = new Set();

for (const { name } of all) if (wanted.length === 0 || wanted.includes(name.split('/')[1])) build(name);

/** Builds a package after those it depends on. */
function build(name) {
  const manifest = all.find((candidate) => candidate.name === name);
  if (manifest === undefined || built.has(name)) return;
  built.add(name);
  for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) build(dependency);

  const folder = `libs/${name.split('/')[1]}`;
  rmSync(`${folder}/dist`, { recursive: true, force: true });
  const files = compile('tsconfig.build.json', folder, `${folder}/dist/esm`);
  compile('tsconfig.build.cjs.json', folder, `${folder}/dist/cjs`);
  writeFileSync(`${folder}/dist/cjs/package.json`, '{ "type": "commonjs" }\n');
  copyFileSync('LICENSE', `${folder}/LICENSE`);
  console.log(`${name} ${manifest.version}: ${files} files as ESM and CommonJS`);
}

function compile(project, folder, outDir) {
  const { options, errors } = ts.getParsedCommandLineOfConfigFile(project, { rootDir: `${folder}/src`, outDir }, host);
  const program = ts.createProgram([`${folder}/src/index.ts`], options);
  const { diagnostics, emitSkipped } = program.emit();
  const found = ts.sortAndDeduplicateDiagnostics([...errors, ...ts.getPreEmitDiagnostics(program), ...diagnostics]);
  if (found.length > 0 || emitSkipped) {
    console.error(ts.formatDiagnosticsWithColorAndContext(found, formatHost));
    throw new Error(`${folder} does not compile with ${project}`);
  }
  return program.getSourceFiles().filter((file) => file.fileName.includes(`${folder}/src/`)).length;
}
