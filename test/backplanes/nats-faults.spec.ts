import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ContinuousTail, type BackplaneState } from '@sse-channels/engine';
import { NatsBackplane, type NatsBackplaneOptions } from '@sse-channels/nats';
import { compareOffsets, matchesFilter, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { eventually, randomOf } from '@sse-channels/testing';
import { connect } from '@nats-io/transport-node';
import { findNatsServer, NatsServer } from '../engines/nats-server.js';

const KEEP: Retention = { maxEvents: 5_000, maxAgeMs: 3_600_000, maxBytes: 100_000_000 };

/** What the engine does to the logs when it fails, on a real server. */
(findNatsServer() === null ? describe.skip : describe)('the NATS backplane when NATS fails', () => {
  let server: NatsServer;
  const opened: NatsBackplane[] = [];

  beforeEach(async () => {
    server = await NatsServer.start();
  }, 30_000);

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((backplane) => backplane.close()));
    await server.stop();
  }, 30_000);

  it('an older store: readers that stood in the lost part, and those before it, are told, and get all that survives or is new', async () => {
    const backplane = await open();
    const offsets = await appendMany(backplane, 'a/1', 0, 95);
    await restartWith(
      () => cpSync(join(server.directory, 'jetstream'), join(server.directory, 'kept'), { recursive: true }),
      backplane,
    );
    offsets.push(...(await appendMany(backplane, 'a/1', 95, 100)));
    const follower = follow(backplane, 'a/1');
    await follower.opened;

    await restartWith(() => {
      rmSync(join(server.directory, 'jetstream'), { recursive: true });
      cpSync(join(server.directory, 'kept'), join(server.directory, 'jetstream'), { recursive: true });
    }, backplane);
    await appendMany(backplane, 'a/1', 200, 208);

    await eventually(() => follower.numbers.length === 8, 'the follower has the eight new records');
    expect(follower.numbers).toEqual(range(200, 208));
    expect(follower.gaps).toEqual(['rewound']);
    const at100 = await backplane.read('a/1', offsets[99] as Offset, 100);
    expect([at100.intact, at100.reason, at100.records.map(({ data }) => Number(data))]).toEqual([
      false,
      'rewound',
      range(200, 208),
    ]);
    const at93 = await backplane.read('a/1', offsets[92] as Offset, 100);
    expect([at93.intact, at93.reason, at93.records.map(({ data }) => Number(data))]).toEqual([
      false,
      'rewound',
      [93, 94, ...range(200, 208)],
    ]);
    const again = await backplane.read('a/1', at93.from, 100);
    expect([again.intact, again.records.length]).toEqual([true, 10]);
    // A node that was not there when it happened is told by the mark that the other left.
    const later = await open();
    const byMark = await later.read('a/1', offsets[92] as Offset, 100);
    expect([byMark.intact, byMark.reason, byMark.records.length]).toEqual([false, 'rewound', 10]);
    follower.tail.end();
  }, 60_000);

  it('an older store, and nobody was there: a cursor of the lost part is told, and gets all that is new', async () => {
    const backplane = await open();
    const offsets = await appendMany(backplane, 'a/1', 0, 95);
    await restartWith(
      () => cpSync(join(server.directory, 'jetstream'), join(server.directory, 'kept'), { recursive: true }),
      backplane,
    );
    offsets.push(...(await appendMany(backplane, 'a/1', 95, 100)));
    await backplane.close();
    await server.kill();
    rmSync(join(server.directory, 'jetstream'), { recursive: true });
    cpSync(join(server.directory, 'kept'), join(server.directory, 'jetstream'), { recursive: true });
    await server.start();
    const next = await open();
    await appendMany(next, 'a/1', 200, 208);
    for (const cursor of [95, 99]) {
      const page = await next.read('a/1', offsets[cursor] as Offset, 100);
      expect([page.intact, page.reason, page.records.map(({ data }) => Number(data))]).toEqual([
        false,
        'rewound',
        range(200, 208),
      ]);
    }
    const before = await next.read('a/1', offsets[92] as Offset, 100);
    expect(before.records.map(({ data }) => Number(data))).toEqual([93, 94, ...range(200, 208)]);
  }, 60_000);

  it('a stream that is removed is made anew: another epoch, readers are told reset, live goes on', async () => {
    const backplane = await open({ sweepMs: 100 });
    const { epoch } = backplane;
    await appendMany(backplane, 'a/1', 0, 10);
    const follower = follow(backplane, 'a/1');
    await follower.opened;
    const connection = await connect({ servers: server.url });
    await connection.request('$JS.API.STREAM.DELETE.faults');
    await connection.close();
    await eventually(() => backplane.epoch !== epoch, 'another epoch');
    await appendMany(backplane, 'a/1', 10, 15);
    await eventually(() => follower.numbers.length === 5, 'the new records');
    expect([follower.numbers, follower.gaps]).toEqual([range(10, 15), ['reset']]);
    follower.tail.end();
  }, 60_000);

  it('while NATS is away appends reject by their deadline and reads as unavailable; then all goes on, with nothing missing', async () => {
    const states: BackplaneState[] = [];
    const backplane = await open({ appendTimeoutMs: 300, readTimeoutMs: 300 }, states);
    await appendMany(backplane, 'a/1', 0, 10);
    const follower = follow(backplane, 'a/1');
    await follower.opened;
    await server.kill();
    // What is sent before the process has heard of it may have been written.
    await eventually(() => backplane.state === 'down', 'the loss is noticed');
    await expect(append(backplane, 'a/1', 10)).rejects.toMatchObject({ name: 'AppendError', outcome: 'not-written' });
    await expect(backplane.read('a/1', null, 10)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(backplane.state).toBe('down');
    await server.start();
    await eventually(() => backplane.state === 'live', 'live again', 10_000);
    await appendMany(backplane, 'a/1', 11, 20);
    await eventually(() => follower.numbers.length === 9, 'the records after it');
    expect([follower.numbers, follower.gaps]).toEqual([range(11, 20), []]);
    expect(states).toEqual(['down', 'catching-up', 'live']);
    follower.tail.end();
  }, 60_000);

  it('kills while records are appended: every acknowledged one once and in order, to every follower', async () => {
    const backplane = await open();
    const reader = await open();
    const topics = ['a/1', 'a/2', 'b/3'];
    const acknowledged = new Map(topics.map((topic) => [topic, [] as number[]]));
    const followers = topics.map((topic) => follow(reader, topic));
    const all = follow(reader, 'a/*');
    await Promise.all([...followers, all].map((follower) => follower.opened));
    const run = { number: 0, stopped: false };
    const failed: unknown[] = [];
    const publishing = (async () => {
      while (!run.stopped) {
        const appends = topics.flatMap((topic) =>
          Array.from({ length: 5 }, async () => {
            const n = (run.number += 1);
            await append(backplane, topic, n).then(
              () => acknowledged.get(topic)?.push(n),
              (error: unknown) => failed.push(error),
            );
          }),
        );
        await Promise.all(appends);
      }
    })();
    for (let kill = 0; kill < 3; kill += 1) {
      const before = run.number;
      await eventually(() => run.number > before + 500, 'more is appended', 20_000);
      await server.restart();
    }
    run.stopped = true;
    await publishing;
    expect(failed).toEqual([]);
    for (const [index, topic] of topics.entries()) {
      const want = acknowledged.get(topic) as number[];
      await eventually(() => (followers[index]?.numbers.length ?? 0) >= want.length, `${topic} is whole`, 20_000);
      expect(followers[index]?.gaps).toEqual([]);
      expect(followers[index]?.numbers).toEqual(want.sort((a, b) => a - b));
    }
    const both = [...(acknowledged.get('a/1') as number[]), ...(acknowledged.get('a/2') as number[])];
    await eventually(() => all.numbers.length >= both.length, 'the filter is whole');
    expect([...all.numbers].sort((a, b) => a - b)).toEqual(both.sort((a, b) => a - b));
    for (const { tail } of [...followers, all]) tail.end();
  }, 120_000);

  it('a frozen server is noticed, and what it kept is there when it goes on', async () => {
    const backplane = await open({ appendTimeoutMs: 20_000 });
    const follower = follow(backplane, 'a/1');
    await follower.opened;
    await appendMany(backplane, 'a/1', 0, 5);
    server.freeze();
    const appended = append(backplane, 'a/1', 5);
    await eventually(() => backplane.state === 'down', 'the silence is noticed', 15_000);
    server.thaw();
    await appended;
    await eventually(() => follower.numbers.length === 6, 'everything has come', 15_000);
    expect([follower.numbers, follower.gaps]).toEqual([range(0, 6), []]);
    follower.tail.end();
  }, 60_000);

  it.each([1, 2, 3])(
    'of random cursors none that misses a trimmed record is told that all is there: seed %i',
    async (seed) => {
      const random = randomOf(seed);
      const backplane = await open({ maxEventsPerTopic: 150 });
      const topics = ['t/1', 't/2', 't/3', 't/4'];
      const keeps = [3, 20, 100, 500];
      const log: Array<{ topic: string; offset: Offset; number: number }> = [];
      const check = async (count: number): Promise<void> => {
        for (let n = 0; n < count; n += 1) {
          const cursor = log[Math.floor(random() * log.length)] as (typeof log)[0];
          const topic = [...topics, 't/*'][Math.floor(random() * 5)] as string;
          // Pages of a topic may be small.
          const limit = topic !== 't/*' && random() < 0.5 ? 7 : 2_000;
          const page = await backplane.read(topic, cursor.offset, limit);
          const from = page.intact ? cursor.offset : page.from;
          const want = log
            .filter((one) => matchesFilter(topic, one.topic) && compareOffsets(one.offset, from) > 0)
            .map(({ number }) => number);
          const given = page.records.map(({ data }) => Number(data));
          expect(given).toEqual(page.more ? want.slice(0, given.length) : want);
          expect(page.more && given.length === 0).toBe(false);
        }
      };
      for (let round = 0; round < 10; round += 1) {
        const appends = Array.from({ length: 150 }, async (_, n) => {
          const which = Math.floor(random() * topics.length);
          const topic = topics[which] as string;
          const number = round * 150 + n;
          // Now and then a process with other settings.
          const maxEvents = random() < 0.05 ? 5 : (keeps[which] as number);
          const cursor = await backplane.append(topic, { name: 'n', data: String(number) }, { ...KEEP, maxEvents });
          log.push({ topic, offset: parseCursor(cursor)?.offset as Offset, number });
        });
        await Promise.all(appends);
        log.sort((a, b) => compareOffsets(a.offset, b.offset));
        await check(34);
      }
    },
    60_000,
  );

  async function open(options: NatsBackplaneOptions = {}, states: BackplaneState[] = []): Promise<NatsBackplane> {
    const backplane = new NatsBackplane({ servers: server.url, prefix: 'faults', ...options });
    opened.push(backplane);
    await backplane.ready({ onState: (state) => states.push(state) });
    return backplane;
  }

  /** Kills the server, does something to its store, and starts it again. */
  async function restartWith(change: () => void, backplane: NatsBackplane): Promise<void> {
    await server.kill();
    await eventually(() => backplane.state === 'down', 'the backplane notices');
    change();
    await server.start();
    await eventually(() => backplane.state === 'live', 'the backplane is live again', 10_000);
  }
});

interface Followed {
  readonly tail: ContinuousTail;
  readonly opened: Promise<void>;
  readonly numbers: number[];
  readonly gaps: string[];
}

function follow(backplane: NatsBackplane, filter: string): Followed {
  const numbers: number[] = [];
  const gaps: string[] = [];
  const tail = new ContinuousTail(backplane, filter, {
    onRecord: ({ data }) => numbers.push(Number(data)),
    onGap: (reason) => gaps.push(reason),
    onError: () => undefined,
  });
  return { tail, opened: tail.open(), numbers, gaps };
}

async function append(backplane: NatsBackplane, topic: string, number: number): Promise<Offset> {
  const cursor = await backplane.append(topic, { name: 'n', data: String(number) }, KEEP);
  return parseCursor(cursor)?.offset as Offset;
}

async function appendMany(backplane: NatsBackplane, topic: string, from: number, to: number): Promise<Offset[]> {
  return Promise.all(range(from, to).map((number) => append(backplane, topic, number)));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
