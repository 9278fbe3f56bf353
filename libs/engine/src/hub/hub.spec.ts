import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  defineChannel,
  FrameParser,
  SseChannelsError,
  SseEvent,
  type ChannelOptions,
  type Cursor,
  type ErrorData,
  type GapData,
  type GapReason,
  type LagLimit,
  type OpenData,
  type ParsedEvent,
  type Retention,
  type Topic,
} from '@sse-channels/protocol';
import { FaultyBackplane, randomOf, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import type {
  Backplane,
  BackplaneCapabilities,
  BackplaneState,
  Draft,
  EventRecord,
  Page,
  ReadStart,
  Tail,
  TopicFilter,
} from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import type { Connection } from '../connection/connection.js';
import type { Observer } from '../observer/observer.js';
import { Hub, type HubParts, type TopicRequest } from './hub.js';

const NOW = 1_700_000_000_000;
const AMPLE: Retention = { maxEvents: 100_000, maxAgeMs: 3_600_000, maxBytes: 100_000_000 };

@SseEvent('count')
class Count {
  n!: number;
}

const channelOf = (replay: Partial<Retention>) => defineChannel('counts/:id', { events: [Count], replay });
const countsChannel = channelOf(AMPLE);

class WithStatus extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

function hubOn(backplane: Backplane, observer: Observer = {}, parts: Partial<HubParts> = {}): Hub {
  return new Hub({
    ...parts,
    backplane,
    codec: new EventCodec(uncheckedClassValidator),
    channels: new ChannelRegistry(),
    observer,
    describeError: (error): ErrorData =>
      error instanceof WithStatus
        ? { message: error.message, status: error.status, comeBack: false }
        : { message: 'Internal error', status: 500, comeBack: true },
  });
}

function publish(backplane: Backplane, topic: Topic, n: number, pad = ''): Promise<Cursor> {
  const data = JSON.stringify(pad === '' ? { n } : { n, pad });
  return backplane.append(topic.name, { name: 'count', data }, topic.channel.retention);
}

let connections = 0;
async function connect(
  hub: Hub,
  requests: readonly TopicRequest[],
  cursor: Cursor | null = null,
  sink = new RecordingSink(),
  options: { heartbeatMs?: number; endsAt?: number | null } = {},
): Promise<{ connection: Connection; sink: RecordingSink }> {
  const source = await hub.join(requests, cursor);
  const connection = hub.connect(source, sink, {
    id: `c${(connections += 1)}`,
    heartbeatMs: options.heartbeatMs ?? 15_000,
    retryMs: 3_000,
    grant: { endsAt: options.endsAt ?? null },
  });
  return { connection, sink };
}

function eventsIn(bytes: Buffer | readonly Buffer[]): ParsedEvent[] {
  const events: ParsedEvent[] = [];
  new FrameParser({ onEvent: (event) => events.push(event) }).push(
    Buffer.isBuffer(bytes) ? bytes : Buffer.concat(bytes),
  );
  return events;
}

const numbersIn = (bytes: Buffer | readonly Buffer[]): number[] =>
  eventsIn(bytes).flatMap(({ name, data }) => (name === 'count' ? [(JSON.parse(data) as Count).n] : []));
const namesIn = (bytes: Buffer | readonly Buffer[]): string[] => eventsIn(bytes).map(({ name }) => name);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);
const nothing = { connections: 0, feeds: 0, subscriptions: 0 };

/** Reads that answer some time after they looked. */
class SlowReads implements Backplane {
  constructor(
    private readonly backplane: Backplane,
    private readonly delayMs: () => number,
  ) {}
  get epoch(): string {
    return this.backplane.epoch;
  }
  get capabilities(): BackplaneCapabilities {
    return this.backplane.capabilities;
  }
  get state(): BackplaneState {
    return this.backplane.state;
  }
  ready(): Promise<void> {
    return this.backplane.ready();
  }
  append(topic: string, draft: Draft, retention: Retention): Promise<Cursor> {
    return this.backplane.append(topic, draft, retention);
  }
  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const page = await this.backplane.read(filter, start, limit);
    const delayMs = this.delayMs();
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    return page;
  }
  tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    return this.backplane.tail(filter, onRecord, onLoss);
  }
  close(): Promise<void> {
    return this.backplane.close();
  }
}

/** One client over all its connections: what reached it, checked as it comes. */
class Client {
  cursor: Cursor | null = null;
  /** Per topic the last number that came; undefined before the first. */
  readonly last = new Map<string, number>();
  readonly #told = new Map<string, GapReason>();

  constructor(
    private readonly onGap: (topic: string, reason: GapReason) => void,
    private readonly log: unknown[] = [],
  ) {}

  /** A connection's bytes, as far as they came. */
  receive(): (bytes: Buffer) => void {
    const parser = new FrameParser({ onEvent: (event) => this.#take(event) });
    return (bytes) => {
      parser.push(bytes);
      if (parser.lastEventId !== '') this.cursor = parser.lastEventId;
    };
  }

  #take({ name, data, lastEventId }: ParsedEvent): void {
    this.log.push(`${name} ${data} ${lastEventId}`);
    if (name === '$open') {
      for (const { topic, gap } of (JSON.parse(data) as OpenData).topics) if (gap !== null) this.#gap(topic, gap);
    } else if (name === '$gap') {
      const { topic, reason } = JSON.parse(data) as { topic: string; reason: GapReason };
      this.#gap(topic, reason);
    } else if (name === 'count') {
      const { n, topic } = JSON.parse(data) as { n: number; topic: string };
      const last = this.last.get(topic);
      if (last !== undefined && n !== last + 1) {
        const problem = n <= last ? 'doubled' : this.#told.has(topic) ? null : 'missing before';
        if (problem !== null) throw new Error(`${topic}: ${n} ${problem}, after ${last}`);
      }
      this.last.set(topic, n);
      this.#told.delete(topic);
    }
  }

  #gap(topic: string, reason: GapReason): void {
    this.#told.set(topic, reason);
    this.onGap(topic, reason);
  }
}

