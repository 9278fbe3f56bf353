import { describe, expect, it } from '@jest/globals';
import { defineChannel, FrameParser, SseEvent, type Cursor, type Topic } from '@sse-channels/protocol';
import { eventually, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import type { Connection } from '../connection/connection.js';
import { FrameRing } from './frame-ring.js';
import { Hub } from './hub.js';
import { LevelReaders, type LevelReader } from './level-readers.js';

@SseEvent('count')
class Count {
  n!: number;
}

const topic = defineChannel('counts', { events: [Count], replay: { maxEvents: 100_000 } }).topic() as Topic;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class Room {
  readonly backplane = new MemoryBackplane();
  readonly hub = new Hub({
    backplane: this.backplane,
    codec: new EventCodec(uncheckedClassValidator),
    channels: new ChannelRegistry(),
    observer: {},
    describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
  });
  readonly readers: Reader[] = [];
  published = 0;

  constructor(private readonly heartbeatMs = 60_000) {}

  async publish(count: number, padBytes = 0): Promise<void> {
    const pad = 'x'.repeat(padBytes);
    for (let at = 0; at < count; at += 1) {
      this.published += 1;
      const data = JSON.stringify({ n: this.published, pad });
      void this.backplane.append(topic.name, { name: 'count', data }, topic.channel.retention);
    }
    await Promise.resolve();
  }

  async join(count: number, { filtered = false } = {}): Promise<Reader[]> {
    const joined: Reader[] = [];
    for (let at = 0; at < count; at += 1) joined.push(await this.#open(null, this.published, filtered));
    return joined;
  }

  resume(cursor: Cursor): Promise<Reader> {
    return this.#open(cursor, 0);
  }

  async #open(cursor: Cursor | null, after: number, filtered = false): Promise<Reader> {
    const sink = new RecordingSink();
    // Who has a filter does not stand level.
    const source = await this.hub.join([filtered ? { topic, filter: () => true } : { topic }], cursor);
    const id = String(this.readers.length);
    const connection = this.hub.connect(source, sink, { id, heartbeatMs: this.heartbeatMs, retryMs: 1 });
    const reader = new Reader(sink, connection, after);
    this.readers.push(reader);
    return reader;
  }

  /** Until nobody who takes something is given more. */
  async settled(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet += 1) {
      const before = this.#writes;
      await turn();
      if (this.#writes !== before) quiet = -1;
    }
  }

  get #writes(): number {
    return this.readers.reduce((sum, { sink }) => sum + sink.writes.length, 0);
  }
}

class Reader {
  gone = false;

  constructor(
    readonly sink: RecordingSink,
    readonly connection: Connection,
    readonly after: number,
  ) {}

  /** The numbers that it was given, less that after which it came. */
  get given(): number[] {
    const numbers: number[] = [];
    const parser = new FrameParser({
      onEvent: ({ name, data }) => {
        if (name === 'count') numbers.push((JSON.parse(data) as { n: number }).n - this.after);
      },
    });
    for (const bytes of this.sink.writes) parser.push(bytes);
    return numbers;
  }
}

