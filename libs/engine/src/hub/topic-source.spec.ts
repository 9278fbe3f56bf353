import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  defineChannel,
  encodeFrame,
  FrameParser,
  SseEvent,
  type BlockFields,
  type ClosingData,
  type Cursor,
  type GapData,
  type OpenData,
  type ParsedEvent,
} from '@sse-channels/protocol';
import { FaultyBackplane, randomOf, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import type { Backplane } from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import type { Connection } from '../connection/connection.js';
import { FOR_EVER, type Grant } from '../connection/grant.js';
import type { FrameForm } from './frame-ring.js';
import { Hub, type TopicRequest } from './hub.js';
import type { TopicSource } from './topic-source.js';

@SseEvent('count')
class Count {
  n!: number;
}

const channel = defineChannel('counts/:id', { events: [Count], replay: { maxEvents: 100_000, maxBytes: 100_000_000 } });
const topicOf = (id: number) => channel.topic({ id });

function hubOn(backplane: Backplane, topicsPerConnection: number | null = null): Hub {
  return new Hub({
    backplane,
    codec: new EventCodec(uncheckedClassValidator),
    channels: new ChannelRegistry(),
    observer: {},
    describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
    limits: { perTopic: null, topicsPerConnection },
  });
}

const publish = (backplane: Backplane, id: number, n: number): Promise<Cursor> =>
  backplane.append(topicOf(id).name, { name: 'count', data: JSON.stringify({ n }) }, channel.retention);

const opening = (topic: object, id: Cursor): Buffer =>
  Buffer.from(encodeFrame({ id, event: '$open', data: JSON.stringify({ topics: [topic] }) }));

interface OpenStream {
  readonly source: TopicSource;
  readonly connection: Connection;
  readonly sink: RecordingSink;
}

async function connect(
  hub: Hub,
  requests: readonly TopicRequest[],
  lastEventId: Cursor | null = null,
  form: FrameForm = 'topic',
): Promise<OpenStream> {
  const source = await hub.joinMany(requests, lastEventId, { form });
  const sink = new RecordingSink();
  const connection = hub.connect(source, sink, { id: 'c1', heartbeatMs: 1_000, retryMs: 3_000 });
  return { source, connection, sink };
}

type ReceivedEvent = ParsedEvent & BlockFields;

function eventsIn(sink: RecordingSink): ReceivedEvent[] {
  const events: ReceivedEvent[] = [];
  const parser = new FrameParser({ onEvent: (event, fields) => events.push({ ...event, ...fields }) });
  for (const bytes of sink.writes) parser.push(bytes);
  return events;
}

describe('a stream of many topics', () => {
  let backplane: MemoryBackplane;
  let hub: Hub;

  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
    backplane = new MemoryBackplane();
    hub = hubOn(backplane);
  });

  afterEach(async () => {
    await backplane.close();
    jest.useRealTimers();
  });

  const turn = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

  it('says in a line of its own, or in the data, of which topic an event is', async () => {
    const [line, envelope] = [
      await connect(hub, [{ topic: topicOf(1) }, { topic: topicOf(2) }]),
      await connect(hub, [{ topic: topicOf(1) }], null, 'envelope'),
    ];
    const cursor = await publish(backplane, 1, 7);
    await turn();
    expect([line.sink.writes.at(-1)?.toString(), envelope.sink.writes.at(-1)?.toString()]).toEqual([
      `id: ${cursor}\ntopic: counts/1\nevent: count\ndata: {"n":7}\n\n`,
      `id: ${cursor}\nevent: count\ndata: {"topic":"counts/1","data":{"n":7}}\n\n`,
    ]);
  });

  it('shares what it sends with all streams of the same topics, byte for byte', async () => {
    const requests = [{ topic: topicOf(1) }, { topic: topicOf(2) }];
    const streams = [await connect(hub, requests), await connect(hub, requests), await connect(hub, requests)];
    for (let n = 0; n < 10; n += 1) await publish(backplane, 1 + (n % 2), n);
    await turn();
    const [first, ...others] = streams.map(({ sink }) => sink.writes.at(-1));
    for (const other of others) expect(other).toBe(first);
  });

  it('gives streams that stand level what one turn brings beyond the rings, and before the next heartbeat', async () => {
    const requests = [{ topic: topicOf(1) }, { topic: topicOf(2) }];
    const streams = [await connect(hub, requests), await connect(hub, requests), await connect(hub, requests)];
    const pad = 'x'.repeat(20_000);
    await publish(backplane, 1, 0);
    await turn();
    expect(streams.every(({ source }) => source.seat >= 0)).toBe(true);
    for (let n = 1; n <= 30; n += 1) {
      const draft = { name: 'count', data: JSON.stringify({ n, pad }) };
      await backplane.append(topicOf(1 + (n % 2)).name, draft, channel.retention);
    }
    for (let turns = 0; turns < 30; turns += 1) await turn();
    const given = ({ sink }: OpenStream): number[] =>
      eventsIn(sink).flatMap(({ name, data }) => (name === 'count' ? [(JSON.parse(data) as Count).n] : []));
    const all = Array.from({ length: 31 }, (_, n) => n);
    expect(streams.map(given)).toEqual([all, all, all]);
  });

  it('takes topics in and out while it is open, and tells of both', async () => {
    const { source, sink } = await connect(hub, [{ topic: topicOf(1) }]);
    await hub.add(source, { topic: topicOf(2) }, FOR_EVER, opening, { form: 'topic' });
    await publish(backplane, 2, 1);
    await publish(backplane, 1, 2);
    await turn();
    const removed = [source.remove('counts/1', { reason: 'done', comeBack: false }), source.remove('counts/9', null)];
    await publish(backplane, 1, 3);
    await publish(backplane, 2, 4);
    await turn();
    const told = eventsIn(sink).map(({ name, topic, data }) => (name === 'count' ? `${topic} ${data}` : name));
    expect([removed, told]).toEqual([
      [true, false],
      ['$open', '$open', 'counts/2 {"n":1}', 'counts/1 {"n":2}', '$closing', 'counts/2 {"n":4}'],
    ]);
    const [, added, , , closing] = eventsIn(sink).map(({ data }) => JSON.parse(data) as OpenData & ClosingData);
    expect([added?.topics, closing]).toEqual([
      [{ topic: 'counts/2', resumed: false, gap: null }],
      { reason: 'done', comeBack: false, topic: 'counts/1' },
    ]);
    expect(hub.snapshot()).toEqual({ connections: 1, feeds: 1, subscriptions: 1 });
  });

  it('begins without a topic, with quiet heartbeats, and gets its cursor from the first', async () => {
    const { source, sink } = await connect(hub, []);
    await jest.advanceTimersByTimeAsync(2_500);
    expect(sink.writes.slice(1).map(String)).toEqual([':\n\n', ':\n\n']);
    await hub.add(source, { topic: topicOf(1) }, FOR_EVER, opening, { form: 'topic' });
    const cursor = await publish(backplane, 1, 1);
    await turn();
    expect(eventsIn(sink).at(-1)?.lastEventId).toBe(cursor);
  });

  it('replays a topic that is added behind the cursor beside it, holds up nobody, and says when it is covered', async () => {
    const first = await publish(backplane, 2, 0);
    for (let n = 1; n < 300; n += 1) await publish(backplane, 2, n);
    const { source, sink } = await connect(hub, [{ topic: topicOf(1) }]);
    const before = await publish(backplane, 1, 1_000);
    await turn();
    sink.fills = () => true;
    await hub.add(source, { topic: topicOf(2), lastEventId: first }, FOR_EVER, opening, { form: 'topic' });
    const after = await publish(backplane, 1, 1_001);
    for (let n = 0; n < 20; n += 1) {
      sink.drain();
      await turn();
    }
    const events = eventsIn(sink);
    const replayed = events.filter(({ name, topic }) => name === 'count' && topic === 'counts/2');
    const lived = events.findIndex(({ name }) => name === '$live');
    expect(replayed.map(({ data }) => (JSON.parse(data) as Count).n)).toEqual(
      Array.from({ length: 299 }, (_, n) => n + 1),
    );
    expect(
      replayed.every(({ cursor, lastEventId }) => cursor !== undefined && [before, after].includes(lastEventId)),
    ).toBe(true);
    expect(events[lived]?.data).toBe('{"topic":"counts/2"}');
    expect(lived).toBeGreaterThan(events.indexOf(replayed.at(-1) as ReceivedEvent));
    const next = await publish(backplane, 2, 300);
    sink.drain();
    await turn();
    expect([eventsIn(sink).at(-1)?.lastEventId, eventsIn(sink).at(-1)?.cursor]).toEqual([next, undefined]);
  });

  it('gives a topic that it has once more from an earlier place, beside its cursor, and leaves nothing out', async () => {
    const { source, sink } = await connect(hub, [{ topic: topicOf(1) }, { topic: topicOf(2) }]);
    const first = await publish(backplane, 1, 1);
    await publish(backplane, 2, 2);
    await publish(backplane, 1, 3);
    await turn();
    const before = eventsIn(sink).length;
    const join = (lastEventId: string | null): Promise<boolean> =>
      hub.add(source, { topic: topicOf(1), lastEventId }, FOR_EVER, opening, { form: 'topic' });
    const taken = [await join(first), await join(null)];
    await publish(backplane, 1, 4);
    await publish(backplane, 2, 5);
    await turn();
    const told = eventsIn(sink)
      .slice(before)
      .map(({ name, topic, data, cursor }) =>
        name === 'count' ? `${topic} ${data}${cursor === undefined ? '' : ' beside'}` : name,
      );
    expect(taken).toEqual([true, false]);
    expect(told).toEqual(['$open', 'counts/1 {"n":3} beside', '$live', 'counts/1 {"n":4}', 'counts/2 {"n":5}']);
    expect([source.tellOf('counts/2', opening), source.tellOf('counts/9', opening)]).toEqual([true, false]);
    expect(hub.snapshot()).toEqual({ connections: 1, feeds: 2, subscriptions: 2 });
  });

  it('ends a topic whose grant runs out or is withdrawn, alone; not to know is a withdrawal', async () => {
    const { source, sink } = await connect(hub, [{ topic: topicOf(0) }]);
    const grants: Grant[] = [
      { endsAt: Date.now() + 3_000 },
      { endsAt: null, review: { everyMs: 2_000, ask: async () => false } },
      { endsAt: null, review: { everyMs: 2_000, ask: () => Promise.reject(new Error('nobody knows')) } },
      { endsAt: null, review: { everyMs: 1_000, ask: async () => null } },
    ];
    for (const [index, grant] of grants.entries())
      await hub.add(source, { topic: topicOf(index + 1) }, grant, opening, { form: 'topic' });
    await jest.advanceTimersByTimeAsync(6_000);
    const closings = eventsIn(sink).flatMap(({ name, data }) =>
      name === '$closing' ? [JSON.parse(data) as ClosingData] : [],
    );
    expect(closings.sort((a, b) => String(a.topic).localeCompare(String(b.topic)))).toEqual([
      { reason: 'expired', comeBack: true, topic: 'counts/1' },
      { reason: 'revoked', comeBack: true, topic: 'counts/2' },
      { reason: 'failed', comeBack: true, topic: 'counts/3' },
    ]);
    expect([source.size, sink.ended]).toEqual([2, false]);
  });

  it('adds no topic twice, none beyond the limit, and none to a stream that is over, and leaves nothing behind', async () => {
    const limited = hubOn(backplane, 2);
    const { source, connection } = await connect(limited, [{ topic: topicOf(1) }]);
    const add = (id: number): Promise<boolean> =>
      limited.add(source, { topic: topicOf(id) }, FOR_EVER, opening, { form: 'topic' });
    expect([await add(1), await add(2)]).toEqual([false, true]);
    await expect(add(3)).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    source.remove('counts/2', null);
    connection.end('revoked');
    expect(await add(4)).toBe(false);
    expect(limited.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  it('gives every topic whole, in order and once, over any adding, removing, cutting and coming back', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ publish: fc.nat(3), times: fc.integer({ min: 1, max: 5 }) }) },
      { weight: 3, arbitrary: fc.record({ add: fc.nat(3) }) },
      { weight: 2, arbitrary: fc.record({ remove: fc.nat(3) }) },
      { weight: 2, arbitrary: fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }) }) },
      { weight: 1, arbitrary: fc.record({ block: fc.boolean() }) },
      { weight: 3, arbitrary: fc.record({ waitMs: fc.constantFrom(0, 10, 1_200) }) },
    );
    const scenario = fc.record({
      seed: fc.integer(),
      lossy: fc.boolean(),
      steps: fc.array(step, { maxLength: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ seed, lossy, steps }) => {
        jest.clearAllTimers();
        const random = randomOf(seed);
        const memory = new MemoryBackplane();
        let calm = false;
        const faulty = new FaultyBackplane(memory, { lose: () => lossy && !calm && random() < 0.2 });
        await play(faulty, hubOn(faulty), steps, random, () => (calm = true));
        await memory.close();
      }),
      { numRuns: 250 },
    );
  }, 30_000);
});

