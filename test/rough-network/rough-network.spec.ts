/** Through a rough network the client loses, doubles and reorders nothing: a few of the seeds that `npm run rough-network` plays. */
import { describe, expect, it } from '@jest/globals';
import { playTrial } from './trial.js';

describe('many topics on one connection, through a rough network', () => {
  it.each([1, 2, 3, 4])(
    'are whole: nothing lost, doubled or out of order, handlers called exactly once (seed %d)',
    async (seed) => {
      const result = await playTrial({ seed, topics: 20, events: 1_000 });
      const { lost, doubled, reordered, visitorsWrong, falselyTold } = result;

      expect({ lost, doubled, reordered, visitorsWrong, falselyTold }).toEqual({
        lost: 0,
        doubled: 0,
        reordered: 0,
        visitorsWrong: 0,
        falselyTold: 0,
      });
      expect(result.connections).toBeGreaterThan(5);
    },
    60_000,
  );
});
