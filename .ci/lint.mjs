/**
 * Lints the repository and holds what a linter alone can not: it fails when oxlint read other files than git knows,
 * so that no rule passes by not looking, and when a file under libs is named after nothing.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDERS = ['libs', 'apps', 'test', 'bench', '.ci'].filter((folder) => existsSync(folder));
const CODE = /\.[cm]?[jt]sx?$/;
const oxlint = fileURLToPath(new URL('../node_modules/oxlint/bin/oxlint', import.meta.url));

const problems = [];
const files = codeFiles();
const { diagnostics, number_of_files: read } = lint();

for (const { message, code, help, filename, labels } of diagnostics) {
  const { line = 1, column = 1 } = labels?.[0]?.span ?? {};
  problems.push(`${filename}:${line}:${column}  ${message}  [${code ?? 'oxlint'}]${help ? `\n    ${help}` : ''}`);
}
if (read !== files.length) {
  const seen = new Set(
    run(process.execPath, [oxlint, '--debug=files', ...FOLDERS])
      .split('\n')
      .filter(Boolean),
  );
  const missed = files.filter((file) => !seen.delete(file));
  const differences = [
    ...missed.map((file) => `\n    not read: ${file}`),
    ...[...seen].map((file) => `\n    unknown to git: ${file}`),
  ];
  problems.push(`oxlint read ${read} files, git knows ${files.length}  [file-count]${differences.join('')}`);
}
for (const file of files.filter((path) => path.startsWith('libs/')))
  problems.push(...namedAfterNothing(file), ...hidden(file));

for (const problem of problems) console.error(problem);
console.log(`oxlint read ${read} of ${files.length} files: ${problems.length} problems`);
process.exitCode = problems.length > 0 || files.length === 0 ? 1 : 0;

/** The code files that git tracks or would track, as far as they still exist. */
function codeFiles() {
  const listed = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...FOLDERS];
  // In a clone owned by another user git refuses to read; only names are asked for here.
  const names = run('git', ['-c', 'safe.directory=*', ...listed]).split('\0');
  return [...new Set(names)].filter((name) => CODE.test(name) && existsSync(name));
}

function lint() {
  const out = run(process.execPath, [oxlint, '--type-aware', '--deny-warnings', '--format=json', ...FOLDERS]);
  try {
    return JSON.parse(out);
  } catch {
    throw new Error(`oxlint gave no report but:\n${out}`);
  }
}

function run(command, args) {
  const { error, stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (error) throw error;
  // oxlint ends with 1 when it found something.
  if (status !== 0 && stdout === '') throw new Error(`${command} ended with ${status}:\n${stderr}`);
  return stdout;
}

/** A folder is a concept and a file is a noun; Nest's suffixes stay in libs/nest. */
function namedAfterNothing(file) {
  const found = [];
  for (const word of file.split('/').flatMap((name) => name.split('.'))) {
    if (/^(?:utils?|helpers?|common|shared|interfaces?|types?|services?|constants?)$/.test(word)) {
      found.push(`${file}:1:1  "${word}" says nothing; name the thing that is in there  [file-name]`);
    }
  }
  if (!file.startsWith('libs/nest/') && /\.(?:module|decorator|interceptor)\./.test(file)) {
    found.push(`${file}:1:1  Nest's suffixes stay in libs/nest  [file-name]`);
  }
  return found;
}

/** What would slip an import past the rules: an import inside a type, and a comment that switches a rule off. */
function hidden(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.flatMap((line, index) => {
    const at = `${file}:${index + 1}:1`;
    if (/lint-disable(?:-next-line|-line)?(?:\s*(?:--|\*\/|$)|.*(?:no-restricted-imports|no-cycle))/.test(line)) {
      return [`${at}  The import rules can not be switched off  [import-rules]`];
    }
    if (
      !file.endsWith('.spec.ts') &&
      /\btypeof import\(|\bimport\(\s*['"][^'"]*['"]\s*\)\.(?!then|catch|finally)/.test(line)
    ) {
      return [
        `${at}  Import a type by a statement; import() in a type is not seen by the import rules  [import-rules]`,
      ];
    }
    return [];
  });
}
