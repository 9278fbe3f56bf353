import { createHmac } from 'node:crypto';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  defineChannel,
  FrameParser,
  MAX_CURSOR_LENGTH,
  parseCursor,
  SseEvent,
  type Cursor,
  type ParsedEvent,
  type Topic,
} from '@sse-channels/protocol';
import { eventually, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import { CursorSeal, type CursorSealOptions } from './cursor-seal.js';
import { Hub, type TopicRequest } from './hub.js';

@SseEvent('count')
class Count {
  n!: number;
}

const countsChannel = defineChannel('counts/:id', { events: [Count], replay: { maxEvents: 1_000 } });
const latestChannel = defineChannel('latest/:id', { events: [Count], slowReaders: 'latest' });
const topicOf = (id: number) => countsChannel.topic({ id });

const SECRET = 'the first secret, of 32 bytes....';
const OLD = 'the secret before it, 32 bytes...';
const CURSOR = 'epoch~mwsev5hm-1';
/** What a signature, a cursor and hostile text are made of. */
const character = fc.oneof(
  fc.constantFrom('a', 'A', '0', '-', '_', '~', '=', '+', '/', '\0'),
  fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
);
const bindings = ['topic', 'principal'] as const;

describe('CursorSeal', () => {
  it('prints the cursor, a tilde and twelve bytes of an HMAC over cursor, topic and principal', () => {
    const ofTopic = new CursorSeal({ secret: SECRET }).seal(CURSOR, 'counts/1', 'ada');
    const ofPrincipal = new CursorSeal({ secret: SECRET, bindTo: 'principal' }).seal(CURSOR, topicOf(1), 'ada');

    const ofAny = new CursorSeal({ secret: SECRET }).seal(CURSOR, null);
    const ofAnyOfHers = new CursorSeal({ secret: SECRET, bindTo: 'principal' }).seal(CURSOR, null, 'ada');

    expect(ofTopic).toBe(`${CURSOR}~${hmac(`${CURSOR}\0counts/1`)}`);
    expect(ofAny).toBe(`${CURSOR}~${hmac(`${CURSOR}\0`)}`);
    expect(ofAnyOfHers).toBe(`${CURSOR}~${hmac(`${CURSOR}\0\0ada`)}`);
    expect(ofPrincipal).toBe(`${CURSOR}~${hmac(`${CURSOR}\0counts/1\0ada`)}`);
  });

  it('keeps the longest cursor within what a browser sends across origins without asking', () => {
    const longest = `${'e'.repeat(64)}~${'z'.repeat(13)}-${'z'.repeat(13)}`;

    const sealed = new CursorSeal({ secret: SECRET }).seal(longest, 'counts/1');

    expect(parseCursor(longest)).not.toBeNull();
    expect(sealed.length).toBeLessThanOrEqual(MAX_CURSOR_LENGTH);
    expect(sealed).toMatch(/^[0-9A-Za-z_~-]+$/);
  });

  it('opens what it sealed for the topic and the principal, and nothing that differs in one character', () => {
    const epoch = fc.string({ minLength: 1, maxLength: 64, unit: fc.constantFrom('a', 'Z', '0', '_', '-') });
    const offset = fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `${a.toString(36)}-${b.toString(36)}`);
    fc.assert(
      fc.property(
        fc.constantFrom(...bindings),
        epoch,
        offset,
        fc.option(fc.string()),
        fc.nat(),
        fc.constantFrom('change', 'insert', 'remove'),
        character,
        (bindTo, ofEpoch, at, principal, place, edit, other) => {
          const seal = new CursorSeal({ secret: SECRET, bindTo });
          const cursor = `${ofEpoch}~${at}`;
          const sealed = seal.seal(cursor, 'counts/1', principal);
          const index = place % sealed.length;
          const altered =
            sealed.slice(0, index) +
            (edit === 'remove' ? '' : other) +
            sealed.slice(edit === 'insert' ? index : index + 1);

          expect(seal.open(sealed, ['counts/2', 'counts/1'], principal)).toBe(cursor);
          expect(seal.open(altered, ['counts/2', 'counts/1'], principal)).toBe(altered === sealed ? cursor : null);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each<[string, CursorSealOptions['bindTo'], string, string | null, boolean]>([
    ['another topic', 'topic', 'counts/2', 'ada', false],
    ['another principal', 'topic', 'counts/1', 'bob', true],
    ['another topic', 'principal', 'counts/2', 'ada', false],
    ['another principal', 'principal', 'counts/1', 'bob', false],
    ['nobody', 'principal', 'counts/1', null, false],
    ['a principal without a name', 'principal', 'counts/1', '', false],
  ])('of %s, bound to the %s, opens or not (case %#)', (_what, bindTo, topic, principal, opens) => {
    const seal = new CursorSeal({ secret: SECRET, ...(bindTo === undefined ? {} : { bindTo }) });
    const mine = seal.seal(CURSOR, 'counts/1', 'ada');
    const theirs = seal.seal(CURSOR, topic, principal);

    expect(seal.open(mine, [topic], principal)).toBe(opens ? CURSOR : null);
    expect(seal.open(theirs, ['counts/1'], 'ada')).toBe(opens ? CURSOR : null);
  });

  it.each(bindings)(
    'of no topic opens for any, or none, and for the same principals as one of a topic (%s)',
    (bindTo) => {
      const seal = new CursorSeal({ secret: SECRET, bindTo });
      const sealed = seal.seal(CURSOR, null, 'ada');

      for (const topics of [[], ['counts/1'], ['counts/2', 'counts/3']]) {
        expect(seal.open(sealed, topics, 'ada')).toBe(CURSOR);
        expect(seal.open(sealed, topics, 'bob')).toBe(bindTo === 'topic' ? CURSOR : null);
        expect(seal.open(seal.seal(CURSOR, 'counts/4', 'ada'), topics, 'ada')).toBeNull();
      }
    },
  );

  it.each([
    CURSOR,
    `${CURSOR}~`,
    `${CURSOR}~${'a'.repeat(16)}`,
    `${CURSOR}~${'a'.repeat(15)}`,
    `${CURSOR}~${'é'.repeat(8)}`,
    '',
    '~',
    '$end',
    '\0',
    `${'x'.repeat(100_000)}~1-1~${'a'.repeat(16)}`,
    ['a'],
    { lastIndexOf: 1 },
    undefined,
  ])('does not open what was never sealed (case %#)', (text) => {
    expect(new CursorSeal({ secret: SECRET }).open(text as string, ['counts/1'], null)).toBeNull();
  });

  it('does not take a character for another one that only its last byte is like', () => {
    const seal = new CursorSeal({ secret: SECRET });
    const sealed = seal.seal(CURSOR, 'counts/1');

    for (let at = 0; at < sealed.length; at += 1) {
      const other = String.fromCharCode(sealed.charCodeAt(at) + 256);
      expect(seal.open(sealed.slice(0, at) + other + sealed.slice(at + 1), ['counts/1'], null)).toBeNull();
    }
  });

  it('signs with the first secret, and opens what any of them signed', () => {
    const before = new CursorSeal({ secret: OLD });
    const rotated = new CursorSeal({ secret: [SECRET, OLD] });
    const after = new CursorSeal({ secret: [SECRET] });
    const old = before.seal(CURSOR, 'counts/1');

    const young = rotated.seal(CURSOR, 'counts/1');

    expect(young).toBe(after.seal(CURSOR, 'counts/1'));
    expect([rotated.open(old, ['counts/1'], null), rotated.open(young, ['counts/1'], null)]).toEqual([CURSOR, CURSOR]);
    expect([after.open(old, ['counts/1'], null), before.open(young, ['counts/1'], null)]).toEqual([null, null]);
  });

  it('leaves cursors as they are without a secret', () => {
    const seal = new CursorSeal(null);

    expect([seal.bindTo, seal.seal(CURSOR, 'counts/1'), seal.open('anything', [], null)]).toEqual([
      null,
      CURSOR,
      'anything',
    ]);
  });

  it('seals no cursor twice, none that is none, and none for it does not know whom', () => {
    const seal = new CursorSeal({ secret: SECRET, bindTo: 'principal' });
    const sealed = seal.seal(CURSOR, 'counts/1', null);

    expect(() => seal.seal(sealed, 'counts/1', null)).toThrow(
      refused('INVALID_CURSOR', `"${sealed}" is no cursor of the server's; seal what publish() resolves to, once.`),
    );
    expect(() => seal.seal('$end', 'counts/1', null)).toThrow(refused('INVALID_CURSOR'));
    expect(() => seal.seal(CURSOR, 'counts/1')).toThrow(
      refused(
        'INVALID_OPTION',
        'seal needs the principal that the cursor is for, since cursor.bindTo is "principal"; pass null where nobody is known.',
      ),
    );
  });
});

describe('a hub that signs cursors', () => {
  const hubs: Hub[] = [];
  const hubOn = (backplane: MemoryBackplane, options: CursorSealOptions | null): Hub => {
    const hub = new Hub({
      backplane,
      codec: new EventCodec(uncheckedClassValidator),
      channels: new ChannelRegistry(),
      observer: {},
      describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
      seal: new CursorSeal(options),
    });
    hubs.push(hub);
    return hub;
  };
  const publish = (backplane: MemoryBackplane, topic: Topic, n: number): Promise<Cursor> =>
    backplane.append(topic.name, { name: 'count', data: JSON.stringify({ n }) }, topic.channel.retention);

  /** What a client that comes with a cursor is sent, once it has been given all that is due. */
  const follow = async (
    hub: Hub,
    requests: readonly TopicRequest[],
    {
      cursor = null,
      principal = null,
      sink = new RecordingSink(),
    }: {
      cursor?: Cursor | null;
      principal?: string | null;
      sink?: RecordingSink;
    } = {},
  ): Promise<{ sink: RecordingSink; events: () => ParsedEvent[]; numbers: () => number[]; gaps: () => string[] }> => {
    const source = await hub.join(requests, cursor, { principal, form: requests.length > 1 ? 'topic' : 'plain' });
    hub.connect(source, sink, { id: 'c', heartbeatMs: 15_000, retryMs: 3_000 });
    await eventually(() => !source.pending, 'everything due was given');
    const events = (): ParsedEvent[] => eventsIn(sink.text);
    const dataOf = (name: string) => events().flatMap((event) => (event.name === name ? [JSON.parse(event.data)] : []));
    return {
      sink,
      events,
      numbers: () => dataOf('count').map(({ n }) => n as number),
      gaps: () => dataOf('$gap').map(({ reason }) => reason as string),
    };
  };

  afterEach(async () => {
    for (const hub of hubs.splice(0)) await hub.drain({ graceMs: 0, retryMs: () => 0 });
  });

  it('resumes an honest client exactly, and tells any other that its cursor is invalid', async () => {
    const scenario = fc.record({
      bindTo: fc.constantFrom(...bindings),
      published: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 12 }),
      topics: fc.integer({ min: 1, max: 2 }),
      taken: fc.nat(12),
      deed: fc.constantFrom(
        'honest',
        'altered',
        'of another topic',
        'of another principal',
        'unsigned',
        'old',
        'older',
      ),
      place: fc.nat(),
      other: character,
    });
    const run = async (s: typeof scenario extends fc.Arbitrary<infer T> ? T : never): Promise<void> => {
      const backplane = new MemoryBackplane();
      const requests = Array.from({ length: s.topics }, (_, n) => ({
        topic: topicOf(n + 1),
        start: 'earliest' as const,
      }));
      for (const [n, id] of s.published.entries()) await publish(backplane, topicOf(id), n);
      const mine = s.published.flatMap((id, n) => (id <= s.topics ? [n] : []));
      const secret = { old: OLD, older: 'a secret that is not known any more.' }[s.deed as string] ?? SECRET;
      const first = await follow(hubOn(backplane, { secret, bindTo: s.bindTo }), requests, { principal: 'ada' });
      const hub = hubOn(backplane, { secret: [SECRET, OLD], bindTo: s.bindTo });
      expect(first.numbers()).toEqual(mine);
      const given = first.events().filter(({ name }) => name === 'count' || name === '$open');
      const taken = Math.min(s.taken, given.length - 1);
      let cursor = given[taken]?.lastEventId as Cursor;

      if (s.deed === 'altered') {
        const index = s.place % cursor.length;
        cursor = cursor.slice(0, index) + s.other + cursor.slice(index + 1);
      } else if (s.deed === 'of another topic') {
        const others = await follow(hub, [{ topic: topicOf(3), start: 'earliest' }], { principal: 'ada' });
        cursor = others.events().at(-1)?.lastEventId as Cursor;
      } else if (s.deed === 'unsigned') {
        cursor = cursor.slice(0, cursor.lastIndexOf('~'));
      }
      const principal = s.deed === 'of another principal' ? 'bob' : 'ada';
      const resumed = await follow(hub, requests, { cursor, principal });

      const honest =
        s.deed === 'honest' ||
        s.deed === 'old' ||
        (s.deed === 'altered' && cursor === given[taken]?.lastEventId) ||
        (s.deed === 'of another principal' && s.bindTo === 'topic');
      // A cursor that is none begins with the earliest record.
      expect(resumed.numbers()).toEqual(honest ? mine.slice(taken) : mine);
      expect(resumed.gaps()).toEqual(honest ? [] : requests.map(() => 'invalid'));
    };
    await fc.assert(fc.asyncProperty(scenario, run), { numRuns: 150 });
  });

  it.each([
    ['topic', true],
    ['principal', false],
    [null, true],
  ] as const)(
    'shares the bytes of those who follow a topic, unless cursors are bound to principals (%s)',
    async (bindTo, shared) => {
      const backplane = new MemoryBackplane();
      const hub = hubOn(backplane, bindTo === null ? null : { secret: SECRET, bindTo });
      const ada = await follow(hub, [{ topic: topicOf(1) }], { principal: 'ada' });
      const bob = await follow(hub, [{ topic: topicOf(1) }], { principal: 'bob' });

      const cursor = await publish(backplane, topicOf(1), 1);
      await eventually(() => ada.numbers().length + bob.numbers().length === 2, 'both were given the event');

      expect(ada.sink.writes.at(-1) === bob.sink.writes.at(-1)).toBe(shared);
      const id = new CursorSeal(bindTo === null ? null : { secret: SECRET, bindTo }).seal(cursor, topicOf(1), 'ada');
      expect(ada.sink.writes.at(-1)?.toString()).toBe(`id: ${id}\nevent: count\ndata: {"n":1}\n\n`);
    },
  );

  it.each(bindings)(
    'signs what is told beside the events: $open, $gap, what a slow reader skips (%s)',
    async (bindTo) => {
      const backplane = new MemoryBackplane();
      const seal = new CursorSeal({ secret: SECRET, bindTo });
      const hub = hubOn(backplane, { secret: SECRET, bindTo });
      const topic = latestChannel.topic({ id: 1 });
      const sink = new RecordingSink();
      const reader = await follow(hub, [{ topic }], { cursor: 'garbage', principal: 'ada', sink });
      sink.fills = () => true;

      for (let n = 1; n <= 3; n += 1) {
        await publish(backplane, topic, n);
        await new Promise(setImmediate);
      }
      sink.drain();

      expect(reader.gaps()).toEqual(['invalid', 'skipped']);
      expect(reader.numbers()).toEqual([1, 3]);
      for (const { lastEventId } of reader.events()) expect(seal.open(lastEventId, [topic], 'ada')).not.toBeNull();
    },
  );

  it('signs the cursors of a stream of two topics for neither, and takes them whichever topics the client goes on with', async () => {
    const backplane = new MemoryBackplane();
    const seal = new CursorSeal({ secret: SECRET });
    const hub = hubOn(backplane, { secret: SECRET });
    const both = [
      { topic: topicOf(1), start: 'earliest' as const },
      { topic: topicOf(2), start: 'earliest' as const },
    ];
    const cursors = [
      await publish(backplane, topicOf(1), 1),
      await publish(backplane, topicOf(2), 2),
      await publish(backplane, topicOf(1), 3),
    ] as const;

    const reader = await follow(hub, both);
    const alone = await follow(hub, both.slice(1), { cursor: reader.events()[1]?.lastEventId as Cursor });
    const other = await follow(hub, [{ topic: topicOf(3) }], { cursor: reader.events()[3]?.lastEventId as Cursor });

    expect(
      reader
        .events()
        .map(({ lastEventId }) => lastEventId)
        .slice(1),
    ).toEqual(cursors.map((cursor) => seal.seal(cursor, null)));
    for (const [taken, { lastEventId }] of reader.events().entries()) {
      expect((await follow(hub, both, { cursor: lastEventId })).numbers()).toEqual([1, 2, 3].slice(taken));
    }
    expect([alone.gaps(), alone.numbers(), other.gaps()]).toEqual([[], [2], []]);
  });
});

function eventsIn(text: string): ParsedEvent[] {
  const events: ParsedEvent[] = [];
  new FrameParser({ onEvent: (event) => events.push(event) }).push(Buffer.from(text));
  return events;
}

function hmac(message: string): string {
  return createHmac('sha256', SECRET).update(message).digest().subarray(0, 12).toString('base64url');
}

function refused(code: string, message?: string): Error {
  return expect.objectContaining(message === undefined ? { code } : { code, message }) as unknown as Error;
}
