import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  compareOffsets,
  defineChannel,
  encodeFrame,
  FIRST_OFFSET,
  FrameParser,
  parseCursor,
  SseEvent,
  type ClosingData,
  type Cursor,
  type Offset,
  type OpenData,
  type OpenTopic,
} from '@sse-channels/protocol';
import { RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import type { EventRecord, Tail, TopicFilter } from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import type { Connection } from '../connection/connection.js';
import { FOR_EVER } from '../connection/grant.js';
import { Hub } from './hub.js';
import type { TopicSource } from './topic-source.js';

@SseEvent('count')
class Count {
  n!: number;
}

const channel = defineChannel('counts/:id', { events: [Count], replay: { maxEvents: 100_000, maxBytes: 100_000_000 } });
const impatient = defineChannel('impatient/:id', { events: [Count], slowReaders: 'disconnect' });
const topicOf = (id: number) => (id === 9 ? impatient : channel).topic({ id });

/** Hands records over when a test says so; a tail's position tells how far those have come. */
class LateBackplane extends MemoryBackplane {
  /** Topics whose records are held back. */
  readonly late = new Map<string, Array<() => void>>();

  /** @param isShared positions move with the records of all topics, of which none is held back */
  constructor(private readonly isShared: boolean) {
    super();
  }

  override async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void): Promise<Tail> {
    let waiting = 0;
    let position: Offset = FIRST_OFFSET;
    const tail = await super.tail(filter, (record) => {
      const handOver = (): void => {
        position = record.offset;
        onRecord(record);
      };
      const held = this.late.get(record.topic);
      if (held === undefined) return handOver();
      waiting += 1;
      held.push(() => {
        waiting -= 1;
        handOver();
      });
    });
    position = tail.position;
    const { isShared } = this;
    return {
      get position() {
        return isShared && waiting === 0 ? tail.position : position;
      },
      end: () => tail.end(),
    };
  }

  release(topic: string): void {
    const held = this.late.get(topic) ?? [];
    this.late.delete(topic);
    for (const handOver of held) handOver();
  }
}

const opening = (topic: OpenTopic, id: Cursor): Buffer =>
  Buffer.from(encodeFrame({ id, event: '$open', data: JSON.stringify({ topics: [topic] }) }));

/** Everything that was published, and the streams that follow some of it. */
class Room {
  readonly backplane: LateBackplane;
  readonly hub: Hub;
  readonly streams: Stream[] = [];
  /** The offsets of each topic's records. */
  readonly logs = new Map<string, Offset[]>();
  readonly cursors: Cursor[] = [];

  constructor(isShared: boolean) {
    this.backplane = new LateBackplane(isShared);
    this.hub = new Hub({
      backplane: this.backplane,
      codec: new EventCodec(uncheckedClassValidator),
      channels: new ChannelRegistry(),
      observer: {},
      describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
      limits: { perTopic: null, topicsPerConnection: null },
    });
  }

  async publish(id: number, padBytes = 0): Promise<void> {
    const topic = topicOf(id);
    const log = this.logs.get(topic.name) ?? [];
    this.logs.set(topic.name, log);
    const data = JSON.stringify({ n: log.length, pad: 'x'.repeat(padBytes) });
    const cursor = await this.backplane.append(topic.name, { name: 'count', data }, topic.channel.retention);
    log.push(parseCursor(cursor)?.offset as Offset);
    this.cursors.push(cursor);
  }

  /** The number of the first record of a topic after a cursor. */
  after(topic: string, cursor: Cursor | null): number {
    const from = cursor === null ? FIRST_OFFSET : (parseCursor(cursor)?.offset as Offset);
    const log = this.logs.get(topic) ?? [];
    const first = log.findIndex((offset) => compareOffsets(offset, from) > 0);
    return first === -1 ? log.length : first;
  }

  async open(ids: readonly number[], lastEventId: Cursor | null, { filtered = false } = {}): Promise<Stream> {
    const requests = ids.map((id) => ({
      topic: topicOf(id),
      start: 'earliest' as const,
      ...(filtered ? { filter: () => true } : {}),
    }));
    const source = await this.hub.joinMany(requests, lastEventId, { form: 'topic' });
    const sink = new RecordingSink();
    const stream = new Stream(this, source, sink);
    for (const { topic } of requests) stream.begins(topic.name, this.after(topic.name, lastEventId));
    this.streams.push(stream);
    const id = String(this.streams.length);
    stream.connection = this.hub.connect(source, sink, { id, heartbeatMs: 500, retryMs: 1 });
    return stream;
  }
}

/** A stream, and what its client may expect. */
class Stream {
  connection!: Connection;
  gone = false;
  /** Where topics that were added begin, in the order in which they were. */
  readonly #begins = new Map<string, number[]>();

  constructor(
    private readonly room: Room,
    readonly source: TopicSource,
    readonly sink: RecordingSink,
  ) {}

  begins(topic: string, at: number): void {
    this.#begins.set(topic, [...(this.#begins.get(topic) ?? []), at]);
  }

