import { describe, expect, it } from '@jest/globals';
import {
  defineChannel,
  defineEvent,
  EventValidationError,
  Gap,
  SseEvent,
  type Cursor,
  type EventClass,
  type StandardResult,
} from '@sse-channels/protocol';
import { eventually, FaultyBackplane } from '@sse-channels/testing';
import fc from 'fast-check';
import type { Backplane } from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator, type ClassValidator } from '../codec/event-codec.js';
import type { Observer } from '../observer/observer.js';
import { EventBus } from './event-bus.js';
import { ofEvent, replayFrom } from './operators.js';

@SseEvent('count')
class Count {
  n!: number;

  static of(n: number): Count {
    return Object.assign(new Count(), { n });
  }
}

@SseEvent('stranger')
class Stranger {}

/** Validated late: after as many turns of the microtask queue as its number says; negative ones are refused. */
const late = defineEvent('late', {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: async (value: unknown): Promise<StandardResult<number>> => {
      for (let turns = Math.abs(value as number) % 7; turns > 0; turns -= 1) await Promise.resolve();
      return (value as number) < 0 ? { issues: [{ message: 'is negative' }] } : { value: value as number };
    },
  },
});

const channelOf = (maxEvents = 100_000) =>
  defineChannel('counts/:id', { events: [Count, late], replay: { maxEvents, maxBytes: 100_000_000 } });

function busOn(
  backplane: Backplane,
  { observer = {}, validator = uncheckedClassValidator }: { observer?: Observer; validator?: ClassValidator } = {},
) {
  return new EventBus({ backplane, codec: new EventCodec(validator), channels: new ChannelRegistry(), observer });
}

