import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { removedOf, type RecordMessage } from './retention-window.js';

const NOW = 1_000_000;
const CEILING = { maxEvents: 1_000_000, maxAgeMs: 1_000_000 };

describe('what a topic keeps of what the stream holds', () => {
  it('is the newest maxEvents records, of at most maxBytes, and none older than maxAgeMs', () => {
    const messages = Array.from({ length: 10 }, (_, n) => messageOf(n, { maxEvents: 4 }));
    expect(removedOf(messages, NOW, CEILING)).toBe(6);
    expect(
      removedOf(
        messages.map((_, n) => messageOf(n, { maxBytes: 25 })),
        NOW,
        CEILING,
      ),
    ).toBe(8);
    expect(
      removedOf(
        messages.map((_, n) => messageOf(n, { maxAgeMs: 3 })),
        NOW,
        CEILING,
      ),
    ).toBe(7);
    expect(
      removedOf(
        messages.map((_, n) => messageOf(n, { maxEvents: 0 })),
        NOW,
        CEILING,
      ),
    ).toBe(10);
  });

  it('stays removed, whatever later records ask for', () => {
    const messages = [0, 1, 2, 3].map((n) => messageOf(n, { maxEvents: n === 3 ? 50 : 1 }));
    expect(removedOf(messages, NOW, CEILING)).toBe(2);
  });

  it('is no more than the stream keeps', () => {
    const messages = Array.from({ length: 10 }, (_, n) => messageOf(n, {}));
    expect(removedOf(messages, NOW, { ...CEILING, maxEvents: 7 })).toBe(3);
  });

  const record = fc.record({
    maxEvents: fc.integer({ min: 0, max: 8 }),
    maxAgeMs: fc.integer({ min: 0, max: 40 }),
    maxBytes: fc.integer({ min: 0, max: 100 }),
  });

  it('shows from any newest part of the messages, and from what is left when all before the newest removed one is gone', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 30 }), fc.nat(29), (retentions, from) => {
        const messages = retentions.map((retention, n) => messageOf(n, retention));
        const removed = removedOf(messages, NOW, CEILING);
        const start = Math.min(from, messages.length);
        expect(start + removedOf(messages.slice(start), NOW, CEILING)).toBe(Math.max(start, removed));
        if (removed > 0) expect(removedOf(messages.slice(removed - 1), NOW, CEILING)).toBe(1);
      }),
    );
  });
});

function messageOf(number: number, retention: Partial<RecordMessage['record']['retention']>): RecordMessage {
  const tag = NOW - 10 + number;
  return {
    sequence: number + 1,
    tag,
    storedAt: tag,
    subject: 's',
    previous: 0,
    record: {
      topic: null,
      name: 'n',
      data: '',
      bytes: 10,
      retention: { maxEvents: 1_000, maxAgeMs: 1_000, maxBytes: 1_000, ...retention },
    },
  };
}