/** A room in the midst of its third event, whose last reader has not taken the second yet. */
async function onTheirWay(): Promise<{ readonly room: Room; readonly readers: Reader[]; readonly last: Reader }> {
  const room = new Room();
  const readers = await room.join(600);
  const last = readers.at(-1) as Reader;
  await room.publish(1);
  await room.settled();
  last.sink.fills = () => true;
  await room.publish(1);
  await room.settled();
  last.sink.fills = () => false;
  await room.publish(1);
  await turn();
  return { room, readers, last };
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

describe('readers that stand level', () => {
  it('are given one buffer, each in one write for all that a turn brought', async () => {
    const room = new Room();
    const readers = await room.join(300);
    await room.publish(1);
    await room.settled();
    await room.publish(7);
    await room.settled();

    const last = readers.map(({ sink }) => sink.writes.at(-1));
    expect(new Set(last).size).toBe(1);
    expect(new Set(readers.map(({ sink }) => sink.writes.length))).toEqual(new Set([3]));
    expect(readers.map(({ given }) => given)).toEqual(readers.map(() => upTo(8)));
  });

  it('know their cursors, and how far they are behind, in the midst of a delivery', async () => {
    const room = new Room();
    const readers = await room.join(600);
    await room.publish(1);
    await room.settled();
    await room.publish(2);
    await turn();
    const amid = readers.map(({ connection }) => connection.describe());
    await room.settled();
    const after = readers.map(({ connection }) => connection.describe());

    const unreached = amid.filter(({ lagEvents }) => lagEvents === 2);
    const cursors = new Set(unreached.map(({ cursor }) => cursor));
    expect(amid.filter(({ lagEvents }) => lagEvents === 0).length + unreached.length).toBe(600);
    expect([unreached.length > 0, unreached.length < 600, cursors.size]).toEqual([true, true, 1]);
    expect(new Set(after.map(({ lagEvents }) => lagEvents))).toEqual(new Set([0]));
    const [cursor] = cursors;
    const late = await room.resume(cursor as Cursor);
    await room.settled();
    expect(late.given).toEqual([2, 3]);
  });

  it('join the others only when those are not on their way', async () => {
    const { room, readers, last } = await onTheirWay();
    last.sink.drain();
    await room.settled();

    expect(readers.map(({ given }) => given)).toEqual(readers.map(() => upTo(3)));
  });

  it('are all given what comes while the first of those who do not stand level have had their turn', async () => {
    const room = new Room();
    const readers = await room.join(900);
    await room.publish(1);
    await turn();
    await room.publish(1);
    await turn();
    await room.publish(1);
    await room.settled();

    expect(readers.map(({ given }) => given)).toEqual(readers.map(() => upTo(3)));
  });

  it('are joined by nobody while they are on their way, though all have left', async () => {
    const { room, readers, last } = await onTheirWay();
    for (const { sink } of readers.slice(0, -1)) sink.close();
    last.sink.drain();
    await room.settled();

    expect(last.given).toEqual(upTo(3));
  });

  it.each([
    [1, 1, 1, 1],
    [1, 1, 3_000],
    [1, 3_000],
  ])(
    'are among others, who are all given what comes while they have their turns: %j',
    async (...counts) => {
      for (const turns of [1, 2, 3]) {
        const room = new Room();
        const readers = [...(await room.join(40)), ...(await room.join(400, { filtered: true }))];
        await room.publish(1);
        await room.settled();
        for (const count of counts) {
          await room.publish(count);
          for (let at = 0; at < turns; at += 1) await turn();
        }
        await room.settled();

        const amounts = readers.map(({ given }) => (given.at(-1) === given.length ? given.length : -1));
        expect([turns, ...new Set(amounts)]).toEqual([turns, room.published]);
      }
    },
    30_000,
  );

  it('leave when the log went back: its gap is told to each where it stands', () => {
    const ring = new FrameRing('1-0');
    const frame = Buffer.from('frame');
    const level = new LevelReaders(ring, ring.placeAfter('1-0'));
    const reader: LevelReader = { seat: -1, onFull: () => undefined, goAlone: () => level.leave(reader) };
    const sink = new RecordingSink();
    level.join(reader, ring.placeAfter('1-0'), sink);
    ring.push({ offset: '0-5', frame, record: null }, true);

    expect([level.areDue, level.letGoAstray(), reader.seat, level.give(10), sink.writes, level.areDue]).toEqual([
      true,
      true,
      -1,
      0,
      [],
      false,
    ]);
  });

  it('are written to past their sinks where there is a way, in its form, and leave when they do not keep up', () => {
    const ring = new FrameRing('1-0');
    const level = new LevelReaders(ring, ring.placeAfter('1-0'));
    const notes: string[] = [];
    const join = (name: string, isDirect: boolean): LevelReader => {
      const sink = new RecordingSink();
      const write = (way: string, bytes: Buffer): boolean => notes.push(`${name} ${way} ${bytes.toString()}`) > 0;
      sink.write = (bytes) => write('by its sink', bytes);
      const directWay = {
        target: { write: (bytes: Buffer) => write('past it', bytes) && name !== 'slow' },
        encode: (bytes: Buffer) => Buffer.from(`<${bytes.toString()}>`),
      };
      const reader: LevelReader = {
        seat: -1,
        onFull: () => {
          notes.push(`${name} is full`);
          level.leave(reader);
        },
        goAlone: () => undefined,
      };
      level.join(reader, ring.placeAfter('1-0'), isDirect ? Object.assign(sink, { directWay }) : sink);
      return reader;
    };
    join('one', true);
    join('slow', true);
    join('other', false);
    for (const [offset, text] of [
      ['2-0', 'a'],
      ['3-0', 'b'],
    ] as const) {
      ring.push({ offset, frame: Buffer.from(text), record: null });
      level.give(10);
    }

    expect(notes).toEqual([
      'one past it <a>',
      'slow past it <a>',
      'slow is full',
      'other by its sink a',
      'one past it <b>',
      'other by its sink b',
    ]);
  });

  it('are given nothing after a heartbeat that their peers did not take', async () => {
    const room = new Room(10);
    const readers = await room.join(3);
    const [slow] = readers as [Reader];
    await room.publish(1);
    await room.settled();
    slow.sink.fills = () => true;
    await eventually(() => slow.sink.full, 'a heartbeat');
    await room.publish(1);
    await room.settled();
    const meanwhile = readers.map(({ given }) => given.length);
    slow.sink.fills = () => false;
    slow.sink.drain();

    expect([meanwhile, slow.sink.writesWhileFull, slow.given]).toEqual([[1, 2, 2], 0, [1, 2]]);
    for (const { connection } of readers) connection.destroy();
  });

  it('end in the midst of a delivery with all that is due, and those who stay are given it once', async () => {
    const room = new Room();
    const readers = await room.join(600);
    await room.publish(1);
    await room.settled();
    await room.publish(2);
    await turn();
    for (const { connection } of readers.slice(100, 500)) connection.end('drained');
    const ended = readers.slice(100, 500).map(({ given }) => given);
    await room.publish(1);
    await room.settled();

    expect(ended).toEqual(ended.map(() => upTo(3)));
    for (const [index, { given, sink }] of readers.entries()) {
      const stayed = index < 100 || index >= 500;
      expect([given, sink.ended]).toEqual([upTo(stayed ? 4 : 3), !stayed]);
    }
  });

  it('find their own way when more was published in a turn than the ring holds', async () => {
    const room = new Room();
    const readers = await room.join(100);
    await room.publish(1);
    await room.settled();
    await room.publish(1_500);
    await room.settled();
    await room.publish(1);
    await room.settled();

    expect(readers.map(({ given }) => given)).toEqual(readers.map(() => upTo(1_502)));
  });

  it('are given everything once, in order, whoever fills, drains, ends or comes in the midst of it', async () => {
    const who = fc.nat(10_000);
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 3 }), pad: fc.constantFrom(0, 0, 40_000) }),
      },
      { weight: 1, arbitrary: fc.record({ publish: fc.constantFrom(40, 1_500), pad: fc.constant(0) }) },
      { weight: 4, arbitrary: fc.constant('turn' as const) },
      { weight: 2, arbitrary: fc.constant('settle' as const) },
      { weight: 3, arbitrary: fc.record({ fill: who, many: fc.integer({ min: 1, max: 90 }) }) },
      { weight: 3, arbitrary: fc.record({ drain: who, many: fc.integer({ min: 1, max: 90 }) }) },
      { weight: 1, arbitrary: fc.record({ leave: who, many: fc.integer({ min: 1, max: 90 }) }) },
      { weight: 1, arbitrary: fc.record({ end: who, many: fc.integer({ min: 1, max: 40 }) }) },
      { weight: 2, arbitrary: fc.record({ join: fc.integer({ min: 1, max: 30 }) }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 400 }),
        fc.boolean(),
        fc.array(step, { maxLength: 40 }),
        async (count, level, steps) => {
          const room = new Room();
          await room.join(count);
          await room.publish(1);
          if (level) await room.settled();
          const from = (begin: number, many: number): Reader[] => {
            const open = room.readers.filter(({ gone }) => !gone);
            return open.slice(begin % Math.max(1, open.length)).slice(0, many);
          };
          for (const one of steps) {
            if (one === 'turn') await turn();
            else if (one === 'settle') await room.settled();
            else if ('publish' in one) await room.publish(one.publish, one.pad);
            else if ('fill' in one) for (const { sink } of from(one.fill, one.many)) sink.fills = () => true;
            else if ('drain' in one) {
              for (const { sink } of from(one.drain, one.many)) {
                sink.fills = () => false;
                sink.drain();
              }
            } else if ('join' in one) await room.join(one.join);
            else if ('leave' in one) {
              for (const reader of from(one.leave, one.many)) {
                reader.gone = true;
                reader.sink.close();
              }
            } else {
              for (const reader of from(one.end, one.many)) {
                reader.gone = true;
                reader.connection.end('drained');
              }
            }
          }
          for (const { sink, gone } of room.readers) {
            sink.fills = () => false;
            if (!gone) sink.drain();
          }
          await room.settled();

          for (const { given, gone, after, sink } of room.readers) {
            expect(given).toEqual(upTo(gone ? given.length : room.published - after));
            expect(sink.writesWhileFull).toBe(0);
          }
          for (const { connection } of room.readers) connection.destroy();
          expect(room.hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
        },
      ),
      { numRuns: 40 },
    );
  });
});
