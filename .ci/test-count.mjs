/** Prints what jest's JSON report counts, on one line; fails unless every test ran and passed. */
import { readFileSync } from 'node:fs';

const report = read(process.argv[2]);
const passed = report.numPassedTests;
// A file that does not load has no failed tests to count; it counts as one.
const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
const skipped = report.numPendingTests + report.numTodoTests;

for (const { name } of report.testResults.filter(({ assertionResults }) => assertionResults.length === 0)) {
  console.error(`No test ran in ${name}`);
}
for (const { title, status } of report.testResults.flatMap(({ assertionResults }) => assertionResults)) {
  if (status !== 'passed' && status !== 'failed') console.error(`Left out (${status}): ${title}`);
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = report.success && passed > 0 && failed === 0 && skipped === 0 ? 0 : 1;

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    console.error(`jest left no report: ${error.message}`);
    const none = {
      numPassedTests: 0,
      numFailedTests: 0,
      numRuntimeErrorTestSuites: 0,
      numPendingTests: 0,
      numTodoTests: 0,
    };
    return { ...none, testResults: [], success: false };
  }
}
