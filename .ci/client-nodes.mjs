/**
 * Runs the client's tests on several Nodes: `npm run test:nodes`, or `npm run test:nodes -- 22` for some of them. A line for each says what
 * was counted, and it fails where one of them does. Chromium is tried with the Node that this is started with alone: it is the same beside all.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TESTS = ['libs/client', 'libs/protocol', 'test/client'];
const OWN = process.versions.node.split('.')[0];
const JEST = fileURLToPath(new URL('../node_modules/jest/bin/jest.js', import.meta.url));
const reports = mkdtempSync(join(tmpdir(), 'client-nodes-'));

const given = process.argv.slice(2);
const lines = [...new Set(given.length > 0 ? given : [OWN, '22', '24'])].map((major) => {
  const { line, isGood } = run(major, major === OWN ? process.execPath : binaryOf(major));
  console.log(line);
  if (!isGood) process.exitCode = 1;
  return line;
});
if (process.exitCode === 1) console.log(`Not all of them passed:\n${lines.join('\n')}`);
rmSync(reports, { recursive: true });

/** From the registry: a package of each platform has nothing but the binary. */
function binaryOf(major) {
  const system = process.platform === 'win32' ? 'win' : process.platform;
  const from = [`--package=node-${system}-${process.arch}@${major}`, '-c', 'node -p process.execPath'];
  return execFileSync('npm', ['exec', '--yes', ...from], { encoding: 'utf8', cwd: reports }).trim();
}

function run(major, node) {
  const began = performance.now();
  const outputFile = join(reports, `${major}.json`);
  const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  const { stderr, stdout } = spawnSync(node, [...flags, JEST, ...TESTS, '--json', '--outputFile', outputFile], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, ...(major === OWN ? {} : { CHROMIUM_PATH: 'none' }) },
  });
  const report = read(outputFile);
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const count = (is) => tests.filter(is).length;
  const isOfChromium = ({ ancestorTitles }) => ancestorTitles.some((title) => title.includes('Chromium'));
  const isLeftOut = ({ status }) => status !== 'passed' && status !== 'failed';
  const passed = count(({ status }) => status === 'passed');
  const leftOut = count((test) => isLeftOut(test) && !isOfChromium(test));
  const isGood = report.success && passed > 0 && leftOut === 0;
  if (!isGood) console.log(stdout, stderr);
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const counted =
    `${passed} passed, ${report.numFailedTests + report.numRuntimeErrorTestSuites} failed, ${leftOut} left out, ` +
    `${count((test) => isLeftOut(test) && isOfChromium(test))} left to Chromium`;
  return { line: `Node ${version}: ${counted}; ${Math.round((performance.now() - began) / 1_000)} s`, isGood };
}

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { success: false, testResults: [], numFailedTests: 0, numRuntimeErrorTestSuites: 1 };
  }
}
