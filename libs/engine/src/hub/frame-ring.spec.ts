import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { compareOffsets, type Offset } from '@sse-channels/protocol';
import fc from 'fast-check';
import type { EventRecord } from '../backplane/backplane.js';
import { FrameRing, type FramedRecord } from './frame-ring.js';

const offsetOf = (n: number): Offset => `${n.toString(36)}-0`;

function framed(n: number, bytes = 10): FramedRecord {
  const offset = offsetOf(n);
  const record: EventRecord = { topic: 't', offset, prev: null, name: 'n', data: '', time: 0 };
  return { offset, frame: Buffer.alloc(bytes, n % 251), record };
}

const gap = (n: number): FramedRecord => ({ offset: offsetOf(n), frame: Buffer.from('gap'), record: null });

describe('FrameRing', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('keeps the newest records within its bounds, each at its own index for good', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(10, 1_000, 20_000, 400_000), { maxLength: 60 }),
        fc.nat(1_500),
        (sizes, rest) => {
          const ring = new FrameRing(offsetOf(0));
          const all = [...sizes, ...Array.from({ length: rest }, () => 10)].map((bytes, n) => framed(n + 1, bytes));
          let outside = 0;
          for (const record of all) {
            ring.push(record);
            if (ring.end - ring.start < 1 || ring.end - ring.start > 1_024) outside += 1;
          }
          let bytes = 0;
          for (let index = ring.start; index < ring.end; index += 1) {
            if (ring.at(index) !== all[index] || ring.placeAfter(offsetOf(index)).index !== index) outside += 1;
            bytes += ring.at(index).frame.length;
          }
          expect(outside).toBe(0);
          if (ring.end - ring.start > 1) expect(bytes).toBeLessThanOrEqual(262_144);
          expect([ring.end, ring.floor]).toEqual([all.length, offsetOf(ring.start)]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('makes a batch once for all who stand at its beginning, and holds it for the turn alone', () => {
    const ring = new FrameRing(offsetOf(0));
    for (let n = 1; n <= 5; n += 1) ring.push(framed(n));
    const first = ring.batch(1, 1_000);
    expect([first.end, first.bytes.length]).toEqual([5, 40]);
    expect(ring.batch(1, 1_000)).toBe(first);
    expect(ring.batch(2, 1_000)).not.toBe(first);
    expect(jest.getTimerCount()).toBe(1);
    jest.runAllTimers();
    expect(jest.getTimerCount()).toBe(0);
    ring.push(framed(6));
    expect(ring.batch(1, 1_000).end).toBe(6);
    jest.runAllTimers();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('takes in older records where they fit, at indexes before its first', () => {
    const ring = new FrameRing(offsetOf(200));
    ring.push(framed(201));
    const older = Array.from({ length: 100 }, (_, n) => framed(101 + n));
    expect(ring.prepend(older, offsetOf(100))).toBe(true);
    expect([ring.start, ring.end, ring.floor, ring.placeAfter(offsetOf(150)).index]).toEqual([
      -100,
      1,
      offsetOf(100),
      -50,
    ]);
    expect(ring.at(-100)).toBe(older[0]);
    const { end, offset, bytes } = ring.batch(-1, 1_000);
    expect([end, offset, bytes]).toEqual([1, offsetOf(201), Buffer.concat([framed(200).frame, framed(201).frame])]);
    expect([ring.totalBytes, ring.placeAfter(offsetOf(100)).bytes]).toEqual([10, -1_000]);
    expect(ring.prepend([framed(99, 300_000)], offsetOf(98))).toBe(false);
    for (let n = 0; n < 1_100; n += 1) ring.push(framed(202 + n));
    expect([ring.end, ring.start, ring.floor]).toEqual([1_101, 77, offsetOf(277)]);
    ring.push(gap(5));
    expect(ring.prepend([framed(4)], offsetOf(3))).toBe(false);
    jest.runAllTimers();
  });

  it('gives a single record as the frame itself, however large', () => {
    const ring = new FrameRing(offsetOf(0));
    const large = framed(1, 300_000);
    ring.push(large);
    expect(ring.batch(0, 65_536)).toMatchObject({ end: 1, offset: large.offset });
    expect(ring.batch(0, 65_536).bytes).toBe(large.frame);
    jest.runAllTimers();
  });

  it('keeps a gap that leads on at its place', () => {
    const ring = new FrameRing(offsetOf(0));
    ring.push(framed(1));
    ring.push(gap(5));
    ring.push(framed(6));
    expect([ring.start, ring.end, ring.rewoundAt, ring.placeAfter(offsetOf(1)).index]).toEqual([0, 3, undefined, 1]);
  });

  it('begins anew at a gap that leads back, so that it stays in the order of the offsets', () => {
    const ring = new FrameRing(offsetOf(0));
    for (let n = 1; n <= 9; n += 1) ring.push(framed(n));
    ring.push(gap(3));
    for (let n = 4; n <= 6; n += 1) ring.push(framed(n));
    expect([ring.start, ring.end, ring.rewoundAt, ring.floor]).toEqual([9, 13, 9, offsetOf(3)]);
    for (let index = ring.start + 1; index < ring.end; index += 1) {
      expect(compareOffsets(ring.at(index - 1).offset, ring.at(index).offset)).toBeLessThan(0);
    }
    expect(ring.placeAfter(offsetOf(4)).index).toBe(11);
  });
});
