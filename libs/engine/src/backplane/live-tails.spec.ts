import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { compareOffsets, FIRST_OFFSET, formatOffset, type Offset } from '@sse-channels/protocol';
import fc from 'fast-check';
import type { EventRecord, Tail } from './backplane.js';
import { LiveTails, type LiveSource } from './live-tails.js';

/** An engine of one ordered connection: a log of offsets, and what has not arrived yet. */
class ScriptedSource implements LiveSource {
  readonly wanted = new Set<string>();
  readonly calls: string[] = [];
  readonly unconfirmed: Array<() => void> = [];
  readonly onTheWay: EventRecord[] = [];
  readonly heads = new Map<string, Offset>();
  confirmAtOnce = true;
  now = 0;

  want(filter: string): Promise<void> {
    this.calls.push(`want ${filter}`);
    if (this.confirmAtOnce) {
      this.wanted.add(filter);
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.unconfirmed.push(() => {
        this.wanted.add(filter);
        resolve();
      });
    });
  }

  unwant(filter: string): void {
    this.calls.push(`unwant ${filter}`);
    this.wanted.delete(filter);
  }

  async place(): Promise<Offset> {
    return formatOffset(this.now, 0);
  }

  append(topic: string): EventRecord {
    this.now += 1;
    const prev = this.heads.get(topic) ?? null;
    const record = { topic, offset: formatOffset(this.now, 0), prev, name: 'n', data: String(this.now), time: 0 };
    this.heads.set(topic, record.offset);
    if (this.wanted.has(topic) || [...this.wanted].some((filter) => filter.includes('*'))) this.onTheWay.push(record);
    return record;
  }
}

const noLoss = (): void => undefined;

