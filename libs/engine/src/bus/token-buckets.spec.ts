import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { RateLimitError } from '@sse-channels/protocol';
import fc from 'fast-check';
import { TokenBuckets } from './token-buckets.js';

describe('TokenBuckets', () => {
  let buckets: TokenBuckets;

  beforeEach(() => {
    jest.useFakeTimers();
    buckets = new TokenBuckets();
  });

  afterEach(() => {
    buckets.close();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const refusal = (
    topic: string,
    limit: { perSecond: number; burst: number },
    tokens: number,
  ): RateLimitError | null => {
    try {
      buckets.take(topic, limit, tokens);
      return null;
    } catch (error) {
      return error as RateLimitError;
    }
  };

  it('give what a bucket has that is filled at a rate up to its burst, and say when it has enough', () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(3_000), tokens: fc.nat(8) }), { minLength: 1, maxLength: 40 });
    const limits = fc.record({
      perSecond: fc.constantFrom(0.5, 1, 3, 7, 10, 1_000),
      burst: fc.integer({ min: 1, max: 7 }),
    });
    fc.assert(
      fc.property(limits, steps, (limit, taken) => {
        const { perSecond, burst } = limit;
        const topic = `t ${(run += 1)}`;
        // Counted in thousandths of a token, which a millisecond brings `perSecond` of.
        let has = burst * 1_000;
        for (const { waitMs, tokens } of taken) {
          jest.advanceTimersByTime(waitMs);
          has = Math.min(burst * 1_000, has + waitMs * perSecond);
          const missing = tokens * 1_000 - has;

          const refused = refusal(topic, limit, tokens);

          if (missing <= 0) has -= tokens * 1_000;
          expect(refused?.retryAfterMs).toBe(
            missing <= 0 ? undefined : tokens > burst ? null : Math.ceil(missing / perSecond),
          );
        }
      }),
      { numRuns: 200 },
    );
  });
  let run = 0;

  it('name the topic, the limit and the way out', () => {
    const limit = { perSecond: 10, burst: 2 };
    buckets.take('prices/ACME', limit, 2);

    expect(refusal('prices/ACME', limit, 1)).toMatchObject({
      name: 'RateLimitError',
      code: 'RATE_LIMITED',
      topic: 'prices/ACME',
      retryAfterMs: 100,
      message:
        'Topic "prices/ACME" takes 10 events a second and 2 at once (its channel\'s "publishLimit"), nothing was sent; try again in 100 ms.',
    });
    expect(refusal('prices/IDLE', limit, 3)).toMatchObject({
      retryAfterMs: null,
      message:
        'Topic "prices/IDLE" takes 10 events a second and 2 at once (its channel\'s "publishLimit"), nothing was sent; publish 3 events in smaller lots.',
    });
  });

  it('keep topics apart', () => {
    const limit = { perSecond: 1, burst: 1 };

    expect(['a', 'b', 'a', 'b'].map((topic) => refusal(topic, limit, 1)?.retryAfterMs)).toEqual([
      undefined,
      undefined,
      1_000,
      1_000,
    ]);
  });

  it('are forgotten when they are full again, and the timer with the last', () => {
    for (let n = 0; n < 1_000; n += 1) buckets.take(`quick ${n}`, { perSecond: 1, burst: 1 }, 1);
    buckets.take('slow', { perSecond: 0.05, burst: 1 }, 1);

    jest.advanceTimersByTime(10_000);
    const left = buckets.size;
    jest.advanceTimersByTime(10_000);

    expect([left, buckets.size, jest.getTimerCount()]).toEqual([1, 0, 0]);
  });

  it('are no more than 100,000, of those that were used last', () => {
    const limit = { perSecond: 0.001, burst: 2 };
    for (let n = 0; n < 100_000; n += 1) buckets.take(`t ${n}`, limit, 1);

    for (const topic of ['t 0', 'one more']) buckets.take(topic, limit, 1);

    expect(buckets.size).toBe(100_000);
    expect(['t 0', 't 2', 't 1'].map((topic) => refusal(topic, limit, 2)?.code)).toEqual([
      'RATE_LIMITED',
      'RATE_LIMITED',
      undefined,
    ]);
  });
});