/** What a client knows of a topic that it wants. */
interface Wanted {
  /** The stream's cursor covers it. */
  live: boolean;
  /** Its own cursor while the stream's does not; null: from the earliest on. */
  own: Cursor | null;
}

type Step =
  | { readonly publish: number; readonly times: number }
  | { readonly add: number }
  | { readonly remove: number }
  | { readonly cut: number }
  | { readonly block: boolean }
  | { readonly waitMs: number };

/** A client as PROTOCOL.md describes it, over all its connections; it throws at the first event that is missing or doubled. */
async function play(
  backplane: Backplane,
  hub: Hub,
  steps: readonly Step[],
  random: () => number,
  calm: () => void,
): Promise<void> {
  const published = [0, 0, 0, 0];
  const last = new Map<string, number>();
  const wanted = new Map<string, Wanted>();
  let cursor: Cursor | null = null;
  let stream = undefined as unknown as OpenStream;
  let taken = 0;
  let parser: FrameParser;

  const take = (event: ParsedEvent, fields: BlockFields): void => {
    if (event.name === '$gap') throw new Error(`A gap that is none: ${(JSON.parse(event.data) as GapData).topic}`);
    if (event.name === '$open') {
      for (const { topic, behind } of (JSON.parse(event.data) as OpenData).topics) {
        const of = wanted.get(topic);
        if (of !== undefined) of.live = behind !== true;
      }
    }
    if (event.name === '$live') {
      const of = wanted.get((JSON.parse(event.data) as { topic: string }).topic);
      if (of !== undefined) of.live = true;
    }
    if (event.name !== 'count') return;
    const topic = fields.topic ?? '';
    const { n } = JSON.parse(event.data) as Count;
    // What was under way when the topic was removed.
    const of = wanted.get(topic);
    if (of === undefined) return;
    if (n !== (last.get(topic) ?? 0) + 1) throw new Error(`${topic}: ${n} after ${last.get(topic)}`);
    last.set(topic, n);
    if (fields.cursor !== undefined) of.own = fields.cursor;
  };
  const receive = (part = 1): void => {
    const { sink } = stream;
    const arrived = sink.writes.length - (sink.full ? 1 : 0);
    for (; taken < arrived; taken += 1) parser.push(sink.writes[taken] as Buffer);
    const cutting = part < 1 ? sink.writes[taken] : undefined;
    if (cutting !== undefined) parser.push(cutting.subarray(0, Math.floor(cutting.length * part)));
    if (parser.lastEventId !== '') cursor = parser.lastEventId;
  };
  const open = async (): Promise<void> => {
    const requests = [...wanted].map(([name, { live, own }]): TopicRequest => {
      const topic = topicOf(Number(name.slice('counts/'.length)));
      if (live) return { topic };
      return { topic, start: 'earliest', lastEventId: own };
    });
    const opened = connect(hub, requests, cursor);
    await jest.advanceTimersByTimeAsync(30);
    stream = await opened;
    stream.sink.fills = () => random() < 0.2;
    parser = new FrameParser({ onEvent: take });
    taken = 0;
  };
  const add = async (id: number): Promise<void> => {
    const topic = topicOf(id);
    if (wanted.has(topic.name)) return;
    // It goes on where the client knows of: nowhere yet, or after the last that it had.
    const own = cursors.get(topic.name) ?? null;
    wanted.set(topic.name, { live: false, own });
    const request: TopicRequest = { topic, start: 'earliest', lastEventId: own };
    await hub.add(stream.source, request, FOR_EVER, opening, { form: 'topic' });
  };
  const cursors = new Map<string, Cursor>();
  const remove = (id: number): void => {
    receive();
    const { name } = topicOf(id);
    const of = wanted.get(name);
    if (of === undefined) return;
    const at = of.live ? cursor : of.own;
    if (at !== null) cursors.set(name, at);
    wanted.delete(name);
    stream.source.remove(name, null);
  };

  await open();
  for (const step of steps) {
    if ('publish' in step) {
      for (let times = 0; times < step.times; times += 1) {
        const n = ((published[step.publish] as number) += 1);
        await publish(backplane, step.publish, n);
      }
    } else if ('add' in step) await add(step.add);
    else if ('remove' in step) remove(step.remove);
    else if ('block' in step) stream.sink.fills = () => step.block;
    else if ('waitMs' in step) await jest.advanceTimersByTimeAsync(step.waitMs);
    else {
      receive(step.cut);
      stream.sink.close();
      await open();
    }
    if (random() < 0.7) stream.sink.drain();
    receive();
  }
  // A record that was lost last shows by the next one.
  calm();
  for (const [id, n] of published.entries()) await publish(backplane, id, (published[id] = n + 1));
  stream.sink.fills = () => false;
  for (let n = 0; n < 10; n += 1) {
    stream.sink.drain();
    await jest.advanceTimersByTimeAsync(1_500);
  }
  receive();
  for (const name of wanted.keys()) {
    const all = published[Number(name.slice('counts/'.length))] as number;
    expect([name, last.get(name) ?? 0]).toEqual([name, all]);
  }
  stream.sink.close();
  expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
}