  /**
   * Throws at the first event that is missing, doubled, in no order, or behind a cursor that was told before it.
   * @param cursor one that is told now, after all of it
   */
  judge(isWhole: boolean, cursor: Cursor | null = null): void {
    const begins = new Map([...this.#begins].map(([topic, at]) => [topic, [...at]]));
    const held = new Map<string, { next: number; live: boolean }>();
    let told = FIRST_OFFSET;
    const tell = (id: Cursor): void => {
      const offset = parseCursor(id)?.offset;
      // A stream without a topic has no cursor, and one that is over for good has the last.
      if (offset === undefined) return;
      expect(compareOffsets(offset, told)).toBeGreaterThanOrEqual(0);
      told = offset;
      for (const [topic, { next, live }] of held) {
        const due = this.room.logs.get(topic)?.[next];
        if (live && due !== undefined)
          expect([topic, next, compareOffsets(due, told) > 0]).toEqual([topic, next, true]);
      }
    };
    const parser = new FrameParser({
      onEvent: ({ name, data, lastEventId }, { topic = '', cursor: beside }) => {
        if (name === '$open') {
          for (const { topic: opened, behind } of (JSON.parse(data) as OpenData).topics) {
            if (!held.has(opened))
              held.set(opened, { next: begins.get(opened)?.shift() as number, live: behind !== true });
          }
        } else if (name === '$closing') {
          const { topic: closed } = JSON.parse(data) as ClosingData;
          if (closed !== undefined) held.delete(closed);
        } else if (name === '$live') {
          const of = held.get((JSON.parse(data) as { topic: string }).topic);
          if (of !== undefined) of.live = true;
        } else {
          const of = held.get(topic);
          expect([name, topic, (JSON.parse(data) as Count).n]).toEqual(['count', topic, of?.next]);
          if (of === undefined) return;
          expect([topic, beside === undefined]).toEqual([topic, of.live]);
          of.next += 1;
        }
        tell(lastEventId);
      },
    });
    for (const bytes of this.sink.writes) {
      parser.push(bytes);
      tell(parser.lastEventId);
    }
    if (cursor !== null) tell(cursor);
    // Its end is said to who does not read as well.
    expect(this.sink.writesWhileFull).toBeLessThanOrEqual(this.sink.ended ? 1 : 0);
    if (!isWhole) return;
    for (const [topic, { next, live }] of held)
      expect([topic, next, live]).toEqual([topic, this.room.logs.get(topic)?.length ?? 0, true]);
  }
}

type Step =
  | { readonly publish: readonly number[]; readonly pad: number }
  | { readonly fill: number; readonly many: number }
  | { readonly drain: number; readonly many: number }
  | { readonly end: number }
  | { readonly leave: number }
  | { readonly join: number; readonly at: number; readonly filtered: boolean }
  | { readonly add: number; readonly id: number; readonly at: number }
  | { readonly remove: number; readonly id: number }
  | { readonly ask: number }
  | { readonly hold: number }
  | { readonly release: number }
  | { readonly waitMs: number };

/** Topics of streams; the first few, in whatever order, are those of most of them. */
const SETS = [
  [0, 1, 2],
  [2, 1, 0],
  [0, 1, 2],
  [1, 2, 0],
  [0, 1],
  [0, 1],
  [3],
  [3],
  [0, 1, 2, 3, 4],
  [4, 3, 2, 1, 0],
  [2, 3],
  [9, 0],
  [0, 9],
];

async function play(isShared: boolean, count: number, steps: readonly Step[]): Promise<void> {
  const room = new Room(isShared);
  await room.publish(0);
  for (let n = 0; n < count; n += 1) await room.open(SETS[n % 4] as number[], room.cursors.at(-1) as Cursor);
  const open = (): Stream[] => room.streams.filter(({ gone }) => !gone);
  const one = (at: number): Stream | undefined => open()[at % Math.max(1, open().length)];
  const some = (at: number, many: number): Stream[] =>
    open()
      .slice(at % Math.max(1, open().length))
      .slice(0, many);
  const cursorAt = (at: number): Cursor => room.cursors[room.cursors.length - 1 - (at % room.cursors.length)] as Cursor;
  for (const step of steps) {
    if ('publish' in step) for (const id of step.publish) await room.publish(id, step.pad);
    else if ('fill' in step) for (const { sink } of some(step.fill, step.many)) sink.fills = () => true;
    else if ('drain' in step) {
      for (const { sink } of some(step.drain, step.many)) {
        sink.fills = () => false;
        sink.drain();
      }
    } else if ('join' in step) {
      const { filtered } = step;
      await room.open(SETS[step.join % SETS.length] as number[], cursorAt(step.at), { filtered });
    } else if ('add' in step) {
      const stream = one(step.add);
      const topic = topicOf(step.id);
      if (stream === undefined || stream.source.has(topic.name)) continue;
      const lastEventId = cursorAt(step.at);
      stream.begins(topic.name, room.after(topic.name, lastEventId));
      await room.hub.add(stream.source, { topic, lastEventId }, FOR_EVER, opening, { form: 'topic' });
    } else if ('remove' in step) {
      one(step.remove)?.source.remove(topicOf(step.id).name, { reason: 'done', comeBack: false });
    } else if ('ask' in step) {
      const stream = one(step.ask);
      stream?.judge(false, stream.connection.describe().cursor);
    } else if ('hold' in step) {
      const { name } = topicOf(step.hold);
      if (!room.backplane.late.has(name)) room.backplane.late.set(name, []);
    } else if ('release' in step) room.backplane.release(topicOf(step.release).name);
    else if ('waitMs' in step) await jest.advanceTimersByTimeAsync(step.waitMs);
    else {
      const stream = one('end' in step ? step.end : step.leave);
      if (stream === undefined) continue;
      stream.gone = true;
      if ('end' in step) stream.connection.end('drained');
      else stream.sink.close();
    }
    for (const stream of open()) if (stream.sink.ended || stream.sink.destroyed) stream.gone = true;
  }
  for (const name of room.backplane.late.keys()) room.backplane.release(name);
  for (const { sink } of open()) {
    sink.fills = () => false;
    sink.drain();
  }
  await jest.advanceTimersByTimeAsync(2_000);
  for (const stream of room.streams) stream.judge(!stream.gone && !stream.sink.ended);
  for (const { connection } of room.streams) connection.destroy();
  expect(room.hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  await room.backplane.close();
}

describe('streams of the same topics that stand level', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  /** Streams that stand level in these topics. */
  async function standing(count: number, ids: readonly number[]): Promise<Room> {
    const room = new Room(true);
    await room.publish(ids[0] as number);
    for (let n = 0; n < count; n += 1) await room.open(ids, room.cursors.at(-1) as Cursor);
    await room.publish(ids[0] as number);
    await jest.advanceTimersByTimeAsync(10);
    return room;
  }

  it('are told of a topic at once', async () => {
    const { streams } = await standing(3, [0, 1]);
    const [{ source, sink }] = streams as [Stream];
    const told = source.tellOf(topicOf(1).name, opening);

    expect([told, sink.writes.at(-1)?.includes('event: $open')]).toEqual([true, true]);
    for (const { connection } of streams) connection.destroy();
  });

  it('end where a channel ends slow readers', async () => {
    const room = await standing(3, [9, 0]);
    const [slow, ...others] = room.streams as [Stream, ...Stream[]];
    slow.sink.fills = () => true;
    for (let n = 0; n < 2; n += 1) {
      await room.publish(0);
      await room.publish(9);
      await jest.advanceTimersByTimeAsync(10);
    }

    expect([slow.sink.ended, slow.sink.text.includes('"reason":"slow"')]).toEqual([true, true]);
    for (const stream of others) stream.judge(true);
    for (const { connection } of room.streams) connection.destroy();
  });

  it('come back, or are woken, when their peers take more in the midst of a delivery', async () => {
    const room = await standing(4, [0, 1]);
    const [, slow, ...others] = room.streams as [Stream, Stream, ...Stream[]];
    slow.sink.fills = () => true;
    let drained = 0;
    const drain = (): boolean => {
      slow.sink.fills = () => false;
      if (slow.sink.full) drained += 1;
      slow.sink.drain();
      return false;
    };
    for (const { sink } of others) sink.fills = drain;
    await room.publish(0);
    await jest.advanceTimersByTimeAsync(10);
    await room.publish(1);
    await jest.advanceTimersByTimeAsync(10);

    expect(drained).toBe(1);
    for (const stream of room.streams) stream.judge(true);
    for (const { connection } of room.streams) connection.destroy();
  });

  it('are given everything of every topic once, in the order of all of them, and no cursor before what it covers', async () => {
    const who = fc.nat(100);
    const id = fc.constantFrom(0, 0, 1, 1, 2, 2, 3, 4, 9);
    const many = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(300));
    const at = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(50) });
    const ids = fc.array(id, { minLength: 1, maxLength: 4, size: 'max' });
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 14, arbitrary: fc.record({ publish: ids, pad: fc.constantFrom(0, 0, 0, 20_000) }) },
      { weight: 14, arbitrary: fc.record({ waitMs: fc.constantFrom(0, 0, 0, 1, 600) }) },
      { weight: 2, arbitrary: fc.record({ fill: who, many }) },
      { weight: 3, arbitrary: fc.record({ drain: who, many }) },
      { weight: 1, arbitrary: fc.record({ end: who }) },
      { weight: 1, arbitrary: fc.record({ leave: who }) },
      { weight: 2, arbitrary: fc.record({ join: who, at, filtered: fc.constantFrom(false, false, false, true) }) },
      { weight: 2, arbitrary: fc.record({ add: who, id, at }) },
      { weight: 1, arbitrary: fc.record({ remove: who, id }) },
      { weight: 2, arbitrary: fc.record({ ask: who }) },
      { weight: 1, arbitrary: fc.record({ hold: id }) },
      { weight: 3, arbitrary: fc.record({ release: id }) },
    );
    const counts = fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 4, max: 12 }) },
      { weight: 1, arbitrary: fc.constant(280) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        counts,
        fc.array(step, { maxLength: 100, size: 'max' }),
        async (isShared, count, steps) => {
          jest.clearAllTimers();
          await play(isShared, count, steps);
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);
});
