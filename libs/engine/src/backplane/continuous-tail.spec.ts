import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  compareOffsets,
  FIRST_OFFSET,
  matchesFilter,
  parseCursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import { FaultyBackplane, randomOf } from '@sse-channels/testing';
import fc from 'fast-check';
import type {
  Backplane,
  BackplaneCapabilities,
  BackplaneState,
  EventRecord,
  Page,
  ReadStart,
  Tail,
} from './backplane.js';
import { ContinuousTail } from './continuous-tail.js';
import { MemoryBackplane } from './memory-backplane.js';

const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 3_600_000, maxBytes: 10_485_760 };

/** Everything that a tail told, in order. */
type Told = { record: Offset; data: string } | { gap: string; from: Offset } | { error: string } | { live: true };

function follow(backplane: Backplane, filter: string): { tail: ContinuousTail; told: Told[] } {
  const told: Told[] = [];
  const tail = new ContinuousTail(backplane, filter, {
    onRecord: ({ offset, data }) => told.push({ record: offset, data }),
    onGap: (gap, from) => told.push({ gap, from }),
    onError: (error) => told.push({ error: String(error) }),
    onLive: () => told.push({ live: true }),
  });
  return { tail, told };
}

async function append(backplane: Backplane, topic: string, data: string | number, retention = KEEP): Promise<Offset> {
  const cursor = await backplane.append(topic, { name: 'n', data: String(data) }, retention);
  return parseCursor(cursor)?.offset as Offset;
}

const dataOf = (told: readonly Told[]): string[] => told.flatMap((entry) => ('data' in entry ? [entry.data] : []));
const gapsOf = (told: readonly Told[]): string[] => told.flatMap((entry) => ('gap' in entry ? [entry.gap] : []));

/** A backplane whose tail and reads are what a test says. */
class ScriptedBackplane implements Backplane {
  readonly epoch = 'scripted';
  readonly capabilities: BackplaneCapabilities = { durable: false, sharedAcrossNodes: false, order: 'space' };
  readonly state: BackplaneState = 'live';
  onRecord: (record: EventRecord) => void = () => undefined;
  onLoss: () => void = () => undefined;
  position: Offset = '1-0';
  ended = 0;
  readonly reads: Array<{ start: ReadStart; answer: (page: Partial<Page>) => void; fail: (error: Error) => void }> = [];

