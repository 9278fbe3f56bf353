import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ContinuousTail, type Backplane, type Page } from '@sse-channels/engine';
import { AppendError, compareOffsets, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { RedisBackplane, type RedisBackplaneOptions } from '@sse-channels/redis';
import { eventually, randomOf } from '@sse-channels/testing';
import { findRedisServer, RedisServer } from '../engines/redis-server.js';
import { FaultyLink } from '../faulty-link.js';

const found = findRedisServer() !== null;
const KEEP: Retention = { maxEvents: 100_000, maxAgeMs: 3_600_000, maxBytes: 104_857_600 };
const DEADLINE_MS = 30_000;

/** What a follower was told, in order: the data of records, and the reasons of gaps. */
interface Follower {
  readonly told: string[];
  readonly tail: ContinuousTail;
}

(found ? describe : describe.skip)('a Redis backplane, when things fail', () => {
  let server: RedisServer;
  const opened: Backplane[] = [];
  const links: FaultyLink[] = [];

  beforeEach(async () => {
    server = await RedisServer.start();
  }, DEADLINE_MS);
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((backplane) => backplane.close()));
    await Promise.all(links.splice(0).map((link) => link.close()));
    await server.stop();
  }, DEADLINE_MS);

  const open = async (options?: RedisBackplaneOptions): Promise<RedisBackplane> => {
    const backplane = new RedisBackplane(options ?? { url: server.url });
    opened.push(backplane);
    await backplane.ready();
    return backplane;
  };
  const append = async (backplane: Backplane, topic: string, n: number, retention = KEEP): Promise<Offset> => {
    const cursor = await backplane.append(topic, { name: 'n', data: String(n) }, retention);
    return parseCursor(cursor)?.offset as Offset;
  };
  const follow = async (backplane: Backplane, filter: string, after?: Offset): Promise<Follower> => {
    const told: string[] = [];
    const tail = new ContinuousTail(backplane, filter, {
      onRecord: ({ data }) => told.push(data),
      onGap: (reason) => told.push(reason),
      onError: () => undefined,
    });
    await tail.open(after);
    return { told, tail };
  };
  const readAll = async (backplane: Backplane, topic: string): Promise<string[]> => {
    const all: string[] = [];
    let page: Page;
    let after: Offset | null = null;
    do {
      page = await backplane.read(topic, after, 500);
      all.push(...page.records.map(({ data }) => data));
      after = page.records.at(-1)?.offset ?? page.head;
    } while (page.more);
    return all;
  };
  const names = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, index) => String(from + index));
  const live = (backplane: Backplane): Promise<void> =>
    eventually(() => backplane.state === 'live', 'the backplane is live', DEADLINE_MS);

  it('loses, doubles and reorders nothing when Redis is killed again and again while events are published', async () => {
    const [one, two] = [await open(), await open()];
    const followers = [await follow(one, 'kills/a'), await follow(two, 'kills/a'), await follow(two, 'kills/*')];
    const acknowledged: number[] = [];
    const failed: unknown[] = [];
    const publishing = new AbortController();
    let next = 0;
    const publish = async (): Promise<void> => {
      while (!publishing.signal.aborted) {
        const batch = names(next, next + 10).map(Number);
        next += batch.length;
        // Nobody awaits one before the next.
        const settled = await Promise.allSettled(batch.map((n) => append(one, 'kills/a', n)));
        for (const [index, { status }] of settled.entries()) {
          if (status === 'fulfilled') acknowledged.push(batch[index] as number);
          else failed.push((settled[index] as PromiseRejectedResult).reason);
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const published = publish();
    for (let kill = 1; kill <= 4; kill += 1) {
      const before = acknowledged.length;
      await eventually(() => acknowledged.length > before + 100, 'events are acknowledged', DEADLINE_MS);
      await server.restart();
    }
    const before = acknowledged.length;
    await eventually(() => acknowledged.length > before + 100, 'events are acknowledged', DEADLINE_MS);
    publishing.abort();
    await published;
    await Promise.all([live(one), live(two)]);
    const log = (await readAll(one, 'kills/a')).map(Number);
    expect(failed).toEqual([]);
    expect(log).toEqual([...log].sort((a, b) => a - b));
    expect(log).toEqual(acknowledged);
    for (const { told } of followers) {
      await eventually(() => told.length >= log.length, 'the follower has all', DEADLINE_MS);
      expect(told.map(Number)).toEqual(log);
    }
  }, 60_000);

  it('writes one record per append and settles every promise when replies are cut after execution', async () => {
    const link = await FaultyLink.listen(`http://127.0.0.1:${server.port}`);
    const backplane = await open({ url: `redis://127.0.0.1:${link.port}` });
    const follower = await follow(backplane, 'cut/a');
    for (let round = 0; round < 5; round += 1) {
      link.cutReplies();
      await Promise.all(Array.from({ length: 50 }, (_, n) => append(backplane, 'cut/a', round * 50 + n)));
    }
    expect(await readAll(backplane, 'cut/a')).toEqual(names(0, 250));
    await eventually(() => follower.told.length >= 250, 'the follower has all', DEADLINE_MS);
    expect(follower.told).toEqual(names(0, 250));
    await backplane.close();
    await link.close();
  }, 60_000);

  it('keeps the order of appends that nobody awaits while its connections are killed', async () => {
    const backplane = await open();
    const follower = await follow(backplane, 'order/a');
    const appends: Array<Promise<Offset>> = [];
    for (let n = 0; n < 2_000; n += 1) {
      appends.push(append(backplane, 'order/a', n));
      if (n % 400 === 200) {
        await server.send('CLIENT', 'KILL', 'TYPE', n % 800 === 200 ? 'normal' : 'pubsub');
      } else if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const offsets = await Promise.all(appends);
    expect(offsets).toEqual([...offsets].sort(compareOffsets));
    expect(await readAll(backplane, 'order/a')).toEqual(names(0, 2_000));
    await eventually(() => follower.told.length >= 2_000, 'the follower has all', DEADLINE_MS);
    expect(follower.told).toEqual(names(0, 2_000));
  }, 60_000);

  it('notices a link that is open and silent, and reads what it missed', async () => {
    const link = await FaultyLink.listen(`http://127.0.0.1:${server.port}`);
    const [reader, writer] = [await open({ url: `redis://127.0.0.1:${link.port}` }), await open()];
    const [topic, filter] = [await follow(reader, 'silent/a'), await follow(reader, 'silent/*')];
    await append(writer, 'silent/a', 0);
    await eventually(() => topic.told.length === 1 && filter.told.length === 1, 'the first record');
    link.stall('from-target');
    for (let n = 1; n < 50; n += 1) await append(writer, 'silent/a', n);
    await eventually(
      () => topic.told.length === 50 && filter.told.length === 50,
      'the records that the link swallowed',
      DEADLINE_MS,
    );
    expect([topic.told, filter.told]).toEqual([names(0, 50), names(0, 50)]);
    await reader.close();
    await link.close();
  }, 60_000);

  it(
    'moves no position past what it missed, when it is lost again while it looks for what it missed',
    async () => {
      const link = await FaultyLink.listen(`tcp://127.0.0.1:${server.port}`);
      const writer = await open();
      const node = new RedisBackplane({ url: `redis://127.0.0.1:${link.port}` });
      opened.push(node);
      links.push(link);
      const states: string[] = [];
      await node.ready({ onState: (state) => states.push(state) });
      const lost: { at?: Offset } = {};
      let told = false;
      let passed = false;
      const quiet = await node.tail(
        'lost/quiet',
        () => undefined,
        () => (told = true),
      );
      await node.tail(
        'lost/busy',
        () => (passed ||= lost.at !== undefined && !told && compareOffsets(quiet.position, lost.at) >= 0),
        () => undefined,
      );
      // Looking at the heads takes so long that the connection that sends the records is gone before it is over.
      link.delay(100);
      link.cut();
      await eventually(() => states.at(-1) === 'catching-up', 'it looks for what it missed');
      await server.send('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await eventually(() => states.at(-1) === 'down', 'it is lost again');
      told = false;
      lost.at = await append(writer, 'lost/quiet', 1);
      await eventually(async () => {
        await append(writer, 'lost/busy', 1);
        return told;
      }, 'the tail is told that it missed something');
      expect(passed).toBe(false);
    },
    DEADLINE_MS,
  );

  it('tells of a lost tail, skips nothing of what follows and doubles nothing, when an old store is restored', async () => {
    const backplane = await open();
    const other = await open();
    const cursors: Offset[] = [];
    for (let n = 1; n <= 95; n += 1) cursors[n] = await append(backplane, 'lost/a', n);
    const [one, two] = [await follow(backplane, 'lost/a'), await follow(other, 'lost/a')];
    await server.kill();
    // A single file before Redis 7.
    const stores = ['appendonlydir', 'appendonly.aof'].map((name) => join(server.directory, name));
    const store = stores.find((path) => existsSync(path)) as string;
    const copy = join(server.directory, 'copy');
    cpSync(store, copy, { recursive: true });
    await server.start();
    await Promise.all([live(backplane), live(other)]);
    for (let n = 96; n <= 100; n += 1) cursors[n] = await append(backplane, 'lost/a', n);
    await eventually(() => one.told.length === 5 && two.told.length === 5, 'what is to be lost');
    await server.kill();
    rmSync(store, { recursive: true });
    cpSync(copy, store, { recursive: true });
    await server.start();
    await Promise.all([live(backplane), live(other)]);
    for (let n = 101; n <= 108; n += 1) cursors[n] = await append(backplane, 'lost/a', n);
    const last = cursors[108] as Offset;
    for (const { told, tail } of [one, two]) {
      await eventually(() => compareOffsets(tail.position, last) >= 0, 'the follower is at the end', DEADLINE_MS);
      expect(told.filter((word) => word === 'rewound')).toEqual(['rewound']);
      expect(told.filter((word) => word !== 'rewound')).toEqual(names(96, 109));
    }
    for (const from of [93, 100]) {
      const resumed = await follow(backplane, 'lost/a', cursors[from]);
      await eventually(() => compareOffsets(resumed.tail.position, last) >= 0, 'the resumed follower is at the end');
      expect(resumed.told.filter((word) => word === 'rewound')).toEqual(['rewound']);
      expect(resumed.told.filter((word) => word !== 'rewound')).toEqual([
        ...(from === 93 ? names(94, 96) : []),
        ...names(101, 109),
      ]);
    }
  }, 60_000);

  it('tells a gap exactly where there is one, for any cursor of the log space', async () => {
    const backplane = await open();
    const random = randomOf(7);
    const topics = Array.from({ length: 20 }, (_, n) => `gaps/${n}`);
    const all = new Map(topics.map((topic) => [topic, [] as Offset[]]));
    const places: Offset[] = [];
    for (let n = 0; n < 1_500; n += 1) {
      const number = Math.floor(random() ** 2 * topics.length);
      const topic = topics[number] as string;
      const offset = await append(backplane, topic, n, { ...KEEP, maxEvents: 5 + number });
      all.get(topic)?.push(offset);
      places.push(offset);
    }
    const wrong: unknown[] = [];
    for (let check = 0; check < 1_000; check += 1) {
      const topic = topics[Math.floor(random() * topics.length)] as string;
      const after = places[Math.floor(random() * places.length)] as Offset;
      const page = await backplane.read(topic, after, 200);
      const due = (all.get(topic) ?? []).filter((offset) => compareOffsets(offset, after) > 0);
      const given = page.records.map(({ offset }) => offset);
      const whole = given.length === due.length;
      if (page.intact !== whole || given.some((offset, n) => offset !== due.at(n - given.length)))
        wrong.push({ topic, after, intact: page.intact, given: given.length, due: due.length });
    }
    expect(wrong).toEqual([]);
  }, 60_000);

  it('tells readers "reset" when everything was removed from Redis, and goes on live', async () => {
    const [one, two] = [await open(), await open()];
    const followers = [await follow(one, 'flush/a'), await follow(two, 'flush/a'), await follow(two, 'flush/*')];
    const before = await append(one, 'flush/a', 0);
    for (const { told } of followers) await eventually(() => told.length === 1, 'the first record');
    await server.send('FLUSHALL');
    const after = [await append(two, 'flush/a', 1), await append(one, 'flush/a', 2)];
    expect(compareOffsets(before, after[0] as Offset)).toBeLessThan(0);
    for (const { told } of followers) {
      await eventually(() => told.includes('2'), 'the record after the flush', DEADLINE_MS);
      expect(told.filter((word) => word !== 'reset')).toEqual(['0', '1', '2']);
    }
    const page = await one.read('flush/a', before, 10);
    expect([page.intact, page.reason, page.records.map(({ data }) => data)]).toEqual([false, 'reset', ['1', '2']]);
    const late = await open();
    expect([late.epoch, two.epoch]).toEqual([one.epoch, one.epoch]);
  }, 60_000);

  it('takes over the epoch of a node that came after everything was removed', async () => {
    const one = await open();
    const follower = await follow(one, 'flush/a');
    const before = await append(one, 'flush/a', 0);
    await server.send('FLUSHALL');
    const two = await open();
    expect(two.epoch).not.toBe(one.epoch);
    await append(one, 'flush/a', 1);
    expect(two.epoch).toBe(one.epoch);
    await append(two, 'flush/a', 2);
    await eventually(() => follower.told.includes('2'), 'the record of the other', DEADLINE_MS);
    expect(follower.told.filter((word) => word !== 'reset')).toEqual(['0', '1', '2']);
    expect(await two.read('flush/a', before, 10)).toMatchObject({ intact: false, reason: 'reset' });
  }, 60_000);

  it('tells "reset" when the floor or the head of a topic was removed', async () => {
    const backplane = await open();
    const follower = await follow(backplane, 'gone/a');
    const first = await append(backplane, 'gone/a', 0);
    await append(backplane, 'gone/a', 1);
    await server.send('DEL', '{sse:0}:head:gone/a');
    const second = await append(backplane, 'gone/a', 2);
    expect(await backplane.read('gone/a', first, 10)).toMatchObject({ intact: true, more: true });
    const at = (await backplane.read('gone/a', first, 1)).records[0]?.offset as Offset;
    const page = await backplane.read('gone/a', at, 10);
    expect([page.intact, page.reason, page.records.map(({ data }) => data)]).toEqual([false, 'reset', ['2']]);
    await server.send('DEL', '{sse:0}:floor');
    expect(await backplane.read('gone/a', second, 10)).toMatchObject({ intact: false, reason: 'reset' });
    // What is appended before the floor is there again would lie before it, and be part of what the gap tells.
    await eventually(async () => (await server.send('EXISTS', '{sse:0}:floor')) === 1, 'the floor is there again');
    await append(backplane, 'gone/a', 3);
    await eventually(() => follower.told.includes('3'), 'live goes on', DEADLINE_MS);
    expect(follower.told.filter((word) => word !== 'reset')).toEqual(['0', '1', '2', '3']);
  }, 60_000);

  it('rejects appends by their deadline and reads by theirs while Redis is away, and is back when it is', async () => {
    const backplane = await open({ url: server.url, appendTimeoutMs: 400, readTimeoutMs: 300 });
    const cursor = await append(backplane, 'away/a', 0);
    const follower = await follow(backplane, 'away/a');
    await server.kill();
    await eventually(() => backplane.state === 'down', 'the loss is noticed');
    await expect(backplane.read('away/a', cursor, 10)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const refused = append(backplane, 'away/a', 1);
    await expect(refused).rejects.toBeInstanceOf(AppendError);
    await expect(refused).rejects.toMatchObject({ code: 'APPEND_FAILED', outcome: 'not-written' });
    await expect(
      backplane.tail(
        'away/b',
        () => undefined,
        () => undefined,
      ),
    ).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    await server.start();
    await live(backplane);
    await append(backplane, 'away/a', 2);
    await eventually(() => follower.told.length > 0, 'the live record');
    expect(follower.told).toEqual(['2']);
  }, 60_000);

  it('follows ten thousand topics over one connection, and has what was appended to them while it was lost', async () => {
    const [reader, writer] = [await open(), await open()];
    const told = new Map<string, string[]>();
    const topics = Array.from({ length: 10_000 }, (_, n) => `many/${n}`);
    await Promise.all(
      topics.map(async (topic) => {
        const words: string[] = [];
        told.set(topic, words);
        const tail = new ContinuousTail(reader, topic, {
          onRecord: ({ data }) => words.push(data),
          onGap: (reason) => words.push(reason),
          onError: () => undefined,
        });
        await tail.open();
      }),
    );
    const subscribers = String(await server.send('CLIENT', 'LIST', 'TYPE', 'pubsub'))
      .trim()
      .split('\n');
    expect(subscribers.filter((line) => line.includes('sub=10000'))).toHaveLength(1);
    await server.send('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await Promise.all(topics.slice(0, 500).map((topic, n) => append(writer, topic, n)));
    await eventually(
      () => topics.slice(0, 500).every((topic) => told.get(topic)?.length === 1),
      'what was missed is told',
      DEADLINE_MS,
    );
    await live(reader);
    await Promise.all(topics.slice(500, 1_000).map((topic, n) => append(writer, topic, n + 500)));
    await eventually(
      () => topics.slice(500, 1_000).every((topic) => told.get(topic)?.length === 1),
      'what follows is told',
      DEADLINE_MS,
    );
    expect(topics.slice(0, 1_000).map((topic) => told.get(topic))).toEqual(names(0, 1_000).map((word) => [word]));
  }, 60_000);

  it('says where it was not found, without the password, and what to do', async () => {
    await server.kill();
    const backplane = new RedisBackplane({ url: `redis://someone:secret@127.0.0.1:${server.port}` });
    const failure = await backplane.ready().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'UNAVAILABLE' });
    expect(String(failure)).toContain(`redis://127.0.0.1:${server.port}`);
    expect(String(failure)).toMatch(/ECONNREFUSED.*Start it/);
    expect(String(failure)).not.toContain('secret');
  });
});
