import { describe, expect, it } from '@jest/globals';
import { compareOffsets, formatOffset } from '@sse-channels/protocol';
import fc from 'fast-check';
import { justBefore, Partition, partitionOf } from './partition.js';
import { fromMessage, payloadOf, toRecord } from './record-text.js';

const partition = (number: number, count: number): Partition => new Partition('sse', number, count, 0);
const ms = fc.integer({ min: 0, max: 2_000_000_000_000 });
const small = fc.nat({ max: 50 });

describe('a partition', () => {
  it('gives ids offsets that no other partition gives, in the order of the ids', () => {
    fc.assert(
      fc.property(ms, small, small, fc.integer({ min: 1, max: 16 }), (at, seq, other, count) => {
        const offsets = Array.from({ length: count }, (_, number) => partition(number, count).offset(`${at}-${seq}`));
        expect(new Set(offsets).size).toBe(count);
        const [one] = [partition(count - 1, count)];
        expect(Math.sign(compareOffsets(one.offset(`${at}-${seq}`), one.offset(`${at}-${other}`)))).toBe(
          Math.sign(seq - other),
        );
        expect(one.id(one.offset(`${at}-${seq}`))).toBe(`${at}-${seq}`);
      }),
    );
  });

  it('finds the first id at and after any offset', () => {
    fc.assert(
      fc.property(ms, small, fc.integer({ min: 1, max: 16 }), fc.nat({ max: 15 }), (at, minor, count, n) => {
        const one = partition(n % count, count);
        const offset = formatOffset(at, minor);
        const seqOf = (id: string): number => Number(id.split('-')[1]);
        const [first, after] = [one.idAt(offset), one.idAfter(offset)];
        expect(compareOffsets(one.offset(first), offset)).toBeGreaterThanOrEqual(0);
        expect(compareOffsets(one.offset(after), offset)).toBeGreaterThan(0);
        for (const [id, least] of [
          [first, 0],
          [after, 1],
        ] as const) {
          if (seqOf(id) === 0) continue;
          expect(compareOffsets(one.offset(`${at}-${seqOf(id) - 1}`), offset)).toBeLessThan(least);
        }
        expect(compareOffsets(justBefore(offset), offset)).toBeLessThan(at === 0 && minor === 0 ? 1 : 0);
      }),
    );
  });

  it('spreads topics that differ in a number', () => {
    const counts = Array.from({ length: 16 }, () => 0);
    for (let n = 0; n < 16_000; n += 1)
      counts[partitionOf(`orders/${n}`, 16)] = (counts[partitionOf(`orders/${n}`, 16)] ?? 0) + 1;
    expect(Math.min(...counts)).toBeGreaterThan(700);
    expect(Math.max(...counts)).toBeLessThan(1_400);
  });

  it('reads back what it wrote of any event', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
        (data, key) => {
          const draft = { name: 'a.b', data, ...(key === undefined ? {} : { key }) };
          const one = partition(0, 1);
          expect(toRecord(one, 't', '5-1', '4-0', payloadOf(draft)).record).toEqual({
            topic: 't',
            offset: '5-1',
            prev: '4-0',
            time: 5,
            ...draft,
          });
          expect(fromMessage(one, `5-1\n-\nt\n${payloadOf(draft)}`)).toMatchObject({
            record: { ...draft, prev: null },
          });
        },
      ),
    );
  });
});