  ready(): Promise<void> {
    return Promise.resolve();
  }
  append(): Promise<string> {
    return Promise.reject(new Error('not scripted'));
  }
  read(_filter: string, start: ReadStart): Promise<Page> {
    return new Promise((resolve, reject) => {
      const answer = (page: Partial<Page>): void => {
        const records = page.records ?? [];
        const from = typeof start === 'string' ? start : FIRST_OFFSET;
        resolve({
          from,
          records,
          more: false,
          head: records.at(-1)?.offset ?? from,
          intact: true,
          reason: null,
          ...page,
        });
      };
      this.reads.push({ start, answer, fail: reject });
    });
  }
  tail(_filter: string, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    this.onRecord = onRecord;
    this.onLoss = onLoss;
    const position = (): Offset => this.position;
    return Promise.resolve({
      get position() {
        return position();
      },
      end: () => {
        this.ended += 1;
      },
    });
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const record = (offset: Offset, prev: Offset | null): EventRecord => ({
  topic: 't',
  offset,
  prev,
  name: 'n',
  data: offset,
  time: 0,
});

describe('ContinuousTail', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('hands over each record once and in order or tells a gap, whatever the tail loses, doubles, delays and whichever reads fail', async () => {
    const scenario = fc.record({
      seed: fc.integer(),
      filter: fc.constantFrom('log/1', 'log/*'),
      start: fc.constantFrom('now' as const, 'earliest' as const, 'offset' as const),
      maxEvents: fc.constantFrom(1_000, 1_000, 4),
      lose: fc.constantFrom(0, 0.2, 0.6),
      double: fc.constantFrom(0, 0.3),
      late: fc.constantFrom(0, 0.4),
      failReads: fc.constantFrom(0, 0.3, 0.8),
      steps: fc.array(
        fc.oneof(
          fc.record({ append: fc.integer({ min: 1, max: 2 }), times: fc.integer({ min: 1, max: 8 }) }),
          fc.record({ waitMs: fc.integer({ min: 0, max: 120 }) }),
        ),
        { minLength: 1, maxLength: 25 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ seed, filter, start, maxEvents, lose, double, late, failReads, steps }) => {
        const random = randomOf(seed);
        const retention = { ...KEEP, maxEvents };
        const memory = new MemoryBackplane();
        let faultless = false;
        const may = (chance: number): boolean => !faultless && random() < chance;
        const backplane = new FaultyBackplane(memory, {
          lose: () => may(lose),
          double: () => may(double),
          delayMs: () => (may(late) ? 1 + Math.floor(random() * 30) : 0),
          failRead: () => (may(failReads) ? new Error('the log is away') : null),
        });
        const wanted: Offset[] = [];
        const appendOne = async (topic: string): Promise<void> => {
          const offset = await append(backplane, topic, wanted.length, retention);
          if (matchesFilter(filter, topic)) wanted.push(offset);
        };
        for (let n = 0; n < 6; n += 1) await appendOne(`log/${1 + (n % 2)}`);
        const { tail, told } = follow(backplane, filter);
        const first = start === 'now' ? wanted.length : start === 'offset' ? 2 : 0;
        await tail.open(start === 'now' ? undefined : start === 'earliest' ? null : wanted[1]);

        /** How many of the wanted records were handed over, or given up by a gap; fails on a silent hole or a double. */
        const account = (): number => {
          let next = first;
          for (const entry of told) {
            if ('record' in entry) {
              expect([entry.record, told]).toEqual([wanted[next], told]);
              next += 1;
            } else if ('from' in entry) {
              expect(maxEvents).toBe(4);
              while (next < wanted.length && compareOffsets(wanted[next] as Offset, entry.from) <= 0) next += 1;
            } else if (start === 'earliest' && next === 0) {
              // Nothing precedes the earliest record, so what the log no longer has is no gap.
            }
          }
          return next;
        };
        // "Earliest" begins at the first record that was kept when the first read succeeded: known from the first one handed over.
        const skipUnkept = (): void => {
          if (start !== 'earliest' || maxEvents !== 4) return;
          const begun = told.find((entry) => 'record' in entry);
          if (begun !== undefined && 'record' in begun) wanted.splice(0, wanted.indexOf(begun.record));
        };

        for (const step of steps) {
          if ('waitMs' in step) await jest.advanceTimersByTimeAsync(step.waitMs);
          else for (let n = 0; n < step.times; n += 1) await appendOne(`log/${step.append}`);
          skipUnkept();
          const { position } = tail;
          const accounted = account();
          const known = start === 'earliest' && maxEvents === 4 && told.length === 0;
          if (!known) {
            for (const offset of wanted.slice(accounted)) expect(compareOffsets(offset, position)).toBeGreaterThan(0);
          }
        }
        faultless = true;
        await appendOne('log/2');
        await appendOne('log/1');
        await jest.advanceTimersByTimeAsync(10_000);
        skipUnkept();
        expect(account()).toBe(wanted.length);
        expect(compareOffsets(tail.position, wanted.at(-1) as Offset)).toBeGreaterThanOrEqual(0);

        tail.end();
        const before = told.length;
        await append(backplane, 'log/1', 'after the end', retention);
        await jest.advanceTimersByTimeAsync(10_000);
        expect(told.length).toBe(before);
        await backplane.close();
        expect(jest.getTimerCount()).toBe(0);
      }),
      { numRuns: 150 },
    );
  }, 20_000);

  it('ends without a callback or a timer left, at whatever moment it is ended', async () => {
    const scenario = fc.record({ seed: fc.integer(), endAfterMs: fc.integer({ min: 0, max: 200 }) });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ seed, endAfterMs }) => {
        const random = randomOf(seed);
        const memory = new MemoryBackplane();
        const backplane = new FaultyBackplane(memory, {
          lose: () => random() < 0.5,
          delayMs: () => (random() < 0.5 ? 20 : 0),
          failRead: () => (random() < 0.7 ? new Error('the log is away') : null),
        });
        const { tail, told } = follow(backplane, 'log/1');
        const opened = tail.open(null);
        if (endAfterMs > 10) await opened;
        for (let n = 0; n < 20; n += 1) await append(backplane, 'log/1', n);
        await jest.advanceTimersByTimeAsync(endAfterMs);
        tail.end();
        const before = told.length;
        for (let n = 0; n < 20; n += 1) await append(backplane, 'log/1', n);
        await opened;
        await jest.advanceTimersByTimeAsync(5_000);
        expect(told.length).toBe(before);
        await backplane.close();
        expect(jest.getTimerCount()).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it.each(['onRecord', 'onGap', 'onError'] as const)(
    'calls nothing more when it is ended inside %s',
    async (callback) => {
      const backplane = new ScriptedBackplane();
      const calls: string[] = [];
      const called = (name: string) => (): void => {
        calls.push(name);
        if (name === callback) tail.end();
      };
      const tail = new ContinuousTail(backplane, 't', {
        onRecord: called('onRecord'),
        onGap: called('onGap'),
        onError: called('onError'),
        onLive: called('onLive'),
      });
      await tail.open('1-0');
      if (callback === 'onError') backplane.reads[0]?.fail(new Error('the log is away'));
      else
        backplane.reads[0]?.answer({
          records: [record('3-0', '2-0'), record('4-0', '3-0')],
          intact: callback === 'onRecord',
        });
      await jest.advanceTimersByTimeAsync(10_000);
      backplane.onRecord(record('5-0', '4-0'));
      backplane.onLoss();
      expect([calls, backplane.reads.length, jest.getTimerCount()]).toEqual([[callback], 1, 0]);
    },
  );

  it('takes what is appended in the turn in which it starts', async () => {
    const backplane = new MemoryBackplane();
    const { tail, told } = follow(backplane, 'log/*');
    void tail.open();
    await append(backplane, 'log/1', 'a');
    await append(backplane, 'log/2', 'b');
    expect(dataOf(told)).toEqual(['a', 'b']);
    tail.end();
    await backplane.close();
  });

  it('looks once more for a loss that is told while it reads', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't/*');
    await tail.open('1-0');
    backplane.onLoss();
    backplane.reads[0]?.answer({});
    await jest.advanceTimersByTimeAsync(0);
    expect(told).toEqual([]);
    backplane.reads[1]?.answer({ records: [record('2-0', null)] });
    await jest.advanceTimersByTimeAsync(0);
    expect(told).toEqual([{ record: '2-0', data: '2-0' }, { live: true }]);
    tail.end();
  });

  it('looks for a loss that is told while it is being attached', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't/*');
    const opened = tail.open();
    backplane.onLoss();
    await opened;
    expect(backplane.reads.map(({ start }) => start)).toEqual(['1-0']);
    backplane.reads[0]?.answer({ records: [record('2-0', null)] });
    await jest.advanceTimersByTimeAsync(0);
    expect(dataOf(told)).toEqual(['2-0']);
    tail.end();
  });

  it('waits for a replica that does not show an announced record yet', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't');
    await tail.open();
    backplane.onRecord(record('4-0', '3-0'));
    backplane.reads[0]?.answer({});
    await jest.advanceTimersByTimeAsync(50);
    backplane.reads[1]?.answer({ records: [record('3-0', '1-0'), record('4-0', '3-0')] });
    await jest.advanceTimersByTimeAsync(0);
    expect([dataOf(told), gapsOf(told), tail.position]).toEqual([['3-0', '4-0'], [], '4-0']);
    tail.end();
  });

  it('tells a gap when an announced record stays out of sight, and goes on live', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't');
    await tail.open();
    backplane.onRecord(record('4-0', '3-0'));
    for (let reads = 0; gapsOf(told).length === 0; reads += 1) {
      expect(reads).toBeLessThan(200);
      backplane.reads[reads]?.answer({});
      await jest.advanceTimersByTimeAsync(50);
    }
    backplane.onRecord(record('5-0', '4-0'));
    expect(told.filter((entry) => !('live' in entry))).toEqual([
      { gap: 'rewound', from: '4-0' },
      { record: '5-0', data: '5-0' },
    ]);
    tail.end();
  });

  it('tells no gap while a replica that lags behind flat-out appends shows each record in time', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't');
    await tail.open();
    const offsetOf = (n: number): Offset => `${n.toString(36)}-0`;
    backplane.onRecord(record(offsetOf(4), offsetOf(3)));
    for (let n = 2; n < 300; n += 1) {
      backplane.onRecord(record(offsetOf(n + 3), offsetOf(n + 2)));
      backplane.reads[n - 2]?.answer({ records: [record(offsetOf(n), offsetOf(n - 1))] });
      await jest.advanceTimersByTimeAsync(50);
    }
    expect([dataOf(told).length, gapsOf(told)]).toEqual([298, []]);
    tail.end();
  });

  it('rejects when the tail does, and a later one is not disturbed', async () => {
    const backplane = new MemoryBackplane();
    await backplane.close();
    const { tail } = follow(backplane, 't');
    await expect(tail.open()).rejects.toMatchObject({ code: 'CLOSED' });
    tail.end();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('reads the log when it is asked to reach an offset that its tail does not vouch for', async () => {
    const backplane = new ScriptedBackplane();
    const { tail, told } = follow(backplane, 't');
    await tail.open();
    tail.reach('1-0');
    expect(backplane.reads.length).toBe(0);
    tail.reach('5-0');
    backplane.reads[0]?.answer({ records: [record('3-0', '1-0')], head: '6-0' });
    await jest.advanceTimersByTimeAsync(0);
    expect([told, tail.position]).toEqual([[{ record: '3-0', data: '3-0' }, { live: true }], '6-0']);
    tail.end();
  });
});
