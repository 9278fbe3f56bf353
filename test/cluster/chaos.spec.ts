import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { compileProgram } from '../../.ci/compile-program.mjs';
import { isThere, type EngineName } from './engine.js';

const run = promisify(execFile);

/** Every fault once, as `npm run chaos -- --short` does it; docs/cluster-faults.md tells of the long form. */
describe('a cluster under faults', () => {
  let program = '';

  beforeAll(() => {
    program = `${compileProgram('test/cluster')}/test/cluster/chaos.js`;
  });

  const playAll = async (engine: EngineName): Promise<void> => {
    const options = ['--short', '--seconds', '6', '--engine', engine, '--concurrency', '3'];

    // What broke is what there is to read when it fails.
    const { stdout } = await run(process.execPath, [program, ...options]).catch(
      (error: unknown) => error as { stdout: string },
    );

    expect(stdout).toMatch(/\n\d+ runs in \d+ s: 0 of them broke a promise\n$/);
  };

  (isThere('redis') ? it : it.skip)('keeps every promise on Redis, whatever fails', () => playAll('redis'), 240_000);

  (isThere('nats') ? it : it.skip)('keeps every promise on NATS, whatever fails', () => playAll('nats'), 240_000);

  (isThere('naive') ? it : it.skip)(
    'says so where a backplane loses events',
    async () => {
      const options = ['--engine', 'naive', '--faults', 'T2', '--seconds', '3', '--settle', '2'];

      const { stdout } = await run(process.execPath, [program, ...options]).catch(
        (error: unknown) => error as { stdout: string },
      );

      expect(stdout).toMatch(/BROKEN T2 naive seed 1: \d+ acknowledged/);
      expect(stdout).toMatch(/BREACH \d+ missed at clients/);
      expect(stdout).toMatch(/\n1 runs in \d+ s: 1 of them broke a promise\n$/);
    },
    60_000,
  );
});