function setUp(maxEvents?: number) {
  const published: string[] = [];
  const backplane = new MemoryBackplane();
  const bus = busOn(backplane, { observer: { eventPublished: (topic, name) => published.push(`${topic} ${name}`) } });
  const channel = channelOf(maxEvents);
  const topic = bus.topic(channel.topic({ id: 1 }));
  const kept = async (): Promise<unknown[]> =>
    (await topic.read({ limit: 10_000 })).events.map(({ event }) => (event instanceof Count ? event.n : event));
  return { backplane, bus, channel, topic, published, kept };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

describe('EventBus.publish', () => {
  it('takes a class with data, an instance, and a definition with data or paired with it', async () => {
    const { bus, topic, published, kept } = setUp();
    await bus.publish(topic, Count, { n: 1 });
    await topic.publish(Count.of(2));
    await bus.publish(topic, late, 3);
    const cursor = await topic.publish(late.of(4));
    expect(await kept()).toEqual([1, 2, 3, 4]);
    expect((await topic.read()).cursor >= cursor).toBe(true);
    expect(published).toEqual(['counts/1 count', 'counts/1 count', 'counts/1 late', 'counts/1 late']);
  });

  it('adds one record for all that is published to a topic under one idempotencyKey', async () => {
    const { bus, channel, topic, kept } = setUp();
    const options = { idempotencyKey: 'request 7' };
    const first = await bus.publish(topic, Count, { n: 1 }, options);
    const again = [
      await bus.publish(topic, Count, { n: 2 }, options),
      await topic.publish(Count, Count.of(3), options),
      await bus.publish(topic, late, 4, options),
    ];
    const elsewhere = await bus.publish(channel.topic({ id: 2 }), Count, { n: 6 }, options);
    expect([await kept(), new Set(again), elsewhere === first]).toEqual([[1], new Set([first]), false]);
  });

  it('gives each of many its own key, so that the same list again adds nothing', async () => {
    const { bus, topic, kept } = setUp();
    const events = [Count.of(1), Count.of(2)];
    const cursors = await bus.publishMany(topic, events, { idempotencyKey: 'list' });
    expect(await bus.publishMany(topic, events, { idempotencyKey: 'list' })).toEqual(cursors);
    expect([await kept(), new Set(cursors).size]).toEqual([[1, 2], 2]);
  });

  it.each(['', 'x'.repeat(257), 7, null])('refuses the idempotencyKey %j and names it', async (idempotencyKey) => {
    const { bus, topic, kept } = setUp();
    const options = { idempotencyKey } as { idempotencyKey: string };
    const refused = { code: 'INVALID_OPTION', message: expect.stringContaining(JSON.stringify(idempotencyKey)) };
    await expect(bus.publish(topic, Count, { n: 1 }, options)).rejects.toMatchObject(refused);
    await expect(bus.publishMany(topic, [Count.of(1)], options)).rejects.toMatchObject(refused);
    expect(await kept()).toEqual([]);
  });

  it('keeps the order of calls that nobody awaits, whichever validators are asynchronous', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('sync', 'late', 'many', 'refused'), { maxLength: 40 }),
        async (kinds) => {
          const { bus, topic, kept } = setUp();
          const expected: number[] = [];
          const calls = kinds.map((kind, n): Promise<unknown> => {
            if (kind === 'refused') return bus.publish(topic, late, -n - 1);
            expected.push(n);
            if (kind === 'sync') return bus.publish(topic, Count, { n });
            if (kind === 'late') return bus.publish(topic, late, n);
            expected.push(n, n);
            return bus.publishMany(topic, [Count.of(n), late.of(n), Count.of(n)]);
          });
          const results = await Promise.allSettled(calls);
          expect(results.map(({ status }) => status)).toEqual(
            kinds.map((kind) => (kind === 'refused' ? 'rejected' : 'fulfilled')),
          );
          expect(await kept()).toEqual(expected);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('appends in the turn of the call where nothing is asynchronous', async () => {
    const { bus, topic } = setUp();
    const seen: number[] = [];
    bus
      .stream(topic)
      .pipe(ofEvent(Count))
      .subscribe(({ event }) => seen.push(event.n));
    void bus.publish(topic, Count, { n: 1 });
    expect(seen).toEqual([1]);
    bus.close();
  });

  it('refuses an event that the channel does not declare, with the way out', async () => {
    const { bus, topic, kept } = setUp();
    await expect(bus.publish(topic, Stranger as never, {} as never)).rejects.toMatchObject({
      code: 'EVENT_NOT_DECLARED',
      message: 'Event "stranger" is not declared on channel "counts/:id"; add it to "events".',
    });
    const twin = defineEvent('late', late.schema);
    await expect(bus.publish(topic, twin as never, 1 as never)).rejects.toMatchObject({
      code: 'EVENT_NOT_DECLARED',
      message:
        'Channel "counts/:id" declares another event by the name "late"; publish that one, or give yours a name of its own.',
    });
    await expect(bus.publish(topic, { n: 1 } as never)).rejects.toMatchObject({ code: 'INVALID_EVENT_DEFINITION' });
    await expect(bus.publish('counts/1' as never, Count, { n: 1 })).rejects.toMatchObject({
      code: 'INVALID_TOPIC_PARAMETER',
      message: 'publish needs a topic; make one with channel.topic({ … }).',
    });
    expect(await kept()).toEqual([]);
  });

  it('rejects with what the validator, the codec or the backplane refuses, and keeps nothing', async () => {
    const memory = new MemoryBackplane();
    let away = false;
    const validator: ClassValidator = {
      ...uncheckedClassValidator,
      validate: <T extends object>(type: EventClass<T>, data: object) => {
        if ((data as Count).n < 0) throw new EventValidationError('count', [{ property: 'n', message: 'is negative' }]);
        return uncheckedClassValidator.validate(type, data);
      },
    };
    const bus = busOn(
      new FaultyBackplane(memory, { failAppend: () => (away ? new Error('the backplane is away') : null) }),
      { validator },
    );
    const topic = channelOf().topic({ id: 1 });
    await expect(bus.publish(topic, Count, { n: -1 })).rejects.toBeInstanceOf(EventValidationError);
    await expect(bus.publish(topic, Count, { n: 1n as never })).rejects.toMatchObject({
      code: 'EVENT_NOT_SERIALIZABLE',
    });
    away = true;
    await expect(bus.publish(topic, Count, { n: 1 })).rejects.toThrow('the backplane is away');
    expect(memory.topics).toBe(0);
    await memory.close();
  });
});

describe('a publishLimit', () => {
  const limited = defineChannel('limited/:id', { events: [Count, late], publishLimit: { perSecond: 0.001, burst: 3 } });

  it('refuses what is more than the topic takes, alone or together, and appends nothing of it', async () => {
    const { bus, published } = setUp();
    const topic = bus.topic(limited.topic({ id: 1 }));
    const other = bus.topic(limited.topic({ id: 2 }));
    await bus.publish(topic, Count, { n: 1 });

    const outcomes = await Promise.allSettled([
      bus.publishMany(topic, [Count.of(2), late.of(3), Count.of(4)]),
      bus.publishMany(topic, [Count.of(5), late.of(6)]),
      topic.publish(Count.of(7)),
      other.publish(late.of(8)),
    ]);

    const codes = outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason?.code as unknown);
    expect(codes).toEqual(['RATE_LIMITED', undefined, 'RATE_LIMITED', undefined]);
    expect((await topic.read()).events.map(({ event }) => (event instanceof Count ? event.n : event))).toEqual([
      1, 5, 6,
    ]);
    expect(published.sort()).toEqual(['limited/1 count', 'limited/1 count', 'limited/1 late', 'limited/2 late']);
    bus.close();
  });

  it('counts no event that is not valid', async () => {
    const { bus } = setUp();
    const topic = bus.topic(limited.topic({ id: 1 }));

    for (let n = 0; n < 5; n += 1) {
      await expect(topic.publish(late.of(-1))).rejects.toMatchObject({ code: 'EVENT_INVALID' });
      await expect(topic.publish(new Stranger() as never)).rejects.toMatchObject({ code: 'EVENT_NOT_DECLARED' });
    }

    expect(await topic.publish(Count.of(1))).toEqual(expect.any(String));
    bus.close();
  });
});

describe('EventBus.publishMany', () => {
  it('sends none when one is not valid, wherever it stands and however it is refused', async () => {
    const { bus, topic, kept } = setUp();
    const unheard: unknown[] = [];
    const onUnhandled = (error: unknown): unknown => unheard.push(error);
    process.on('unhandledRejection', onUnhandled);
    for (const events of [
      [Count.of(1), late.of(-1), Count.of(2)],
      [late.of(-3), new Stranger() as never, Count.of(2)],
      [Count.of(1), Object.assign(new Count(), { n: 1n })],
    ]) {
      await expect(bus.publishMany(topic, events)).rejects.toMatchObject({ code: expect.any(String) as unknown });
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', onUnhandled);
    expect([await kept(), unheard]).toEqual([[], []]);
    const cursors = await bus.publishMany(topic, [Count.of(1), late.of(2)]);
    expect([cursors.length, await kept(), await bus.publishMany(topic, [])]).toEqual([2, [1, 2], []]);
  });
});

describe('BusTopic.read', () => {
  it('pages through the history, oldest first, and goes on at its cursor', async () => {
    const { topic } = setUp();
    for (const n of range(0, 25)) await topic.publish(Count, { n });
    const pages: number[][] = [];
    let after: Cursor | null = null;
    for (let more = true; more;) {
      const page = await topic.read({ after, limit: 10 });
      expect(page.gap).toBeNull();
      pages.push(page.events.map(({ event }) => (event as Count).n));
      after = page.cursor;
      more = page.more;
    }
    expect(pages).toEqual([range(0, 10), range(10, 20), range(20, 25)]);
    await topic.publish(Count, { n: 25 });
    const { events } = await topic.read({ after });
    expect(events).toEqual([
      { topic, name: 'count', event: Count.of(25), cursor: expect.stringContaining('~') as unknown },
    ]);
  });

  it.each([
    ['trimmed', (first: Cursor) => first],
    ['invalid', () => 'no cursor'],
    ['reset', () => 'another~0-0'],
    ['rewound', (first: Cursor) => first.replace(/~.*/, '~zzzzzzzzzzzzz-0')],
  ])('says "%s" where events may be missing, and gives what is kept', async (gap, cursorOf) => {
    const { topic } = setUp(3);
    const first = await topic.publish(Count, { n: 0 });
    for (const n of range(1, 6)) await topic.publish(Count, { n });
    const page = await topic.read({ after: cursorOf(first) });
    expect([page.gap, page.events.map(({ event }) => (event as Count).n)]).toEqual([gap, [3, 4, 5]]);
    expect((await topic.read()).gap).toBeNull();
  });

  it.each([0, -1, 1.5, 10_001, NaN])('refuses a limit of %j', async (limit) => {
    const { topic } = setUp();
    await expect(topic.read({ limit })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: `read: limit must be a whole number from 1 to 10000, not ${limit}.`,
    });
  });

  it('leaves out events that this process does not declare', async () => {
    const { backplane, topic, channel } = setUp();
    await backplane.append('counts/1', { name: 'newer', data: '{}' }, channel.retention);
    await topic.publish(Count, { n: 1 });
    const { events, more } = await topic.read();
    expect([events.length, more]).toEqual([1, false]);
  });
});

describe('EventBus.stream', () => {
  it('gives a topic its own events and a channel those of all its topics, as instances shared by all', async () => {
    const { bus, channel, topic } = setUp();
    const ofTopic: unknown[] = [];
    const ofChannel: Array<{ topic: { name: string; params: object }; name: string; event: unknown; cursor: string }> =
      [];
    bus.stream(topic).subscribe(({ event }) => ofTopic.push(event));
    bus.stream(channel).subscribe((delivery) => ofChannel.push(delivery));
    const cursor = await bus.publish(topic, Count, { n: 1 });
    await bus.publish(channel.topic({ id: 'a/b' }), late, 2);
    expect(ofTopic).toEqual([Count.of(1)]);
    expect(ofTopic[0]).toBeInstanceOf(Count);
    expect(ofChannel.map((delivery) => [delivery.topic.name, delivery.name, delivery.event])).toEqual([
      ['counts/1', 'count', Count.of(1)],
      ['counts/a%2Fb', 'late', 2],
    ]);
    expect([ofChannel[0]?.event === ofTopic[0], ofChannel[0]?.cursor, ofChannel[1]?.topic.params]).toEqual([
      true,
      cursor,
      { id: 'a/b' },
    ]);
    bus.close();
  });

  it('keeps the order for every listener when one of them publishes', async () => {
    const { bus, channel } = setUp();
    const seen: number[] = [];
    bus
      .stream(channel)
      .pipe(ofEvent(Count))
      .subscribe(({ event: { n } }) => {
        if (n < 10) void bus.publish(channel.topic({ id: n }), Count, { n: n + 1 });
      });
    bus
      .stream(channel)
      .pipe(ofEvent(Count))
      .subscribe(({ event }) => seen.push(event.n));
    await bus.publish(channel.topic({ id: 'first' }), Count, { n: 0 });
    expect(seen).toEqual(range(0, 11));
    bus.close();
  });

  it.each(['topic', 'channel'] as const)(
    'joins the replay of a %s with what is live while events are published flat out',
    async (what) => {
      const { bus, channel, topic } = setUp();
      let n = 0;
      let from: Cursor = '';
      for (; n < 3_000; n += 1) {
        const cursor = await bus.publish(topic, Count, { n });
        if (n === 999) from = cursor;
      }
      const seen: Array<number | string> = [];
      const stream = what === 'topic' ? bus.stream(topic) : bus.stream(channel);
      stream
        .pipe(replayFrom(from))
        .subscribe((item) => seen.push(item instanceof Gap ? item.reason : (item.event as Count).n));
      while (n < 8_000) {
        for (const end = n + 37; n < end; n += 1) void bus.publish(topic, Count, { n });
        await Promise.resolve();
      }
      await eventually(() => seen.length >= n - 1_000, 'every event');
      expect(seen).toEqual(range(1_000, n));
      bus.close();
    },
  );

  it('goes on without loss or double over tails and reads at fault', async () => {
    const memory = new MemoryBackplane();
    let turn = 0;
    const errors: string[] = [];
    const bus = busOn(
      new FaultyBackplane(memory, {
        lose: () => (turn += 1) % 3 === 0,
        double: () => turn % 4 === 0,
        failRead: () => ((turn += 1) % 5 === 0 ? new Error('the log is away') : null),
      }),
      { observer: { failed: (error, context) => errors.push(`${String(error)}, ${context}`) } },
    );
    const channel = channelOf();
    const seen: number[] = [];
    bus.stream(channel).subscribe(({ event }) => seen.push((event as Count).n));
    for (const n of range(0, 500)) await bus.publish(channel.topic({ id: n % 3 }), Count, { n });
    await eventually(() => seen.length >= 500, 'every event');
    expect(seen).toEqual(range(0, 500));
    expect(new Set(errors)).toEqual(new Set(['Error: the log is away, reading the log of "counts/:id"']));
    bus.close();
    await memory.close();
  });

  it('begins at the earliest kept event with replayFrom(null)', async () => {
    const { bus, topic } = setUp(3);
    for (const n of range(0, 6)) await topic.publish(Count, { n });
    const seen: unknown[] = [];
    bus
      .stream(topic)
      .pipe(replayFrom(null))
      .subscribe((item) => seen.push(item instanceof Gap ? item : item.event));
    await eventually(() => seen.length === 3, 'three events');
    expect(seen).toEqual([3, 4, 5].map((n) => Count.of(n)));
    bus.close();
  });

  it.each([
    ['trimmed', (first: Cursor) => first],
    ['invalid', () => 'no cursor'],
    ['reset', () => 'another~0-0'],
    ['rewound', (first: Cursor) => first.replace(/~.*/, '~zzzzzzzzzzzzz-0')],
  ])('tells a Gap "%s" with replayFrom, then gives what is kept', async (reason, cursorOf) => {
    const { bus, topic } = setUp(3);
    const first = await topic.publish(Count, { n: 0 });
    for (const n of range(1, 6)) await topic.publish(Count, { n });
    const seen: unknown[] = [];
    topic
      .stream()
      .pipe(replayFrom(cursorOf(first)))
      .subscribe((item) => seen.push(item instanceof Gap ? [item.topic, item.reason] : (item.event as Count).n));
    await eventually(() => seen.length === 4, 'the gap and three events');
    expect(seen).toEqual([['counts/1', reason], 3, 4, 5]);
    bus.close();
  });

  /** A stream over a tail that loses one record, which the log does not keep either. */
  async function lossy(backplane: MemoryBackplane) {
    const bus = busOn(new FaultyBackplane(backplane, { lose: ({ data }) => data === '{"n":1}' }));
    const topic = bus.topic(channelOf(1).topic({ id: 1 }));
    const publish = async (): Promise<void> => {
      for (const n of range(0, 4)) await topic.publish(Count, { n });
    };
    return { bus, topic, publish };
  }

  it('errors with LOG_GAP where the log could not give every event, and the way out', async () => {
    const backplane = new MemoryBackplane();
    const { topic, publish } = await lossy(backplane);
    const seen: unknown[] = [];
    topic.stream().subscribe({
      next: ({ event }) => seen.push((event as Count).n),
      error: (error: unknown) => seen.push(error),
    });
    await Promise.resolve();
    await publish();
    await eventually(() => seen.length >= 2, 'the error');
    expect(seen).toEqual([
      0,
      expect.objectContaining({
        code: 'LOG_GAP',
        message:
          'The log of "counts/1" could not give every event (trimmed); subscribe with replayFrom(cursor) to be told and go on.',
      }),
    ]);
    await backplane.close();
  });

  it('tells that as a Gap with replayFrom, and goes on', async () => {
    const backplane = new MemoryBackplane();
    const { bus, topic, publish } = await lossy(backplane);
    const seen: unknown[] = [];
    const { cursor } = await topic.read();
    topic
      .stream()
      .pipe(replayFrom(cursor))
      .subscribe((item) => seen.push(item instanceof Gap ? item.reason : (item.event as Count).n));
    await new Promise((resolve) => setImmediate(resolve));
    await publish();
    await eventually(() => seen.at(-1) === 3, 'the last event');
    expect(seen).toEqual([0, 'trimmed', 2, 3]);
    bus.close();
    await backplane.close();
  });

  it('errors where an event cannot be read, and neither its publisher nor another stream does', async () => {
    const { backplane, bus, channel, topic } = setUp();
    const seen: unknown[] = [];
    bus.stream(topic).subscribe({ error: (error: unknown) => seen.push((error as Error).name) });
    bus.stream(channel.topic({ id: 2 })).subscribe(({ event }) => seen.push(event));
    await backplane.append('counts/1', { name: 'newer', data: 'no JSON' }, channel.retention);
    await backplane.append('counts/1', { name: 'late', data: 'no JSON' }, channel.retention);
    await bus.publish(channel.topic({ id: 2 }), late, 2);
    expect(seen).toEqual(['SyntaxError', 2]);
    bus.close();
  });

  it('errors with what the backplane rejects', async () => {
    const { backplane, bus, topic } = setUp();
    await backplane.close();
    const seen: unknown[] = [];
    bus.stream(topic).subscribe({ error: (error: unknown) => seen.push(error) });
    await eventually(() => seen.length > 0, 'the error');
    expect(seen).toEqual([expect.objectContaining({ code: 'CLOSED' })]);
  });

  it('gives nothing after it was unsubscribed, not even when it was about to begin', async () => {
    const { bus, topic } = setUp();
    await topic.publish(Count, { n: 0 });
    const seen: unknown[] = [];
    bus
      .stream(topic)
      .subscribe((item) => seen.push(item))
      .unsubscribe();
    bus
      .stream(topic)
      .pipe(replayFrom(null))
      .subscribe((item) => seen.push(item))
      .unsubscribe();
    await topic.publish(Count, { n: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([]);
  });

  it('completes when the bus closes, also with operators', async () => {
    const { bus, channel, topic } = setUp();
    const completed: string[] = [];
    bus.stream(topic).subscribe({ complete: () => completed.push('topic') });
    bus
      .stream(channel)
      .pipe(replayFrom(null), ofEvent(Count))
      .subscribe({ complete: () => completed.push('channel') });
    await topic.publish(Count, { n: 1 });
    bus.close();
    bus.close();
    expect(completed).toEqual(['topic', 'channel']);
  });

  it('refuses a channel that shares topics with another', () => {
    const { bus, channel } = setUp();
    bus.stream(channel);
    expect(() => bus.stream(channelOf())).toThrow('Channel "counts/:id" is defined twice');
  });
});
