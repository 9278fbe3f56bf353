import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { compileProgram } from '../../.ci/compile-program.mjs';
import { ALL_CLAIMS } from './claims/all-claims.js';
// Plain JavaScript: it is run before anything is compiled.
import { FAULTY_VARIANTS, type FaultyVariant } from './faulty-variants.js';
import { ADAPTERS } from './own-app.js';
import { startOwnApp, startOwnProcess, type RunningTarget } from './own-target.js';
import { findReaders } from './readers/all-readers.js';
import { reportLines } from './report.js';
import { runSuite } from './suite.js';

const run = promisify(execFile);

/** A run that failed is seen again with its seed: `CONFORMANCE_SEED=… npm test -- test/conformance`. */
const seed = Number(process.env['CONFORMANCE_SEED'] ?? Date.now() % 1_000_000);
const readers = findReaders();

/** Where the own application's main program, and the command, are compiled to. */
let compiled = '';
beforeAll(() => {
  compiled = compileProgram('test/conformance');
});

afterAll(async () => {
  for (const reader of readers) await reader.close?.();
});

describe.each(ADAPTERS)('the own application on %s, a process', (adapter) => {
  let running: RunningTarget;

  beforeAll(async () => {
    running = await startOwnProcess(adapter, compiled);
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

describe('npm run conformance', () => {
  let running: RunningTarget;

  afterEach(() => running.stop());

  const conformance = async (...words: string[]): Promise<{ code: unknown; stdout: string }> => {
    const { streamUrl, publishUrl, body } = running.target;
    const main = join(compiled, 'test', 'conformance', 'conformance.js');
    const app = ['--stream', streamUrl, '--publish', publishUrl, '--body', body];
    const options = ['--seeds', '2', '--seed', '7', '--readers', 'raw'];
    try {
      const { stdout } = await run(process.execPath, [main, ...app, ...options, ...words]);
      return { code: 0, stdout };
    } catch (error) {
      return error as { code: number; stdout: string };
    }
  };

  it('says what held and what was left out, and ends with 0', async () => {
    running = await startOwnApp('express');
    const { code, stdout } = await conformance('--only', 'final-cursor,evicted-cursor');

    expect([code, stdout.replaceAll(/\d+\.\d s/g, '0.0 s')]).toEqual([
      0,
      `
${running.target.streamUrl}; seed 7, 2 of them

left out evicted-cursor: A cursor from before what the log keeps is answered 200 with a $gap, then all that is kept.
         left out: it needs to know how many events the log keeps: --retained
held     final-cursor: The final cursor, $end, is answered 204 without a body: the client stays away.
         raw TCP ×2; 0.0 s

1 held, 0 broken, 1 left out
`,
    ]);
  }, 30_000);

  it('says what broke and how to see it again, and ends with 1', async () => {
    const { make } = FAULTY_VARIANTS.find(({ claim }) => claim === 'final-cursor') as FaultyVariant;
    running = await startOwnApp('express', make());
    const { streamUrl, publishUrl, body } = running.target;
    const { code, stdout } = await conformance('--only', 'final-cursor');

    expect([code, stdout]).toEqual([
      1,
      `
${streamUrl}; seed 7, 2 of them

BROKEN   final-cursor: The final cursor, $end, is answered 204 without a body: the client stays away.
         with raw TCP, seed 7: $end was answered 200, not 204
         again: npm run conformance -- --stream '${streamUrl}' --publish '${publishUrl}' --body '${body}' --readers raw --only final-cursor --seed 7 --seeds 1

0 held, 1 broken, 0 left out
`,
    ]);
  }, 30_000);
});
