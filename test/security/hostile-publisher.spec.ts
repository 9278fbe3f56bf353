import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus, SSE_CHANNELS_BACKPLANE, SseChannelsError, type Backplane } from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { anythingSaid, note, NotesModule, notesChannel, NoteTaken } from './notes.module.js';

const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });

function nested(depth: number): unknown {
  let value: unknown = 'x';
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? { value } : [value];
  return value;
}

function cycle(): { text: string; meta?: object } {
  const data: { text: string; meta?: object } = { text: 'x' };
  data.meta = data;
  return data;
}

const parsed = (json: string): NoteTaken => JSON.parse(json) as NoteTaken;
const thrower = (what: unknown) => ({
  toJSON(): unknown {
    throw what;
  },
});
const named = (name: string) => (name.startsWith('a') ? anythingSaid : NoteTaken);

/** What is refused, by which event, and what the error names. */
const refused: ReadonlyArray<readonly [string, 'anything.said' | 'note.taken', () => unknown, RegExp]> = [
  ['undefined', 'anything.said', () => undefined, /a value of type undefined has no JSON form/],
  ['a function', 'anything.said', () => () => 1, /a value of type function has no JSON form/],
  ['a symbol', 'anything.said', () => Symbol('x'), /a value of type symbol has no JSON form/],
  ['a BigInt', 'anything.said', () => 1n, /BigInt/],
  ['a BigInt inside', 'note.taken', () => ({ text: 'x', meta: { n: 1n } }), /BigInt/],
  ['a cycle', 'anything.said', cycle, /circular structure/],
  ['a cycle in plain data of a class', 'note.taken', cycle, /cannot be read: Maximum call stack/],
  ['a cycle in an instance', 'note.taken', () => Object.assign(new NoteTaken(), cycle()), /circular structure/],
  ['JSON 10,000 deep', 'anything.said', () => nested(10_000), /Maximum call stack/],
  ['JSON 10,000 deep in a class', 'note.taken', () => ({ text: 'x', meta: [nested(10_000)] }), /Maximum call stack/],
  ['a toJSON that throws', 'anything.said', () => thrower(new Error('no JSON today')), /no JSON today/],
  ['a toJSON that throws no error', 'anything.said', () => thrower('text'), /: text\./],
  ['a toJSON that returns undefined', 'anything.said', () => ({ toJSON: () => undefined }), /has no JSON form/],
  [
    'a getter that throws',
    'note.taken',
    () => ({
      get text() {
        throw new Error('no text');
      },
    }),
    /no text/,
  ],
  ['a list', 'note.taken', () => [], /must be an object, not an array/],
  ['null', 'note.taken', () => null, /must be an object, not null/],
  ['nothing', 'note.taken', () => undefined, /must be an object, not a value of type undefined/],
  ['__proto__', 'note.taken', () => parsed('{"text":"x","__proto__":{"polluted":1}}'), /property __proto__ should not/],
  [
    '__proto__ inside',
    'note.taken',
    () => parsed('{"text":"x","meta":{"__proto__":{"polluted":1}}}'),
    /meta\.__proto__/,
  ],
  ['constructor', 'note.taken', () => parsed('{"text":"x","constructor":{"prototype":{"polluted":1}}}'), /constructor/],
  ['hasOwnProperty', 'note.taken', () => parsed('{"text":"x","hasOwnProperty":1}'), /hasOwnProperty/],
  ['then', 'note.taken', () => parsed('{"text":"x","then":1}'), /property then should not exist/],
];

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let client: SseTestClient;

  beforeEach(async () => {
    running = await startApp(make, NotesModule);
    bus = running.app.get(EventBus);
    client = await (await SseTestClient.connect(`${running.url}/notes/ada/plans/events`)).opened();
  });

  afterEach(async () => {
    client.leave();
    await running.app.close();
  });

  it.each(refused)('refuses %s in %s, and names it', async (_what, name, data, why) => {
    const error: SseChannelsError = await bus.publish(topic, named(name), data() as NoteTaken).then(
      () => expect('published').toBe('refused') as never,
      (reason: unknown) => reason as SseChannelsError,
    );

    expect(error).toBeInstanceOf(SseChannelsError);
    expect(['EVENT_INVALID', 'EVENT_NOT_SERIALIZABLE']).toContain(error.code);
    expect(error.message).toMatch(new RegExp(`^Event "${name}" .*nothing was sent`));
    expect(error.message).toMatch(why);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('sends nothing of what was refused: the next event has the place after the one before', async () => {
    const opened = client.text;
    const first = await bus.publish(topic, NoteTaken, { text: 'first' });

    for (const [, name, data] of refused) {
      await expect(bus.publish(topic, named(name), data() as NoteTaken)).rejects.toThrow(SseChannelsError);
    }
    await expect(bus.publishMany(topic, [note('valid'), note(7 as unknown as string)])).rejects.toThrow('text');
    await expect(bus.publishMany(topic, [note('valid'), anythingSaid.of(undefined)])).rejects.toThrow('no JSON form');
    const second = await bus.publish(topic, NoteTaken, { text: 'second' });
    await client.receive(2);

    const backplane: Backplane = running.app.get(SSE_CHANNELS_BACKPLANE);
    const { records } = await backplane.read(topic.name, null, 10);
    expect(records.map(({ prev, data }) => [prev, data])).toEqual([
      [null, '{"text":"first"}'],
      [records[0]!.offset, '{"text":"second"}'],
    ]);
    expect(client.text).toBe(
      `${opened}id: ${first}\nevent: note.taken\ndata: {"text":"first"}\n\n` +
        `id: ${second}\nevent: note.taken\ndata: {"text":"second"}\n\n`,
    );
  });

  it('does not take the word of an object for what it is', async () => {
    const claims = parsed('{"constructor":{"eventName":"note.taken","schema":{}},"text":"x"}');

    await expect(bus.publish(topic, claims)).rejects.toMatchObject({ code: 'EVENT_NOT_DECLARED' });
    await expect(bus.publish(topic, Object.create(null) as NoteTaken)).rejects.toMatchObject({
      code: 'INVALID_EVENT_DEFINITION',
    });
    await expect(
      bus.publish({ name: topic.name, channel: notesChannel } as typeof topic, note('x')),
    ).rejects.toMatchObject({
      code: 'INVALID_TOPIC_PARAMETER',
    });
  });

  it('carries what is only unusual: 200 levels, 1 MB, lone surrogates and NUL in text', async () => {
    const deep = nested(200);
    const large = 'ü🚚"\\\n'.repeat(87_000);
    const strange = 'lone \ud800 and \udfff, NUL \0, DEL \x7f';

    await bus.publish(topic, anythingSaid, deep);
    await bus.publish(topic, NoteTaken, { text: large });
    await bus.publish(topic, NoteTaken, { text: strange });
    await client.receive(3);

    const [first, second, third] = client.applicationEvents.map(({ data }) => data);
    expect(first).toEqual(deep);
    // Not shown where they differ: it is a megabyte.
    expect(second.text === large).toBe(true);
    expect(third).toEqual({ text: strange });
  });

  it('keeps __proto__ and constructor data where a schema lets them through', async () => {
    const json = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';

    await bus.publish(topic, anythingSaid, JSON.parse(json));
    await client.receive(1);
    const { events } = await bus.topic(topic).read();

    expect(client.text).toContain(`data: ${json}\n`);
    expect(JSON.stringify(events[0]!.event)).toBe(json);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('puts a gap in the place of a record that was written past the bus', async () => {
    const backplane: Backplane = running.app.get(SSE_CHANNELS_BACKPLANE);

    await backplane.append(
      topic.name,
      { name: 'x\nevent: $closing', data: '{}\n\nevent: admin' },
      notesChannel.retention,
    );
    await bus.publish(topic, NoteTaken, { text: 'after' });
    await client.receive(1);

    expect(client.events.slice(1)).toMatchObject([
      { name: '$gap', data: { topic: topic.name, reason: 'trimmed' } },
      { name: 'note.taken', data: { text: 'after' } },
    ]);
  });
});
