import { describe, expect, it } from '@jest/globals';
import {
  defineChannel,
  FrameParser,
  SseEvent,
  type Cursor,
  type GapData,
  type ParsedEvent,
  type Topic,
} from '@sse-channels/protocol';
import { eventually, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import type { ReadStart, TopicFilter } from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import { Hub } from './hub.js';

@SseEvent('count')
class Count {
  n!: number;
}

const topicKeeping = (maxEvents: number): Topic =>
  defineChannel('counts/:id', { events: [Count], replay: { maxEvents } }).topic({ id: 1 }) as Topic;

/** Keeps what it was asked for. */
class ReadsTold extends MemoryBackplane {
  readonly asked: ReadStart[] = [];

  override read(filter: TopicFilter, start: ReadStart, limit: number): ReturnType<MemoryBackplane['read']> {
    this.asked.push(start);
    return super.read(filter, start, limit);
  }
}

function hubOn(backplane: MemoryBackplane, replayEvents: number | null): Hub {
  return new Hub({
    backplane,
    codec: new EventCodec(uncheckedClassValidator),
    channels: new ChannelRegistry(),
    observer: {},
    describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
    limits: { perTopic: null, topicsPerConnection: null, replayEvents },
  });
}

async function publish(backplane: MemoryBackplane, topic: Topic, count: number): Promise<Cursor[]> {
  const cursors: Cursor[] = [];
  for (let n = 1; n <= count; n += 1) {
    const draft = { name: 'count', data: JSON.stringify({ n }) };
    cursors.push(await backplane.append(topic.name, draft, topic.channel.retention));
  }
  return cursors;
}

async function follow(hub: Hub, topic: Topic, cursor: Cursor | null): Promise<{ gaps: string[]; numbers: number[] }> {
  const sink = new RecordingSink();
  const source = await hub.join([{ topic, start: 'earliest' }], cursor);
  hub.connect(source, sink, { id: 'c', heartbeatMs: 15_000, retryMs: 3_000 });
  await eventually(() => !source.pending, 'everything due was given');
  const events: ParsedEvent[] = [];
  new FrameParser({ onEvent: (event) => events.push(event) }).push(Buffer.from(sink.text));
  sink.close();
  const data = <T>(name: string) =>
    events.flatMap((event) => (event.name === name ? [JSON.parse(event.data) as T] : []));
  return { gaps: data<GapData>('$gap').map(({ reason }) => reason), numbers: data<Count>('count').map(({ n }) => n) };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

describe('Subscription', () => {
  it('replays a client that resumes at most so many records, the last ones, after a gap', async () => {
    const scenario = fc.record({
      limit: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 100, max: 300 })),
      published: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 120, max: 600 })),
      kept: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 100, max: 700 })),
      place: fc.nat(),
      brought: fc.constantFrom('its cursor', 'its cursor', 'garbage', 'of another epoch'),
      /** Whether others follow the topic: from before, or while it resumes; the ring then has some of the records or all. */
      others: fc.constantFrom('none', 'before', 'since'),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ limit, published, kept, place, brought, others }) => {
        const backplane = new MemoryBackplane();
        const hub = hubOn(backplane, limit);
        const topic = topicKeeping(kept);
        const join = () => hub.join([{ topic }], null);
        const before = others === 'before' ? await join() : null;
        const cursors = await publish(backplane, topic, published);
        const since = others === 'since' ? await join() : null;
        const taken = place % (published + 1);
        const cursor =
          brought === 'garbage' ? 'garbage' : brought === 'its cursor' ? (cursors[taken - 1] ?? null) : 'other~1-1';

        const { gaps, numbers } = await follow(hub, topic, cursor);

        const resumes = brought === 'its cursor';
        const behind = resumes ? published - taken : published;
        const expected = cursor === null ? kept : Math.min(behind, kept, limit);
        const reason = brought === 'garbage' ? 'invalid' : brought === 'its cursor' ? 'trimmed' : 'reset';
        expect(numbers).toEqual(range(Math.max(1, published - expected + 1), published + 1));
        expect(gaps).toEqual(cursor === null || (resumes && expected === behind) ? [] : [reason]);
        for (const source of [before, since]) source?.close();
        expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
      }),
      { numRuns: 200 },
    );
  });

  it('asks a log that keeps no more than that for nothing else', async () => {
    const backplane = new ReadsTold();
    const topic = topicKeeping(300);
    const cursors = await publish(backplane, topic, 300);
    const offset = cursors[9]!.slice(cursors[9]!.indexOf('~') + 1);

    for (const replayEvents of [300, 10_000, null]) {
      backplane.asked.length = 0;
      expect((await follow(hubOn(backplane, replayEvents), topic, cursors[9]!)).numbers).toEqual(range(11, 301));
      expect([backplane.asked[0], backplane.asked.some((start) => typeof start === 'object')]).toEqual([offset, false]);
    }
  });

  it('reads what it replays in pages, however far back it begins', async () => {
    const backplane = new ReadsTold();
    const topic = topicKeeping(2_000);
    const [first] = await publish(backplane, topic, 2_000);

    const { gaps, numbers } = await follow(hubOn(backplane, 1_500), topic, first!);

    expect([gaps, numbers]).toEqual([['trimmed'], range(501, 2_001)]);
    expect(backplane.asked.length).toBeGreaterThan(10);
  });

  it('limits no start that a handler asks for', async () => {
    const backplane = new MemoryBackplane();
    const topic = topicKeeping(300);
    await publish(backplane, topic, 300);

    expect(await follow(hubOn(backplane, 10), topic, null)).toEqual({ gaps: [], numbers: range(1, 301) });
  });
});
