import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { compileProgram } from '../../.ci/compile-program.mjs';

const run = promisify(execFile);

/** Short forms of the commands in docs/endurance.md, so that they work when somebody needs them. */
describe('the endurance commands', () => {
  beforeAll(() => {
    compileProgram('test/endurance');
  });

  it('fuzz: 20,000 hostile cases come back identical or are refused', async () => {
    const last = await lastLineOf('fuzz', '--cases', '20000', '--seed', '7');

    expect(last).toMatch(
      /^20000 cases in \d+ s: \d+ identical in 3 parsers, refused: EVENT_NOT_SERIALIZABLE \d+, INVALID_EVENT_NAME \d+, INVALID_FRAME \d+, wrong: 0$/,
    );
  }, 60_000);

  it('kills: two clients on each adapter lose nothing over fifty kills and twenty resumes flat out', async () => {
    const last = await lastLineOf('kills', '--seeds', '2', '--clients', '2', '--events', '400', '--resumes', '20');

    expect(last).toMatch(
      /^2 seeds in \d+ s: 100 kills, 0 lost, 0 doubled, 0 reordered, 0 false gaps; 40 resumes flat out, 0 holes$/,
    );
  }, 60_000);

  it('soak: a hundred connections get each event once, and leave nothing behind', async () => {
    const last = await lastLineOf('soak', '--connections', '100', '--minutes', '0.03', '--channels', '5');

    expect(last).toMatch(
      /^100 connections, 180 events in .* min: 3600 deliveries, 0 lost, 0 doubled, 0 reordered, 0 gaps, 0 closed; .* after closing: 0 connections, 0 feeds, 0 subscriptions$/,
    );
  }, 60_000);

  it('stalled: readers that never read take nothing from another', async () => {
    const last = await lastLineOf('stalled', '--readers', '3', '--mebibytes', '2');

    expect(last).toMatch(/; it got 1024 of 1024 events, 0 lost, 0 doubled; the hub is empty$/);
  }, 60_000);

  it.each(['express', 'fastify'])(
    'drain: on %s every stream ends with what was acknowledged before SIGTERM',
    async (adapter) => {
      const flags = adapter === 'fastify' ? ['--fastify'] : [];

      const last = await lastLineOf('drain', '--streams', '50', '--seconds', '0.5', ...flags);

      expect(last).toMatch(
        /^50 streams on \w+, \d+ events acknowledged before SIGTERM: 0 of them lost, 0 doubled, 0 reordered, 0 streams ended without \$closing; .* by SIGTERM$/,
      );
    },
    60_000,
  );

  /** Fails with what the program printed when it ends with an error. */
  async function lastLineOf(program: string, ...options: string[]): Promise<string | undefined> {
    const { stdout } = await run(process.execPath, [`test/endurance/dist/test/endurance/${program}.js`, ...options]);
    return stdout.trim().split('\n').at(-1);
  }
});
