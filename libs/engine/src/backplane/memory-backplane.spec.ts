import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  compareOffsets,
  FIRST_OFFSET,
  formatOffset,
  parseCursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import { backplaneContract } from '@sse-channels/testing';
import fc from 'fast-check';
import type { EventRecord } from './backplane.js';
import { MemoryBackplane } from './memory-backplane.js';

describe('MemoryBackplane keeps the contract', () => {
  const capabilities = { durable: false, sharedAcrossNodes: false, order: 'space' } as const;
  for (const { name, run } of backplaneContract({ open: () => new MemoryBackplane(), capabilities })) it(name, run);
});

const NOW = 1_700_000_000_000;
const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 60_000, maxBytes: 1_048_576 };
const noLoss = (): void => undefined;

async function append(
  backplane: MemoryBackplane,
  topic: string,
  data: string | number = 0,
  retention = KEEP,
): Promise<Offset> {
  const cursor = await backplane.append(topic, { name: 'n', data: String(data) }, retention);
  return parseCursor(cursor)?.offset as Offset;
}

describe('MemoryBackplane', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: NOW });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('keeps exactly what each topic may keep, tells every reader from before it, and forgets idle topics', async () => {
    interface Kept {
      readonly offset: Offset;
      readonly bytes: number;
      readonly time: number;
    }
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ append: fc.integer({ min: 0, max: 2 }), bytes: fc.integer({ min: 1, max: 40 }) }),
      },
      { weight: 2, arbitrary: fc.record({ waitMs: fc.integer({ min: 0, max: 700 }) }) },
      { weight: 1, arbitrary: fc.constant({ waitMs: 3_000 }) },
    );
    const retentions = fc.tuple(
      ...[0, 1, 2].map(() =>
        fc.record({
          maxEvents: fc.integer({ min: 0, max: 8 }),
          maxAgeMs: fc.constantFrom(1, 500, 1_500),
          maxBytes: fc.constantFrom(0, 50, 200, 10_000),
        }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(retentions, fc.array(step, { maxLength: 40 }), async (bounds, steps) => {
        const backplane = new MemoryBackplane();
        // Three first segments, so that what one topic forgets says nothing about another.
        const topics = bounds.map((retention, n) => ({
          name: `log${n}/x`,
          retention,
          kept: [] as Kept[],
          all: [] as Offset[],
        }));
        const places: Offset[] = [(await backplane.read('log0/x', null, 1)).head];
        for (const { append: to, bytes = 0, waitMs } of steps as Array<{
          append?: number;
          bytes?: number;
          waitMs?: number;
        }>) {
          if (waitMs !== undefined) await jest.advanceTimersByTimeAsync(waitMs);
          const topic = to === undefined ? undefined : topics[to];
          if (topic !== undefined) {
            const offset = await append(backplane, topic.name, 'x'.repeat(bytes), topic.retention);
            topic.kept.push({ offset, bytes, time: Date.now() });
            topic.all.push(offset);
            places.push(offset);
          }
          for (const { name, kept, all, retention } of topics) {
            const { maxEvents, maxAgeMs, maxBytes } = retention;
            const sum = (): number => kept.reduce((total, entry) => total + entry.bytes, 0);
            while (
              kept.length > 0 &&
              (kept.length > maxEvents || sum() > maxBytes || Date.now() - (kept[0] as Kept).time > maxAgeMs)
            ) {
              kept.shift();
            }
            const lastLost = all[all.length - kept.length - 1] ?? FIRST_OFFSET;
            for (const place of [null, ...places]) {
              const page = await backplane.read(name, place, 1_000);
              const whole = place === null || compareOffsets(place, lastLost) >= 0;
              const from = whole && place !== null ? place : lastLost;
              expect([page.intact, page.reason]).toEqual(whole ? [true, null] : [false, 'trimmed']);
              expect(page.records.map(({ offset }) => offset)).toEqual(
                kept.map(({ offset }) => offset).filter((offset) => compareOffsets(offset, from) > 0),
              );
            }
          }
        }
        await jest.advanceTimersByTimeAsync(4_000);
        expect([backplane.topics, jest.getTimerCount()]).toEqual([0, 0]);
      }),
      { numRuns: 100 },
    );
  });

  it('forgets idle topics, and its timer stops and starts again with them', async () => {
    const backplane = new MemoryBackplane();
    for (let n = 0; n < 25_000; n += 1) await append(backplane, `log/${n}`, n, { ...KEEP, maxAgeMs: 100 });
    expect([backplane.topics, jest.getTimerCount()]).toEqual([25_000, 1]);
    await jest.advanceTimersByTimeAsync(4_000);
    expect([backplane.topics, jest.getTimerCount()]).toEqual([0, 0]);
    await append(backplane, 'log/again', 0, { ...KEEP, maxAgeMs: 100 });
    expect([backplane.topics, jest.getTimerCount()]).toEqual([1, 1]);
    await jest.advanceTimersByTimeAsync(2_000);
    expect([backplane.topics, jest.getTimerCount()]).toEqual([0, 0]);
  });

  it('does not forget a topic that is written now and then', async () => {
    const backplane = new MemoryBackplane();
    const first = await append(backplane, 'log/1', 0, { ...KEEP, maxAgeMs: 1_500 });
    for (let n = 1; n < 10; n += 1) {
      await jest.advanceTimersByTimeAsync(1_000);
      await append(backplane, 'log/1', n, { ...KEEP, maxAgeMs: 1_500 });
    }
    const { intact, records } = await backplane.read('log/1', first, 10);
    expect([backplane.topics, intact, records.map(({ data }) => data)]).toEqual([1, false, ['8', '9']]);
    await backplane.close();
  });

  it('tells a gap to who stood before a forgotten topic, also after that topic began again', async () => {
    const backplane = new MemoryBackplane();
    const before = await append(backplane, 'other/1');
    const lost = await append(backplane, 'log/1', 'lost', { ...KEEP, maxAgeMs: 100 });
    await jest.advanceTimersByTimeAsync(2_000);
    const empty = await backplane.read('log/1', before, 10);
    await append(backplane, 'log/1', 'kept', { ...KEEP, maxAgeMs: 100 });
    const again = await backplane.read('log/1', before, 10);
    const at = await backplane.read('log/1', lost, 10);
    const filtered = await backplane.read('log/*', before, 10);
    expect([empty.intact, empty.reason, empty.from]).toEqual([false, 'trimmed', lost]);
    expect([again.intact, again.reason, again.records.map(({ data }) => data)]).toEqual([false, 'trimmed', ['kept']]);
    expect([at.intact, at.records.map(({ data }) => data)]).toEqual([true, ['kept']]);
    expect([filtered.intact, filtered.records.length]).toEqual([false, 1]);
    await backplane.close();
  });

  it('tells a gap too many only to who stood before a forgotten topic of the same first segment', async () => {
    const backplane = new MemoryBackplane();
    const before = await append(backplane, 'kept/1');
    await append(backplane, 'log/1', 0, { ...KEEP, maxAgeMs: 100 });
    await jest.advanceTimersByTimeAsync(2_000);
    const after = (await backplane.read('kept/1', null, 10)).head;
    const intact = async (topic: string, place: Offset): Promise<boolean> =>
      (await backplane.read(topic, place, 10)).intact;
    expect(await intact('log/2', before)).toBe(false);
    expect(await intact('log/2', after)).toBe(true);
    expect(await intact('kept/1', before)).toBe(true);
    expect(await intact('kept/2', before)).toBe(true);
    expect(await intact('kept/*', before)).toBe(true);
    expect(await intact('logs/1', before)).toBe(true);
    expect(await intact('*/1', before)).toBe(false);
    await backplane.close();
  });

  it('misses no gap when a thousand first segments were forgotten', async () => {
    const backplane = new MemoryBackplane();
    const before = (await backplane.read('x', null, 1)).head;
    for (let n = 0; n < 1_500; n += 1) await append(backplane, `log${n}/1`, 0, { ...KEEP, maxAgeMs: 100 });
    await jest.advanceTimersByTimeAsync(2_000);
    for (let n = 0; n < 1_500; n += 1) expect((await backplane.read(`log${n}/1`, before, 1)).intact).toBe(false);
  });

  it('gives offsets that increase strictly while the clock steps back', async () => {
    const backplane = new MemoryBackplane();
    const offsets = [await append(backplane, 'log/1')];
    for (const now of [NOW - 5_000, NOW + 1, NOW - 60_000, NOW + 1, NOW + 2, 0, NOW + 2, NOW + 3]) {
      jest.setSystemTime(now);
      offsets.push((await backplane.read('log/1', null, 1)).head, await append(backplane, 'log/1'));
    }
    for (let n = 1; n < offsets.length; n += 1) {
      // A head lies at or after the record before it, and before the record after it.
      const least = n % 2 === 1 ? 0 : 1;
      expect(compareOffsets(offsets[n] as Offset, offsets[n - 1] as Offset)).toBeGreaterThanOrEqual(least);
    }
    expect(offsets.at(-1)).toBe(formatOffset(NOW + 3, 1));
    await backplane.close();
  });

  it('hands records over in the turn in which they are appended', async () => {
    const backplane = new MemoryBackplane();
    const tailed: EventRecord[] = [];
    await backplane.tail('log/1', (record) => tailed.push(record));
    void backplane.append('log/1', { name: 'n', data: '1' }, KEEP);
    expect(tailed.map(({ data }) => data)).toEqual(['1']);
    await backplane.close();
  });

  it('vouches inside a hand-over only for what every tail has', async () => {
    const backplane = new MemoryBackplane();
    const seen: Array<[string, boolean]> = [];
    const other = await backplane.tail('log/*', () => undefined);
    const tail = await backplane.tail('log/*', ({ data, offset }) => {
      if (data === '1') void append(backplane, 'log/2', '2');
      seen.push([data, compareOffsets(other.position, offset) < 0]);
    });
    await append(backplane, 'log/1', '1');
    expect(seen).toEqual([
      ['1', true],
      ['2', true],
    ]);
    tail.end();
    await backplane.close();
  });

  it('lets neither the publisher nor another tail suffer from a listener that throws', async () => {
    const backplane = new MemoryBackplane();
    const tailed: string[] = [];
    await backplane.tail('log/1', () => {
      throw new Error('a listener at fault');
    });
    await backplane.tail('log/1', ({ data }) => tailed.push(data));
    await append(backplane, 'log/1', '1');
    await append(backplane, 'log/1', '2');
    expect(tailed).toEqual(['1', '2']);
    expect(() => jest.runOnlyPendingTimers()).toThrow('a listener at fault');
    await backplane.close();
  });

  it('reads the last records over several topics, and the place before them', async () => {
    const backplane = new MemoryBackplane();
    const offsets: Offset[] = [];
    for (let n = 0; n < 9; n += 1) offsets.push(await append(backplane, `log/${n % 3}`, n));
    const page = await backplane.read('log/*', { last: 4 }, 10);
    expect([page.records.map(({ data }) => data), page.intact]).toEqual([['5', '6', '7', '8'], true]);
    const again = await backplane.read('log/*', page.from, 10);
    expect(again.records).toEqual(page.records);
    expect((await backplane.read('log/*', { last: 0 }, 10)).records).toEqual([]);
    await backplane.close();
  });

  it('reads the last records in pages when they are more than the limit', async () => {
    const backplane = new MemoryBackplane();
    for (let n = 0; n < 9; n += 1) await append(backplane, 'log/1', n);
    const page = await backplane.read('log/1', { last: 6 }, 4);
    const next = await backplane.read('log/1', page.records.at(-1)?.offset as Offset, 4);
    expect([page.records.map(({ data }) => data), page.more]).toEqual([['3', '4', '5', '6'], true]);
    expect([next.records.map(({ data }) => data), next.more]).toEqual([['7', '8'], false]);
    await backplane.close();
  });

  it('rejects everything after close and leaves no timer', async () => {
    const backplane = new MemoryBackplane();
    await append(backplane, 'log/1');
    await backplane.close();
    const closed = { code: 'CLOSED', message: 'The memory backplane is closed; the application has shut down.' };
    await expect(backplane.ready()).rejects.toMatchObject(closed);
    await expect(append(backplane, 'log/1')).rejects.toMatchObject(closed);
    await expect(backplane.read('log/1', null, 1)).rejects.toMatchObject(closed);
    await expect(backplane.tail('log/1', noLoss)).rejects.toMatchObject(closed);
    expect([backplane.topics, jest.getTimerCount()]).toEqual([0, 0]);
  });
});
