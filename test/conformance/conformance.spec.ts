import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ALL_CLAIMS } from './claims/all-claims.js';
// Plain JavaScript: it is run before anything is compiled.
import { COMPILED, compile } from './compile.mjs';
import { ADAPTERS } from './own-app.js';
import { startOwnProcess, type RunningTarget } from './own-target.js';
import { findReaders } from './readers/all-readers.js';
import { reportLines } from './report.js';
import { runSuite } from './suite.js';

/** A run that failed is seen again with its seed: `CONFORMANCE_SEED=… npm test -- test/conformance`. */
const seed = Number(process.env['CONFORMANCE_SEED'] ?? Date.now() % 1_000_000);
const readers = findReaders();

beforeAll(() => compile());

afterAll(async () => {
  for (const reader of readers) await reader.close?.();
});

describe.each(ADAPTERS)('the own application on %s, a process', (adapter) => {
  let running: RunningTarget;

  beforeAll(async () => {
    running = await startOwnProcess(adapter, COMPILED);
  }, 30_000);

  afterAll(() => running?.stop());

  it.each(ALL_CLAIMS)(
    '$name: $sentence',
    async ({ name }) => {
      const [outcome] = await runSuite({
        target: running.target,
        readers,
        only: [name],
        seed,
        seeds: 1,
        size: 'short',
      });
      const report = outcome && reportLines(outcome, 'npm run conformance -- --short').join('\n');
      // The report is what there is to read when it fails.
      expect({ report, breaks: outcome?.breaks, leftOut: outcome?.leftOut }).toEqual({
        report,
        breaks: [],
        leftOut: [],
      });
      expect(outcome?.held.size).toBeGreaterThan(0);
    },
    60_000,
  );

  it('has spoken of no error meanwhile', () => {
    expect(running.complaints()).toEqual([]);
  });
});
