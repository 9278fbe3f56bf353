import { describe, expect, it } from '@jest/globals';
import { ALL_CLAIMS } from './claims/all-claims.js';
import { FAULTY_VARIANTS } from './faulty-variants.js';
import { startOwnApp } from './own-target.js';
import { eventSource } from './readers/event-source.js';
import { rawTcp } from './readers/raw-tcp.js';
import { runSuite } from './suite.js';

/** What must come is there at once, or never. */
const DEADLINE_MS = 1_000;
/** A fault of a moment may escape one seed. */
const SEEDS = 5;

describe('an application with a fault', () => {
  it.each(FAULTY_VARIANTS)(
    '$fault: caught by the claim "$claim"',
    async ({ claim, finding, make, needsEventSource }) => {
      const { target, stop } = await startOwnApp('express', make());
      const readers = [needsEventSource ? eventSource : rawTcp];
      try {
        const [outcome] = await runSuite({
          target,
          readers,
          only: [claim],
          seed: 1,
          seeds: SEEDS,
          size: 'short',
          deadlineMs: DEADLINE_MS,
        });

        expect(outcome?.breaks.map((broken) => broken.finding)).toEqual([expect.stringMatching(finding)]);
      } finally {
        await stop();
      }
    },
    30_000,
  );

  it('exists for every claim', () => {
    const caught = new Set(FAULTY_VARIANTS.map(({ claim }) => claim));
    expect(ALL_CLAIMS.map(({ name }) => name).filter((name) => !caught.has(name))).toEqual([]);
  });
});

describe('the same application without a fault', () => {
  it('breaks no claim', async () => {
    const { target, stop } = await startOwnApp('express');
    try {
      const readers = [rawTcp, eventSource];
      const outcomes = await runSuite({ target, readers, seed: 1, seeds: 1, size: 'short' });

      expect(outcomes.flatMap(({ breaks }) => breaks)).toEqual([]);
      expect(outcomes.filter(({ held }) => held.size === 0)).toEqual([]);
    } finally {
      await stop();
    }
  }, 60_000);
});