describe('LiveTails', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('hands over all after the position, nothing at or before it, or tells a loss, whatever is lost and cut', async () => {
    interface Watched {
      readonly filter: string;
      readonly tail: Tail;
      /** What is vouched for: moved on by records, and by the log where a loss was told. */
      readonly got: Offset[];
      whole: Offset;
    }
    const action = fc.oneof(
      { weight: 8, arbitrary: fc.record({ append: fc.integer({ min: 0, max: 2 }) }) },
      { weight: 5, arbitrary: fc.constant({ arrive: true }) },
      { weight: 3, arbitrary: fc.record({ tail: fc.constantFrom('t/0', 't/1', 't/*') }) },
      { weight: 1, arbitrary: fc.constant({ confirm: true }) },
      { weight: 1, arbitrary: fc.constant({ cut: true }) },
      { weight: 1, arbitrary: fc.constant({ back: true }) },
      { weight: 1, arbitrary: fc.record({ end: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ waitMs: fc.constantFrom(100, 20_000) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        const source = new ScriptedSource();
        source.confirmAtOnce = false;
        const tails = new LiveTails(source, { order: 'space' });
        const all: EventRecord[] = [];
        const watched: Watched[] = [];
        let down = false;
        const of = (filter: string): EventRecord[] => all.filter(({ topic }) => filter === 't/*' || topic === filter);
        const arrive = (): void => {
          const record = source.onTheWay.shift();
          if (record === undefined) return;
          if ([...source.wanted].some((filter) => filter.includes('*'))) tails.handOver(record, 'filters');
          if (source.wanted.has(record.topic)) tails.handOver(record, 'topic');
        };
        const back = (): void => {
          if (!down) return;
          down = false;
          // The engine subscribes again, and then the heads are compared.
          while (source.onTheWay.length > 0) arrive();
          const moved: string[] = [];
          for (const [filter, reached] of tails.followed()) {
            const head = source.heads.get(filter) ?? FIRST_OFFSET;
            if (!filter.includes('*') && (reached === '' || compareOffsets(head, reached) > 0)) moved.push(filter);
          }
          tails.thaw(moved);
        };
        for (const one of actions as Array<Record<string, unknown>>) {
          if (one['append'] !== undefined) {
            const record = source.append(`t/${one['append'] as number}`);
            all.push(record);
            // What is sent while the connection is lost never arrives.
            if (down) source.onTheWay.length = 0;
          } else if (one['arrive'] === true) arrive();
          else if (one['tail'] !== undefined) {
            const filter = one['tail'] as string;
            const got: Offset[] = [];
            void tails
              .tail(
                filter,
                ({ offset }) => got.push(offset),
                () => {
                  const mine = watched.find((some) => some.got === got);
                  // The reader reads the log.
                  if (mine !== undefined) mine.whole = formatOffset(source.now, 0);
                },
              )
              .then((tail) => {
                const start = tail.position;
                expect(got).toEqual([]);
                watched.push({ filter, tail, got, whole: start });
              });
          } else if (one['confirm'] === true) source.unconfirmed.shift()?.();
          else if (one['cut'] === true) {
            if (!down) {
              down = true;
              source.onTheWay.length = 0;
              tails.freeze();
            }
          } else if (one['back'] === true) back();
          else if (one['end'] !== undefined && watched.length > 0) {
            watched.splice((one['end'] as number) % watched.length, 1)[0]?.tail.end();
          }
          await jest.advanceTimersByTimeAsync((one['waitMs'] as number | undefined) ?? 0);
          for (const { filter, tail, got, whole } of watched) {
            expect(got).toEqual([...new Set(got)].sort(compareOffsets));
            const due = of(filter).filter(
              ({ offset }) => compareOffsets(offset, whole) > 0 && compareOffsets(offset, tail.position) <= 0,
            );
            // A single topic's hole shows by `prev`, so only what is behind the last record handed over in a chain counts.
            const missing = due.filter(({ offset }) => !got.includes(offset));
            if (filter.includes('*') || compareOffsets(tail.position, got.at(-1) ?? FIRST_OFFSET) > 0) {
              const seen = missing.filter(({ offset }) => {
                const next = got.find((later) => compareOffsets(later, offset) > 0);
                const prev = all.find((record) => record.offset === next)?.prev;
                return filter.includes('*') || next === undefined || prev === null || prev === undefined;
              });
              expect(seen).toEqual([]);
            }
          }
        }
        back();
        while (source.unconfirmed.length > 0) source.unconfirmed.shift()?.();
        await jest.advanceTimersByTimeAsync(0);
        while (source.onTheWay.length > 0) arrive();
        for (const { filter, got, whole } of watched) {
          const due = of(filter).filter(({ offset }) => compareOffsets(offset, whole) > 0);
          const missing = due.filter(({ offset }) => !got.includes(offset));
          expect(missing).toEqual([]);
        }
        tails.close();
      }),
      { numRuns: 1_000 },
    );
  });

  it('resolves a tail only when the engine has confirmed, and takes what came before for past', async () => {
    const source = new ScriptedSource();
    source.confirmAtOnce = false;
    const tails = new LiveTails(source, { order: 'topic' });
    const got: string[] = [];
    let attached: Tail | undefined;
    void tails.tail('a', ({ data }) => got.push(data), noLoss).then((tail) => (attached = tail));
    source.wanted.add('a');
    const early = source.append('a');
    tails.handOver(early);
    await jest.advanceTimersByTimeAsync(0);
    expect(attached).toBeUndefined();
    source.unconfirmed[0]?.();
    await jest.advanceTimersByTimeAsync(0);
    expect(attached?.position).toBe(early.offset);
    tails.handOver(early);
    tails.handOver(source.append('a'));
    expect(got).toEqual(['2']);
  });

  it('wants a topic once, and lets go of it fifteen seconds after its last tail ended', async () => {
    const source = new ScriptedSource();
    const tails = new LiveTails(source, { order: 'space' });
    const [one, two] = await Promise.all([tails.tail('a', noLoss, noLoss), tails.tail('a', noLoss, noLoss)]);
    one.end();
    one.end();
    await jest.advanceTimersByTimeAsync(60_000);
    two.end();
    await jest.advanceTimersByTimeAsync(10_000);
    const three = await tails.tail('a', noLoss, noLoss);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(source.calls).toEqual(['want a']);
    three.end();
    await jest.advanceTimersByTimeAsync(17_000);
    expect([source.calls, tails.size]).toEqual([['want a', 'unwant a'], 0]);
  });

  it('forgets a topic that the engine could not be asked for, so that the next tail asks again', async () => {
    const source = new ScriptedSource();
    const tails = new LiveTails(
      { want: () => Promise.reject(new Error('away')), unwant: noLoss, place: () => source.place() },
      { order: 'space' },
    );
    await expect(tails.tail('a', noLoss, noLoss)).rejects.toThrow('away');
    await expect(tails.tail('a', noLoss, noLoss)).rejects.toThrow('away');
    expect(tails.size).toBe(0);
  });

  it('hands on to the others when a listener throws', async () => {
    const immediate = jest.spyOn(globalThis, 'setImmediate').mockImplementation(() => undefined as never);
    const source = new ScriptedSource();
    const tails = new LiveTails(source, { order: 'space' });
    const got: string[] = [];
    await tails.tail(
      'a',
      () => {
        throw new Error('of a listener');
      },
      noLoss,
    );
    await tails.tail('a', ({ data }) => got.push(data), noLoss);
    tails.handOver(source.append('a'));
    expect([got, immediate.mock.calls.length]).toEqual([['1'], 1]);
    immediate.mockRestore();
  });

  it('moves the position of all tails with the order of the space, only their own with that of the topic', async () => {
    for (const order of ['space', 'topic'] as const) {
      const source = new ScriptedSource();
      const tails = new LiveTails(source, { order });
      const quiet = await tails.tail('quiet', noLoss, noLoss);
      await tails.tail('busy', noLoss, noLoss);
      const { offset } = source.append('busy');
      tails.handOver(source.onTheWay[0] as EventRecord);
      expect(quiet.position).toBe(order === 'space' ? offset : formatOffset(0, 0));
    }
  });

  it('is silent after close', async () => {
    const source = new ScriptedSource();
    const tails = new LiveTails(source, { order: 'space' });
    await tails.tail('a', () => expect(true).toBe(false), noLoss);
    tails.close();
    tails.handOver(source.append('a'));
    await expect(tails.tail('a', noLoss, noLoss)).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