describe('Hub', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: NOW });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const turn = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

  describe('gives a client every event once and in order, or a gap', () => {
    const who = fc.nat(1);
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ publish: fc.nat(2), times: fc.integer({ min: 1, max: 4 }) }) },
        { weight: 1, arbitrary: fc.record({ publish: fc.nat(2), times: fc.constantFrom(60, 400) }) },
        { weight: 2, arbitrary: fc.record({ waitMs: fc.constantFrom(1, 20, 600, 1_100) }) },
        { weight: 4, arbitrary: fc.constant({ turn: true as const }) },
        { weight: 2, arbitrary: fc.record({ who, block: fc.constant(true as const) }) },
        { weight: 2, arbitrary: fc.record({ who, drain: fc.constant(true as const) }) },
        { weight: 2, arbitrary: fc.record({ who, leave: fc.double({ min: 0, max: 1, noNaN: true }) }) },
        { weight: 3, arbitrary: fc.record({ who, again: fc.constant(true as const) }) },
      ),
      { minLength: 1, maxLength: 50 },
    );
    const scenario = fc.record({
      seed: fc.integer(),
      topics: fc.integer({ min: 1, max: 3 }),
      padBytes: fc.constantFrom(0, 0, 2_000),
      filtered: fc.boolean(),
      steps,
    });
    type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

    async function play(
      { seed, topics: count, padBytes, filtered, steps: played }: Scenario,
      replay: Partial<Retention>,
      faults: { lose: number; double: number; late: number; slow: number },
    ): Promise<void> {
      // A run that failed leaves its timers to the smaller runs that follow it.
      jest.clearAllTimers();
      const random = randomOf(seed);
      let calm = false;
      const may = (chance: number): boolean => !calm && random() < chance;
      const memory = new MemoryBackplane();
      const faulty = new FaultyBackplane(memory, {
        lose: () => may(faults.lose),
        double: () => may(faults.double),
        delayMs: () => (may(faults.late) ? 1 + Math.floor(random() * 30) : 0),
      });
      const backplane = new SlowReads(faulty, () => (may(faults.slow) ? Math.floor(random() * 20) : 0));
      const hub = hubOn(backplane);
      const channel = channelOf(replay);
      const topics = range(0, count).map((id) => channel.topic({ id }));
      const published = new Map(topics.map(({ name }) => [name, 0]));
      const pad = 'x'.repeat(padBytes);
      const faultless = faults.lose + faults.double + faults.late === 0;
      const publishOne = async (topic: Topic): Promise<void> => {
        const n = (published.get(topic.name) as number) + 1;
        published.set(topic.name, n);
        const data = JSON.stringify({ n, topic: topic.name, pad });
        await backplane.append(topic.name, { name: 'count', data }, channel.retention);
      };
      const people = range(0, 2).map((number) => {
        const told: unknown[] = [];
        const client = new Client((topic, reason) => {
          if (replay === AMPLE) throw new Error(`A false gap: ${topic} ${reason}`);
          const missed = (published.get(topic) as number) - (client.last.get(topic) ?? 0);
          if (faultless && missed <= (replay.maxEvents ?? 0)) {
            throw new Error(`A false gap: ${topic} ${reason}, ${missed} missed`);
          }
        }, told);
        return {
          client,
          told,
          sink: undefined as RecordingSink | undefined,
          receive: (_bytes: Buffer): void => undefined,
          taken: 0,
          /** What has arrived: a full sink's last write is still on its way. */
          take(): void {
            const { sink } = this;
            if (sink === undefined) return;
            const arrived = sink.writes.length - (sink.full ? 1 : 0);
            for (; this.taken < arrived; this.taken += 1) this.receive(sink.writes[this.taken] as Buffer);
            expect(sink.writesWhileFull).toBe(0);
          },
          leave(part: number): void {
            const { sink } = this;
            if (sink === undefined) return;
            this.take();
            const cut = sink.writes[this.taken];
            if (cut !== undefined) this.receive(cut.subarray(0, Math.floor(cut.length * part)));
            sink.close();
            this.sink = undefined;
            told.push('left');
          },
          async again(): Promise<void> {
            if (this.sink !== undefined) return;
            const fresh = client.cursor === null;
            told.push(`connect ${client.cursor}`);
            const requests = topics.map((topic) => ({ topic, ...(filtered ? { filter: () => true } : {}) }));
            const joined = hub.join(requests, client.cursor);
            await jest.advanceTimersByTimeAsync(30);
            this.sink = new RecordingSink();
            hub.connect(await joined, this.sink, { id: String(number), heartbeatMs: 500, retryMs: 1 });
            this.receive = client.receive();
            this.taken = 0;
            this.take();
            if (fresh && faultless) for (const { name } of topics) client.last.set(name, published.get(name) as number);
          },
        };
      });

      for (const person of people) await person.again();
      for (const step of played) {
        if ('publish' in step) {
          for (let n = 0; n < step.times; n += 1) await publishOne(topics[step.publish % count] as Topic);
        } else if ('waitMs' in step) await jest.advanceTimersByTimeAsync(step.waitMs);
        else if ('turn' in step) await jest.advanceTimersByTimeAsync(0);
        else {
          const person = people[step.who] as (typeof people)[number];
          if ('block' in step && person.sink !== undefined) person.sink.fills = () => random() < 0.7;
          else if ('drain' in step) person.sink?.drain();
          else if ('leave' in step) person.leave(step.leave);
          else if ('again' in step) await person.again();
        }
        for (const person of people) person.take();
      }
      calm = true;
      const catchUp = async (): Promise<void> => {
        for (let n = 0; n < 6; n += 1) {
          for (const { sink } of people) sink?.drain();
          await jest.advanceTimersByTimeAsync(300);
          for (const person of people) person.take();
        }
      };
      for (const person of people) {
        await person.again();
        if (person.sink !== undefined) person.sink.fills = () => false;
      }
      await catchUp();
      for (const topic of topics) await publishOne(topic);
      await catchUp();
      for (const { client, told } of people) {
        const recent = told.slice(-60);
        expect([Object.fromEntries(client.last), recent]).toEqual([Object.fromEntries(published), recent]);
      }
      for (const person of people) person.leave(1);
      await jest.advanceTimersByTimeAsync(2_000);
      expect(hub.snapshot()).toEqual(nothing);
      await backplane.close();
      expect(jest.getTimerCount()).toBe(0);
    }

    const still = { lose: 0, double: 0, late: 0, slow: 0 };

    it('without any gap where the log keeps everything', async () => {
      await fc.assert(
        fc.asyncProperty(scenario, (played) => play(played, AMPLE, still)),
        { numRuns: 120 },
      );
    }, 20_000);

    it('without a false gap where the log keeps few', async () => {
      await fc.assert(
        fc.asyncProperty(scenario, fc.constantFrom(0, 1, 7, 50), (played, maxEvents) =>
          play(played, { ...AMPLE, maxEvents }, still),
        ),
        { numRuns: 120 },
      );
    }, 20_000);

    it('over tails that lose, double and delay and reads that are slow', async () => {
      await fc.assert(
        fc.asyncProperty(scenario, fc.constantFrom(0, 0.3), fc.constantFrom(0, 0.3), (played, lose, late) =>
          play(played, AMPLE, { lose, late, double: 0.2, slow: 0.5 }),
        ),
        { numRuns: 120 },
      );
    }, 20_000);

    it('over tails that lose, double and delay where the log keeps few', async () => {
      await fc.assert(
        fc.asyncProperty(scenario, fc.constantFrom(3, 20), (played, maxEvents) =>
          play(played, { ...AMPLE, maxEvents }, { lose: 0.2, late: 0.2, double: 0.2, slow: 0.5 }),
        ),
        { numRuns: 80 },
      );
    }, 20_000);
  });

  describe('shares bytes', () => {
    it('gives two connections at the same cursor the same buffer, in one write for a burst', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const one = await connect(hub, [{ topic }]);
      const two = await connect(hub, [{ topic }]);
      for (let n = 0; n < 100; n += 1) void publish(backplane, topic, n);
      await turn();
      expect(one.sink.writes.length).toBe(2);
      expect(one.sink.writes[1]).toBe(two.sink.writes[1]);
      expect(numbersIn(one.sink.writes)).toEqual(range(0, 100));
      hub.connect(await hub.join([{ topic }], null), new RecordingSink(), {
        id: 'later',
        heartbeatMs: 15_000,
        retryMs: 1,
      });
      void publish(backplane, topic, 100);
      await turn();
      expect(one.sink.writes[2]).toBe(two.sink.writes[2]);
      await backplane.close();
    });

    it('writes a burst of several topics once, in the order in which it was published', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topics = range(0, 3).map((id) => countsChannel.topic({ id }));
      const { sink } = await connect(
        hub,
        topics.map((topic) => ({ topic })),
      );
      for (let n = 0; n < 30; n += 1) void publish(backplane, topics[(n * n) % 3] as Topic, n);
      await turn();
      expect([sink.writes.length, numbersIn(sink.writes)]).toEqual([2, range(0, 30)]);
      await backplane.close();
    });

    it('cuts what is due into writes of about 64 KiB', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      for (let n = 0; n < 100; n += 1) void publish(backplane, topic, n, 'x'.repeat(2_000));
      await turn();
      for (const write of sink.writes) expect(write.length).toBeLessThan(65_536 + 2_200);
      expect([sink.writes.length, numbersIn(sink.writes)]).toEqual([5, range(0, 100)]);
      await backplane.close();
    });
  });

  describe('spares work', () => {
    it('by moving a part of many connections a turn, and a feed with few among them at once', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const [many, few] = [countsChannel.topic({ id: 'many' }), countsChannel.topic({ id: 'few' })];
      const sinks: RecordingSink[] = [];
      for (let n = 0; n < 600; n += 1) sinks.push((await connect(hub, [{ topic: many }])).sink);
      const { sink } = await connect(hub, [{ topic: few }]);
      const served = (): number => sinks.filter(({ writes }) => numbersIn(writes).length > 0).length;
      void publish(backplane, many, 1);
      void publish(backplane, few, 2);
      jest.advanceTimersToNextTimer();
      expect([numbersIn(sink.writes), served() > 0, served() < 600]).toEqual([[2], true, true]);
      // What comes while the news go out goes to everyone too, and in one write to those whose turn had not come.
      void publish(backplane, many, 3);
      await jest.advanceTimersByTimeAsync(50);
      expect([...new Set(sinks.map(({ writes }) => numbersIn(writes).join()))]).toEqual(['1,3']);
      expect([sinks[0]?.writes.length, sinks.at(-1)?.writes.length]).toEqual([3, 2]);
      await backplane.close();
    });

    it('by gathering what a window of time brings', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, {}, { flushWindowMs: 50 });
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      for (let n = 0; n < 5; n += 1) {
        void publish(backplane, topic, n);
        await jest.advanceTimersByTimeAsync(9);
      }
      expect(sink.writes.length).toBe(1);
      await jest.advanceTimersByTimeAsync(5);
      expect([sink.writes.length, numbersIn(sink.writes)]).toEqual([2, range(0, 5)]);
      void publish(backplane, topic, 5);
      const drained = hub.drain({ graceMs: 1_000, retryMs: () => 1 });
      expect(numbersIn(sink.writes)).toEqual(range(0, 6));
      await drained;
      await backplane.close();
    });

    it('by sharing what a storm of reconnects replays', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const cursor = await publish(backplane, topic, 0);
      for (let n = 1; n <= 100; n += 1) await publish(backplane, topic, n);
      const reads = jest.spyOn(backplane, 'read');
      const joined = await Promise.all(range(0, 20).map(() => connect(hub, [{ topic }], cursor)));
      const { sink: late } = await connect(hub, [{ topic }], cursor);
      const sinks = [...joined.map(({ sink }) => sink), late];
      expect(sinks.every(({ writes }) => numbersIn(writes).join() === range(1, 101).join())).toBe(true);
      expect(new Set(sinks.map(({ writes }) => writes[1])).size).toBe(1);
      expect(reads).toHaveBeenCalledTimes(1);
      await backplane.close();
    });
  });

  describe('treats a slow reader as its channel says:', () => {
    const keyed = (key: number, n: number, pad = ''): Draft => ({
      name: 'count',
      data: JSON.stringify({ key, n, pad }),
      key: String(key),
    });
    const slowChannel = (options: Partial<ChannelOptions<typeof Count>>) =>
      defineChannel('counts/:id', { events: [Count], replay: AMPLE, ...options });
    const skippedIn = (writes: readonly Buffer[]): number[] =>
      eventsIn(writes).flatMap(({ name, data }) =>
        name === '$gap' ? [(JSON.parse(data) as GapData).skipped ?? -1] : [],
      );

    it('"latest" gives the newest of each key, and says how many it left out', async () => {
      const backplane = new MemoryBackplane();
      const told: string[] = [];
      const hub = hubOn(backplane, { gapTold: (topic, reason) => told.push(`${topic} ${reason}`) });
      const topic = slowChannel({ slowReaders: 'latest' }).topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      const cursor = await backplane.append(topic.name, keyed(0, 0), AMPLE);
      await turn();
      for (let n = 1; n < 3_000; n += 1) void backplane.append(topic.name, keyed(n < 10 ? 9 : n % 3, n), AMPLE);
      await turn();
      sink.fills = () => false;
      sink.drain();
      await turn();
      void backplane.append(topic.name, keyed(7, 3_000), AMPLE);
      await turn();
      expect(numbersIn(sink.writes)).toEqual([0, 9, 2_997, 2_998, 2_999, 3_000]);
      const gap = eventsIn(sink.writes)[2];
      expect(gap).toEqual({
        name: '$gap',
        data: '{"topic":"counts/1","reason":"skipped","skipped":2995}',
        lastEventId: cursor,
      });
      expect(told).toEqual(['counts/1 skipped']);
      await backplane.close();
    });

    it('"latest" loses no key and gives none twice, whenever the reader drains', async () => {
      const step = fc.oneof(
        { weight: 4, arbitrary: fc.record({ key: fc.nat(5), pad: fc.constantFrom(0, 30_000) }) },
        { weight: 1, arbitrary: fc.constant('drain' as const) },
        { weight: 1, arbitrary: fc.constant('turn' as const) },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.boolean(), async (steps, filtered) => {
          const backplane = new MemoryBackplane();
          const hub = hubOn(backplane);
          const topic = slowChannel({ slowReaders: 'latest' }).topic({ id: 1 });
          const { sink } = await connect(hub, [filtered ? { topic, filter: () => true } : { topic }]);
          sink.fills = () => true;
          const newest = new Map<number, number>();
          let published = 0;
          for (const action of steps) {
            if (action === 'drain') sink.drain();
            else if (action === 'turn') await turn();
            else {
              void backplane.append(topic.name, keyed(action.key, published, 'x'.repeat(action.pad)), AMPLE);
              newest.set(action.key, published);
              published += 1;
            }
          }
          await turn();
          sink.fills = () => false;
          sink.drain();
          await turn();
          const given = numbersIn(sink.writes);
          expect(given).toEqual([...new Set(given)].toSorted((one, other) => one - other));
          for (const n of newest.values()) expect(given).toContain(n);
          expect(given.length + skippedIn(sink.writes).reduce((sum, n) => sum + n, 0)).toBe(published);
          await backplane.close();
        }),
        { numRuns: 100 },
      );
    });

    it('"latest" replays to who reconnects, as slowly as it reads', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = slowChannel({ slowReaders: 'latest' }).topic({ id: 1 });
      const cursor = await backplane.append(topic.name, keyed(0, 0), AMPLE);
      for (let n = 1; n <= 400; n += 1) await backplane.append(topic.name, keyed(0, n, 'x'.repeat(2_000)), AMPLE);
      const sink = new RecordingSink();
      sink.fills = () => true;
      await connect(hub, [{ topic }], cursor, sink);
      for (let drains = 0; drains < 40; drains += 1) {
        sink.drain();
        await turn();
      }
      expect([numbersIn(sink.writes), skippedIn(sink.writes)]).toEqual([range(1, 401), []]);
      await backplane.close();
    });

    it('"disconnect" ends it when something is due that it does not take', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = slowChannel({ slowReaders: 'disconnect' }).topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      void publish(backplane, topic, 0);
      await turn();
      expect(hub.snapshot().connections).toBe(1);
      void publish(backplane, topic, 1);
      await turn();
      expect(hub.snapshot()).toEqual(nothing);
      expect([numbersIn(sink.writes), eventsIn(sink.writes).at(-1)?.data]).toEqual([
        [0],
        '{"reason":"slow","comeBack":true}',
      ]);
      await backplane.close();
    });

    it.each<[string, LagLimit, number[], number[]]>([
      ['of events', { maxEvents: 50 }, [0, 101], [100]],
      ['of bytes', { maxBytes: 5_000 }, [0, 101], [100]],
      ['that it does not reach', { maxEvents: 100, maxBytes: 50_000 }, range(0, 102), []],
    ])(
      'a lag beyond the limit %s is a gap, and it goes on with what comes',
      async (_limit, lagLimit, numbers, skipped) => {
        const backplane = new MemoryBackplane();
        const hub = hubOn(backplane);
        const topic = slowChannel({ lagLimit }).topic({ id: 1 });
        const { sink } = await connect(hub, [{ topic }]);
        sink.fills = () => true;
        void publish(backplane, topic, 0);
        await turn();
        for (let n = 1; n <= 100; n += 1) void publish(backplane, topic, n, 'x'.repeat(100));
        await turn();
        sink.fills = () => false;
        sink.drain();
        void publish(backplane, topic, 101);
        await turn();
        expect([numbersIn(sink.writes), skippedIn(sink.writes)]).toEqual([numbers, skipped]);
        await backplane.close();
      },
    );

    it('a lag beyond the limit ends it at once where the channel says so; what it replays is none', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = slowChannel({ lagLimit: { maxEvents: 10, exceeded: 'disconnect' } }).topic({ id: 1 });
      const cursor = await publish(backplane, topic, 0);
      for (let n = 1; n <= 200; n += 1) await publish(backplane, topic, n, 'x'.repeat(1_000));
      const sink = new RecordingSink();
      sink.fills = () => true;
      await connect(hub, [{ topic }], cursor, sink);
      for (let drains = 0; drains < 9; drains += 1) {
        sink.drain();
        await turn();
      }
      expect(numbersIn(sink.writes)).toEqual(range(1, 201));
      for (let n = 201; n < 212; n += 1) {
        void publish(backplane, topic, n);
        await turn();
      }
      expect(hub.snapshot().connections).toBe(1);
      void publish(backplane, topic, 212);
      await turn();
      expect(hub.snapshot()).toEqual(nothing);
      await backplane.close();
    });
  });

  describe('leaves a reader that is blocked behind', () => {
    it.each([
      ['records', 5_000, 10],
      ['bytes', 300, 8_000],
    ])('and catches up from the log when it drains, far beyond the ring in %s', async (_bound, count, padBytes) => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      void publish(backplane, topic, 0);
      await turn();
      const held = sink.writes.length;
      for (let n = 1; n < count; n += 1) void publish(backplane, topic, n, 'x'.repeat(padBytes));
      await jest.advanceTimersByTimeAsync(60_000);
      expect(sink.writes.length).toBe(held);
      sink.fills = () => false;
      sink.drain();
      await turn();
      expect(numbersIn(sink.writes)).toEqual(range(0, count));
      expect(namesIn(sink.writes)).not.toContain('$gap');
      void publish(backplane, topic, count);
      await turn();
      expect(numbersIn(sink.writes)).toEqual(range(0, count + 1));
      await backplane.close();
    });

    it('and takes one write at a time when it is full after each', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topics = [countsChannel.topic({ id: 1 }), countsChannel.topic({ id: 2 })];
      const { sink } = await connect(
        hub,
        topics.map((topic) => ({ topic })),
      );
      sink.fills = () => true;
      for (let n = 0; n < 4_000; n += 1) void publish(backplane, topics[n % 2] as Topic, n, 'x'.repeat(100));
      for (let drains = 0; numbersIn(sink.writes).length < 4_000; drains += 1) {
        expect(drains).toBeLessThan(100);
        await turn();
        sink.drain();
      }
      expect([sink.writesWhileFull, numbersIn(sink.writes)]).toEqual([0, range(0, 4_000)]);
      await backplane.close();
    });

    it('and tells a gap where the log has moved on as well, to the client and to the observer', async () => {
      const told: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { gapTold: (topic, reason) => told.push(`${topic} ${reason}`) });
      const topic = channelOf({ ...AMPLE, maxEvents: 10 }).topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      void publish(backplane, topic, 0);
      await turn();
      let cursor: Cursor = '';
      for (let n = 1; n < 2_000; n += 1) {
        const next = await publish(backplane, topic, n);
        if (n === 1_989) cursor = next;
      }
      sink.fills = () => false;
      sink.drain();
      await turn();
      const [, first, gap, ...kept] = eventsIn(sink.writes);
      expect(first?.data).toBe('{"n":0}');
      expect(gap).toEqual({
        name: '$gap',
        data: '{"topic":"counts/1","reason":"trimmed"}',
        lastEventId: cursor,
      });
      expect(kept.map(({ data }) => data)).toEqual(range(1_990, 2_000).map((n) => `{"n":${n}}`));
      expect(told).toEqual(['counts/1 trimmed']);
      await backplane.close();
    });
  });

  describe('on the wire', () => {
    const at = (epoch: string, ms: number, sequence: number): string =>
      `${epoch}~${ms.toString(36)}-${sequence.toString(36)}`;

    it('begins with $open and writes each event with its cursor', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 'a b' });
      connections = 0;
      const { sink } = await connect(hub, [{ topic }]);
      await publish(backplane, topic, 1);
      await publish(backplane, topic, 2);
      await turn();
      expect(sink.text).toBe(
        `retry: 3000\nid: ${at(backplane.epoch, NOW, 0)}\nevent: $open\n` +
          'data: {"protocol":1,"connection":"c1","heartbeatMs":15000,"topics":[{"topic":"counts/a%20b","resumed":false,"gap":null}]}\n\n' +
          `id: ${at(backplane.epoch, NOW, 1)}\nevent: count\ndata: {"n":1}\n\n` +
          `id: ${at(backplane.epoch, NOW, 2)}\nevent: count\ndata: {"n":2}\n\n`,
      );
      await backplane.close();
    });

    it('says in $open what each topic resumes, and tells the gaps before anything else of that topic', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const channel = channelOf({ ...AMPLE, maxEvents: 2 });
      const [whole, trimmed] = [channel.topic({ id: 1 }), channel.topic({ id: 2 })];
      const cursor = await publish(backplane, whole, 0);
      for (let n = 1; n < 5; n += 1) await publish(backplane, trimmed, n);
      const { sink } = await connect(hub, [{ topic: whole }, { topic: trimmed }], cursor);
      await turn();
      expect(eventsIn(sink.writes).map(({ name, data }) => [name, data])).toEqual([
        [
          '$open',
          expect.stringContaining(
            '"topics":[{"topic":"counts/1","resumed":true,"gap":null},{"topic":"counts/2","resumed":false,"gap":"trimmed"}]',
          ),
        ],
        ['$gap', '{"topic":"counts/2","reason":"trimmed"}'],
        ['count', '{"n":3}'],
        ['count', '{"n":4}'],
      ]);
      await backplane.close();
    });

    it.each([
      ['invalid', 'no cursor at all'],
      ['invalid', ''],
      ['reset', 'another~0-0'],
      ['rewound', 'zzzzzzzzzzzzz-0'],
    ])('tells a gap "%s" for the cursor %j and gives all that is kept', async (reason, cursor) => {
      const told: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { gapTold: (_topic, why) => told.push(why) });
      const topic = countsChannel.topic({ id: 1 });
      await publish(backplane, topic, 1);
      const { sink } = await connect(hub, [{ topic }], reason === 'rewound' ? `${backplane.epoch}~${cursor}` : cursor);
      await turn();
      expect(namesIn(sink.writes)).toEqual(['$open', '$gap', 'count']);
      expect(eventsIn(sink.writes)[1]?.data).toBe(`{"topic":"counts/1","reason":"${reason}"}`);
      expect(told).toEqual([reason]);
      await backplane.close();
    });

    it.each([
      ['latest', []],
      ['earliest', range(0, 300)],
      [{ last: 0 }, []],
      [{ last: 200 }, range(100, 300)],
    ] as const)('begins at %j where the client brings no cursor', async (start, expected) => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      for (let n = 0; n < 300; n += 1) await publish(backplane, topic, n);
      const { sink } = await connect(hub, [{ topic, start }]);
      await turn();
      await publish(backplane, topic, 300);
      await turn();
      expect(numbersIn(sink.writes)).toEqual([...expected, 300]);
      await backplane.close();
    });

    it('writes a heartbeat only when nothing else was written, and its cursor resumes exactly', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic, filter: ({ n }: Count) => n % 2 === 0 }], null, undefined, {
        heartbeatMs: 1_000,
      });
      for (let n = 0; n < 10; n += 1) {
        await jest.advanceTimersByTimeAsync(900);
        await publish(backplane, topic, 2 * n);
      }
      await jest.advanceTimersByTimeAsync(500);
      expect(sink.text).not.toContain(':\n');
      await publish(backplane, topic, 21);
      const before = sink.text.length;
      await jest.advanceTimersByTimeAsync(500);
      expect(sink.text.slice(before)).toBe(`:\nid: ${at(backplane.epoch, Date.now(), 0)}\n\n`);
      const cursor = eventsIn(Buffer.from(`${sink.text}data\n\n`)).at(-1)?.lastEventId as Cursor;
      sink.close();
      await publish(backplane, topic, 22);
      const again = await connect(hub, [{ topic }], cursor);
      await turn();
      expect([namesIn(again.sink.writes), numbersIn(again.sink.writes)]).toEqual([['$open', 'count'], [22]]);
      await backplane.close();
    });

    it('goes on with heartbeats when the clock steps back', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const { sink } = await connect(hub, [{ topic: countsChannel.topic({ id: 1 }) }], null, undefined, {
        heartbeatMs: 1_000,
      });
      jest.setSystemTime(NOW - 3_600_000);
      await jest.advanceTimersByTimeAsync(3_000);
      expect(sink.text.split('\n').filter((line) => line === ':').length).toBe(3);
      await backplane.close();
    });

    it('tells no heartbeat to a reader that is blocked', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const sink = new RecordingSink();
      sink.fills = () => true;
      await connect(hub, [{ topic }], null, sink, { heartbeatMs: 100 });
      await jest.advanceTimersByTimeAsync(10_000);
      expect([namesIn(sink.writes), sink.writesWhileFull]).toEqual([['$open'], 0]);
      await backplane.close();
    });

    it('waits with the events of one topic while another topic is behind', async () => {
      const memory = new MemoryBackplane();
      let lose = false;
      const backplane = new FaultyBackplane(memory, {
        lose: ({ topic }) => lose && topic === 'counts/2',
        failRead: () => (lose ? new Error('the log is away') : null),
      });
      const hub = hubOn(backplane);
      const [one, two] = [countsChannel.topic({ id: 1 }), countsChannel.topic({ id: 2 })];
      const { sink } = await connect(hub, [{ topic: one }, { topic: two }], null, undefined, { heartbeatMs: 100 });
      lose = true;
      await publish(backplane, two, 1);
      await publish(backplane, one, 2);
      await jest.advanceTimersByTimeAsync(1_000);
      expect(numbersIn(sink.writes)).toEqual([]);
      lose = false;
      await jest.advanceTimersByTimeAsync(5_000);
      expect(numbersIn(sink.writes)).toEqual([1, 2]);
      await backplane.close();
    });

    it('keeps streams open while the log cannot be reached, and goes on where they were', async () => {
      let away = false;
      const failures: string[] = [];
      const backplane = new FaultyBackplane(new MemoryBackplane(), {
        failRead: () => (away ? new SseChannelsError('UNAVAILABLE', 'The log is away.') : null),
      });
      const hub = hubOn(backplane, { failed: (error, context) => failures.push(`${String(error)}, ${context}`) });
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }], null, undefined, { heartbeatMs: 100 });
      sink.fills = () => true;
      const early = await publish(backplane, topic, 0);
      for (let n = 1; n < 3_000; n += 1) void publish(backplane, topic, n);
      await turn();
      away = true;
      sink.fills = () => false;
      sink.drain();
      await jest.advanceTimersByTimeAsync(20_000);
      const meanwhile = sink.text.split('\n\n').filter((block) => block.startsWith(':')).length;
      await expect(hub.join([{ topic }], early)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      away = false;
      await jest.advanceTimersByTimeAsync(2_000);
      expect([meanwhile > 100, failures]).toEqual([true, []]);
      expect(numbersIn(sink.writes)).toEqual(range(0, 3_000));
      await backplane.close();
    });

    it('does not lead the cursor back with a heartbeat when a tail vouches for less than before', async () => {
      let lose = false;
      const backplane = new FaultyBackplane(new MemoryBackplane(), { lose: () => lose });
      const hub = hubOn(backplane);
      const [one, two] = [countsChannel.topic({ id: 1 }), countsChannel.topic({ id: 2 })];
      const requests = [{ topic: one }, { topic: two }];
      const { sink } = await connect(hub, requests, null, undefined, { heartbeatMs: 100 });
      await publish(backplane, two, 1);
      await publish(backplane, one, 2);
      await turn();
      lose = true;
      await publish(backplane, two, 3);
      lose = false;
      await jest.advanceTimersByTimeAsync(200);
      const cursor = eventsIn(Buffer.from(`${sink.text}data\n\n`)).at(-1)?.lastEventId as Cursor;
      sink.close();
      const again = await connect(hub, requests, cursor);
      await turn();
      expect([numbersIn(sink.writes), numbersIn(again.sink.writes)]).toEqual([[1, 2], [3]]);
      await backplane.close();
    });
  });

  describe('ends a connection', () => {
    it('at its time, as expired', async () => {
      const ends: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { connectionEnded: (_id, reason) => ends.push(reason) });
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }], null, undefined, { endsAt: NOW + 5_000 });
      await jest.advanceTimersByTimeAsync(4_999);
      expect(sink.ended).toBe(false);
      await jest.advanceTimersByTimeAsync(1_001);
      expect(sink.text.split('\n\n').slice(1)).toEqual([
        'retry: 3000\nevent: $closing\ndata: {"reason":"expired","comeBack":true}',
        '',
      ]);
      expect([ends, sink.ended, hub.snapshot()]).toEqual([['expired'], true, nothing]);
      await backplane.close();
    });

    it('at once where a grant has run out: nothing more goes out but $closing, once', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { connection, sink } = await connect(hub, [{ topic }]);
      void publish(backplane, topic, 1);
      connection.end('revoked', { comeBack: false });
      connection.end('expired');
      void publish(backplane, topic, 2);
      await jest.advanceTimersByTimeAsync(60_000);
      expect(sink.text.split('\n\n').slice(1)).toEqual([
        'id: $end\nevent: $closing\ndata: {"reason":"revoked","comeBack":false}',
        '',
      ]);
      expect(numbersIn(sink.writes)).toEqual([]);
      await backplane.close();
    });

    it('that is blocked when it drains, after what is due', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { connection, sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      for (let n = 0; n < 3_000; n += 1) void publish(backplane, topic, n);
      await turn();
      connection.end('drained', { retryMs: 77 });
      await jest.advanceTimersByTimeAsync(60_000);
      expect(namesIn(sink.writes)).not.toContain('$closing');
      sink.fills = () => false;
      sink.drain();
      await turn();
      expect(numbersIn(sink.writes)).toEqual(range(0, 3_000));
      expect(sink.text.endsWith('retry: 77\nevent: $closing\ndata: {"reason":"drained","comeBack":true}\n\n')).toBe(
        true,
      );
      await backplane.close();
    });

    it('whose peer left before it was opened', async () => {
      const ends: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { connectionEnded: (_id, reason) => ends.push(reason) });
      const sink = new RecordingSink();
      sink.close();
      await connect(hub, [{ topic: countsChannel.topic({ id: 1 }) }], null, sink);
      expect([ends, hub.snapshot()]).toEqual([['client-left'], nothing]);
      await backplane.close();
      await turn();
      expect(jest.getTimerCount()).toBe(0);
    });

    it('whose peer stopped reading, as slow', async () => {
      const ends: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { connectionEnded: (_id, reason) => ends.push(reason) });
      const { sink } = await connect(hub, [{ topic: countsChannel.topic({ id: 1 }) }]);
      sink.stall();
      sink.drain();
      expect([ends, sink.destroyed, hub.snapshot()]).toEqual([['slow'], true, nothing]);
      await backplane.close();
    });

    it('whose filter throws, alone, after what came before that event', async () => {
      const failures: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { failed: (error, context) => failures.push(`${String(error)}, ${context}`) });
      const topic = countsChannel.topic({ id: 1 });
      const other = await connect(hub, [{ topic }]);
      const { connection, sink } = await connect(hub, [
        {
          topic,
          filter: ({ n }: Count) => {
            if (n === 3) throw new WithStatus('Not for you', 403);
            return true;
          },
        },
      ]);
      for (let n = 1; n < 6; n += 1) void publish(backplane, topic, n);
      await turn();
      expect(numbersIn(sink.writes)).toEqual([1, 2]);
      expect(sink.text.split('\n\n').slice(3)).toEqual([
        'event: $error\ndata: {"message":"Not for you","status":403,"comeBack":false}',
        'id: $end\nevent: $closing\ndata: {"reason":"failed","comeBack":false}',
        '',
      ]);
      expect(failures).toEqual([`Error: Not for you, serving connection ${connection.id}`]);
      expect([numbersIn(other.sink.writes), hub.snapshot()]).toEqual([
        range(1, 6),
        { connections: 1, feeds: 1, subscriptions: 1 },
      ]);
      await backplane.close();
    });

    it('whose log cannot be read, as failed, alone', async () => {
      let away = false;
      const ends: string[] = [];
      const backplane = new FaultyBackplane(new MemoryBackplane(), {
        failRead: () => (away ? new Error('the log is away') : null),
      });
      const hub = hubOn(backplane, { connectionEnded: (id, reason) => ends.push(`${id} ${reason}`) });
      const topic = countsChannel.topic({ id: 1 });
      const other = await connect(hub, [{ topic }]);
      const { connection, sink } = await connect(hub, [{ topic }]);
      sink.fills = () => true;
      for (let n = 0; n < 3_000; n += 1) void publish(backplane, topic, n);
      await turn();
      away = true;
      sink.fills = () => false;
      sink.drain();
      await turn();
      expect(sink.text.split('\n\n').slice(-3)).toEqual([
        'event: $error\ndata: {"message":"Internal error","status":500,"comeBack":true}',
        'retry: 3000\nevent: $closing\ndata: {"reason":"failed","comeBack":true}',
        '',
      ]);
      expect(ends).toEqual([`${connection.id} failed`]);
      expect(numbersIn(other.sink.writes)).toEqual(range(0, 3_000));
      await backplane.close();
    });
  });

  describe('joins', () => {
    it('rejects when the tail does, and a later join of that topic works', async () => {
      const memory = new MemoryBackplane();
      let away = true;
      const backplane: Backplane = Object.create(memory, {
        tail: {
          value: (...tailed: Parameters<Backplane['tail']>) =>
            away ? Promise.reject(new Error('the backplane is away')) : memory.tail(tailed[0], tailed[1]),
        },
        epoch: { value: memory.epoch },
        read: { value: memory.read.bind(memory) },
      }) as Backplane;
      const hub = hubOn(backplane);
      const topics = [countsChannel.topic({ id: 1 }), countsChannel.topic({ id: 2 })];
      const requests = topics.map((topic) => ({ topic }));
      const joins = [hub.join(requests, null), hub.join([{ topic: topics[0] as Topic }], null)];
      for (const join of joins) await expect(join).rejects.toThrow('the backplane is away');
      expect(hub.snapshot()).toEqual(nothing);
      away = false;
      const { sink } = await connect(hub, requests);
      await publish(memory, topics[1] as Topic, 1);
      await turn();
      expect(numbersIn(sink.writes)).toEqual([1]);
      await memory.close();
    });

    it('rejects when the log cannot be read, and leaves nothing', async () => {
      const backplane = new FaultyBackplane(new MemoryBackplane(), { failRead: () => new Error('the log is away') });
      const hub = hubOn(backplane);
      await expect(hub.join([{ topic: countsChannel.topic({ id: 1 }), start: 'earliest' }], null)).rejects.toThrow(
        'the log is away',
      );
      expect(hub.snapshot()).toEqual(nothing);
      await backplane.close();
      expect(jest.getTimerCount()).toBe(0);
    });

    it('refuses topics of a channel that shares topics with another', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      await hub.join([{ topic: countsChannel.topic({ id: 1 }) }], null);
      const twin = channelOf({});
      await expect(hub.join([{ topic: twin.topic({ id: 1 }) }], null)).rejects.toMatchObject({
        code: 'CHANNEL_CONFLICT',
      });
      expect(hub.snapshot()).toEqual({ connections: 0, feeds: 1, subscriptions: 1 });
      await backplane.close();
    });

    it('a topic that is asked for twice once, with what either filter lets pass', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }, { topic }]);
      const filtered = await connect(hub, [
        { topic, filter: ({ n }: Count) => n % 2 === 0 },
        { topic, filter: ({ n }: Count) => n % 3 === 0 },
      ]);
      for (let n = 0; n < 7; n += 1) await publish(backplane, topic, n);
      await turn();
      expect((JSON.parse(eventsIn(sink.writes)[0]?.data ?? '') as OpenData).topics.length).toBe(1);
      expect([numbersIn(sink.writes), numbersIn(filtered.sink.writes)]).toEqual([range(0, 7), [0, 2, 3, 4, 6]]);
      expect(hub.snapshot()).toEqual({ connections: 2, feeds: 1, subscriptions: 2 });
      await backplane.close();
    });

    it('lets an event that this process does not declare through no filter, and through where there is none', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const filtered = await connect(hub, [{ topic, filter: () => true }]);
      const { sink } = await connect(hub, [{ topic }]);
      await backplane.append(topic.name, { name: 'newer', data: '{}' }, AMPLE);
      await turn();
      expect([namesIn(sink.writes), namesIn(filtered.sink.writes)]).toEqual([['$open', 'newer'], ['$open']]);
      await backplane.close();
    });
  });

  describe('drains', () => {
    const drainOptions = { graceMs: 5_000, retryMs: () => 42 };

    it('what was published in this turn, then $closing, and resolves when all are closed', async () => {
      const ends: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { connectionEnded: (_id, reason) => ends.push(reason) });
      const topic = countsChannel.topic({ id: 1 });
      const { sink } = await connect(hub, [{ topic }]);
      void publish(backplane, topic, 1);
      await hub.drain(drainOptions);
      expect(sink.text.split('\n\n').slice(1)).toEqual([
        expect.stringContaining('event: count\ndata: {"n":1}'),
        'retry: 42\nevent: $closing\ndata: {"reason":"drained","comeBack":true}',
        '',
      ]);
      expect([ends, hub.draining, hub.snapshot()]).toEqual([['drained'], true, nothing]);
      await turn();
      await backplane.close();
      expect(jest.getTimerCount()).toBe(0);
    });

    it('waits the grace for a peer that does not read, then cuts it', async () => {
      const ends: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, { connectionEnded: (_id, reason) => ends.push(reason) });
      const sink = new RecordingSink();
      sink.fills = () => true;
      await connect(hub, [{ topic: countsChannel.topic({ id: 1 }) }], null, sink);
      let drained = 0;
      void hub.drain(drainOptions).then(() => (drained += 1));
      void hub.drain(drainOptions).then(() => (drained += 1));
      await jest.advanceTimersByTimeAsync(4_999);
      expect([drained, sink.destroyed]).toEqual([0, false]);
      await jest.advanceTimersByTimeAsync(1);
      expect([drained, sink.destroyed, ends, hub.snapshot()]).toEqual([2, true, ['drained'], nothing]);
      await backplane.close();
      expect(jest.getTimerCount()).toBe(0);
    });

    it('spreads the ends over the window after the notice, and takes no longer than it needs for few', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const topic = countsChannel.topic({ id: 1 });
      const sinks: RecordingSink[] = [];
      for (let n = 0; n < 100; n += 1) sinks.push((await connect(hub, [{ topic }])).sink);
      let drained = false;

      void hub.drain({ ...drainOptions, noticeMs: 1_000, windowMs: 60_000 }).then(() => (drained = true));
      const left: number[] = [];
      for (let ms = 0; ms < 2_000; ms += 100) {
        left.push(hub.snapshot().connections);
        await publish(backplane, topic, ms / 100);
        await jest.advanceTimersByTimeAsync(100);
      }

      // A hundred, 5 ms for each.
      expect(left.slice(0, 10).every((count) => count === 100)).toBe(true);
      for (const [index, wanted] of [80, 60, 40, 20].entries()) {
        expect(Math.abs((left[11 + index] as number) - wanted)).toBeLessThanOrEqual(5);
      }
      expect([drained, left.at(-1)]).toEqual([true, 0]);
      for (const { writes } of sinks) {
        const numbers = numbersIn(writes);
        expect(numbers.length).toBeGreaterThanOrEqual(10);
        expect(numbers).toEqual(range(0, numbers.length));
      }
      await backplane.close();
    });

    it('resolves both of two drains when the last peer has taken everything', async () => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane);
      const sink = new RecordingSink();
      sink.fills = () => true;
      await connect(hub, [{ topic: countsChannel.topic({ id: 1 }) }], null, sink);
      const drains = [hub.drain(drainOptions), hub.drain(drainOptions)];
      sink.fills = () => false;
      sink.drain();
      await Promise.all(drains);
      await turn();
      await backplane.close();
      expect([namesIn(sink.writes), jest.getTimerCount()]).toEqual([['$open', '$closing'], 0]);
    });

    it('refuses joins and connections, also those that were under way', async () => {
      const memory = new MemoryBackplane();
      const backplane = new SlowReads(memory, () => 50);
      const hub = hubOn(backplane);
      const request = { topic: countsChannel.topic({ id: 1 }), start: 'earliest' as const };
      const source = await hub.join([{ topic: countsChannel.topic({ id: 2 }) }], null);
      const underWay = hub.join([request], null).catch((error: unknown) => error);
      await hub.drain(drainOptions);
      await jest.advanceTimersByTimeAsync(100);
      expect(await underWay).toMatchObject({ code: 'DRAINING' });
      await expect(hub.join([request], null)).rejects.toMatchObject({
        code: 'DRAINING',
        message: 'This server is shutting down; connect again to reach another.',
      });
      const options = { id: 'late', heartbeatMs: 1_000, retryMs: 1 };
      expect(() => hub.connect(source, new RecordingSink(), options)).toThrow('shutting down');
      expect(hub.snapshot()).toEqual(nothing);
      await backplane.close();
      expect(jest.getTimerCount()).toBe(0);
    });
  });

  it.each(['count\nevent: admin', '$closing', 'error', ''])(
    'puts a gap in the place of a record whose name "%s" the bus would have refused, live and replayed',
    async (name) => {
      const failures: string[] = [];
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, {
        failed: (error, context) => failures.push(`${(error as Error).message}, ${context}`),
      });
      const topic = countsChannel.topic({ id: 1 });
      const live = await connect(hub, [{ topic }]);
      const before = await publish(backplane, topic, 1);

      const cursor = await backplane.append(topic.name, { name, data: '{}' }, topic.channel.retention);
      await publish(backplane, topic, 2);
      await turn();
      const replayed = await connect(hubOn(backplane), [{ topic }], before);
      await turn();

      const told = (bytes: readonly Buffer[]): string[] =>
        eventsIn(bytes)
          .map(({ name: event, data }) => `${event} ${data}`)
          .slice(-2);
      const gap = '$gap {"topic":"counts/1","reason":"trimmed"}';
      expect(told(live.sink.writes)).toEqual([gap, 'count {"n":2}']);
      expect(told(replayed.sink.writes)).toEqual([gap, 'count {"n":2}']);
      expect(live.sink.text).toContain(`id: ${cursor}\nevent: $gap\n`);
      expect(failures).toEqual([expect.stringMatching(/^(Event name|The event) .*, framing a record of "counts\/1"$/)]);
    },
  );

  it('has one timer for all connections, and none without', async () => {
    const backplane = new MemoryBackplane();
    const hub = hubOn(backplane);
    const sinks: RecordingSink[] = [];
    for (let id = 0; id < 50; id += 1) {
      sinks.push(
        (await connect(hub, [{ topic: countsChannel.topic({ id }) }], null, undefined, { heartbeatMs: 5_000 - id }))
          .sink,
      );
    }
    expect([jest.getTimerCount(), hub.snapshot()]).toEqual([1, { connections: 50, feeds: 50, subscriptions: 50 }]);
    for (const sink of sinks) sink.close();
    expect([jest.getTimerCount(), hub.snapshot()]).toEqual([0, nothing]);
    await backplane.close();
  });
});
