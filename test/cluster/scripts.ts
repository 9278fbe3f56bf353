/** Faults that are told step by step: few events, each looked at, instead of a load. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Backplane, BackplaneState } from '@sse-channels/engine';
import { compareOffsets, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { Dice } from '../endurance/fuzz/dice.js';
import { RedisServer } from '../engines/redis-server.js';
import { FaultyLink } from '../faulty-link.js';
import { Cluster, HEARTBEAT_MS } from './cluster.js';
import { ClusterClient } from './cluster-client.js';
import { openBackplane, startEngine, type EngineName } from './engine.js';
import { Publisher } from './publisher.js';
import { readLog } from './trial.js';
import { judgeClient, type LogRecord } from './verdict.js';

export interface ScriptSettings {
  readonly engine: EngineName;
  readonly seed: number;
  /** Smaller and without a judgement of times: for machines that do other things meanwhile. */
  readonly short: boolean;
  readonly evidence: string | null;
}

/** What a script found. */
export interface ScriptOutcome {
  readonly breaches: readonly string[];
  /** What was measured, in words. */
  readonly told: string;
}

const KEEP: Retention = { maxEvents: 100_000, maxAgeMs: 3_600_000, maxBytes: 2 ** 30 };
const TOPIC = 't0';
/** How long clients have to be given something, in milliseconds. */
const PATIENCE_MS = 15_000;

/** A cluster with one topic, whose every event is published when the script says so. */
class Stage {
  readonly breaches: string[] = [];
  readonly publisher: Publisher;
  readonly #clients: ClusterClient[] = [];

  constructor(
    readonly cluster: Cluster,
    readonly dice: Dice,
  ) {
    this.publisher = new Publisher(
      { port: cluster.port, topic: TOPIC, kind: 'keyed', perSecond: 1, maxBurst: 1, onAcknowledged: () => undefined },
      dice,
    );
  }

  /** Publishes the next so many, each when the one before was acknowledged. */
  async publish(count: number): Promise<void> {
    for (let published = 0; published < count; published += 1) await this.publisher.publish(1);
  }

  async client(cursor?: string): Promise<ClusterClient> {
    const client = new ClusterClient(
      {
        port: this.cluster.port,
        topics: [TOPIC],
        silenceMs: HEARTBEAT_MS * 2.5,
        ...(cursor === undefined ? {} : { cursor }),
      },
      this.dice,
    );
    this.#clients.push(client);
    // Right after a fault a node may answer 503.
    await eventually(
      () =>
        client.begin().then(
          () => true,
          () => false,
        ),
      'a client is let in',
      PATIENCE_MS,
    );
    return client;
  }

  /** Waits until a client was given everything that was published; says so where it was not. */
  async reaches(client: ClusterClient, who: string): Promise<void> {
    const { last } = this.publisher;
    await eventually(() => client.reached.get(TOPIC) === last, `${who} is given ${last}`, PATIENCE_MS).catch(() =>
      this.breaches.push(`${who} stands at ${client.reached.get(TOPIC) ?? 'nothing'}, not at ${last}`),
    );
  }

  demand(holds: boolean, breach: string): void {
    if (!holds) this.breaches.push(breach);
  }

  /** Judges a client by the records of the log after its beginning. */
  judge(client: ClusterClient, who: string, log: readonly LogRecord[]): void {
    const { missed, doubled, reordered, untold } = judgeClient(client.given, [TOPIC], new Map([[TOPIC, log]]));
    for (const [what, names] of Object.entries({ missed, doubled, reordered, untold })) {
      this.demand(names.length === 0, `${who}: ${what} ${names.slice(0, 8).join(', ')}`);
    }
  }

  async log(): Promise<LogRecord[]> {
    const backplane = openBackplane(this.cluster.engine.address);
    await backplane.ready();
    try {
      return await readLog(backplane, `topics/${TOPIC}`);
    } finally {
      await backplane.close();
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()));
  }
}

async function onStage(settings: ScriptSettings, play: (stage: Stage) => Promise<string>): Promise<ScriptOutcome> {
  const cluster = await Cluster.start({ engine: settings.engine });
  const stage = new Stage(cluster, Dice.ofCase(settings.seed, 0));
  try {
    const told = await play(stage);
    await stage.end();
    const breaches = [...stage.breaches, ...cluster.alarms];
    if (breaches.length > 0 && settings.evidence !== null) cluster.keepOutput(settings.evidence);
    return { breaches, told };
  } finally {
    await cluster.stop();
  }
}

/** An older store comes back: what was acknowledged since is gone, clients know of it, and what comes next reaches them all. */
export function rewoundStore(settings: ScriptSettings): Promise<ScriptOutcome> {
  return onStage(settings, async (stage) => {
    const [server] = stage.cluster.engine.servers;
    const live = await stage.client();
    await stage.publish(93);
    await stage.reaches(live, 'the live client');
    const at93 = live.cursor;
    await stage.publish(2);
    await server?.kill();
    server?.save();
    await server?.start();
    await stage.publish(5);
    await stage.reaches(live, 'the live client');
    const at100 = live.cursor;
    await server?.kill();
    server?.restore();
    await server?.start();
    await stage.publish(8);
    const from93 = await stage.client(at93);
    const from100 = await stage.client(at100);
    const all = { 'the live client': live, 'the client from 93': from93, 'the client from 100': from100 };
    for (const [who, client] of Object.entries(all)) await stage.reaches(client, who);
    const log = await stage.log();
    stage.demand(log.length === 103, `the log has ${log.length} records, not 95 and 8`);
    stage.judge(live, 'the live client', log);
    stage.judge(
      from93,
      'the client from 93',
      log.filter(({ number }) => number > 93),
    );
    stage.judge(
      from100,
      'the client from 100',
      log.filter(({ number }) => number > 100),
    );
    const reasons = [live, from100].map(({ given }) => given.flatMap((item) => ('gap' in item ? [item.gap] : [])));
    stage.demand(
      reasons.every((told) => told.length > 0),
      'a client whose events are gone was told nothing',
    );
    return `told ${reasons.flat().join(', ')}`;
  });
}

/** Everything is flushed, then a topic's head is evicted: it is told, and live goes on. */
export function flushedStore(settings: ScriptSettings): Promise<ScriptOutcome> {
  return onStage(settings, async (stage) => {
    const redis = stage.cluster.engine.servers[0] as RedisServer;
    const live = await stage.client();
    await stage.publish(20);
    await stage.reaches(live, 'the live client');
    const before = live.cursor;
    await redis.send('FLUSHALL');
    await stage.publish(20);
    await stage.reaches(live, 'the live client');
    const back = await stage.client(before);
    await stage.reaches(back, 'the client from before');
    const log = await stage.log();
    stage.demand(log.length === 20, `the log has ${log.length} records, not the 20 since it was flushed`);
    stage.judge(live, 'the live client', log);
    stage.judge(back, 'the client from before', log);
    const reasons = [live, back].map(({ given }) => given.flatMap((item) => ('gap' in item ? [item.gap] : [])));
    stage.demand(
      reasons.every((told) => told.includes('reset')),
      `reset was not told, but: ${JSON.stringify(reasons)}`,
    );
    const evicted = (await redis.send('KEYS', '*')) as string[];
    for (const key of evicted) {
      if (key.includes(TOPIC) && (await redis.send('TYPE', key)) === 'string') await redis.send('DEL', key);
    }
    await stage.publish(20);
    for (const client of [live, back]) await stage.reaches(client, 'a client after the eviction');
    const after = await stage.client();
    await stage.publish(1);
    await stage.reaches(after, 'a client that came after the eviction');
    return `told ${reasons.flat().join(', ')}`;
  });
}

/** The engine is away: publishes fail by their deadline, streams stay open, and then all goes on. */
export function engineAway(settings: ScriptSettings): Promise<ScriptOutcome> {
  return onStage(settings, async (stage) => {
    const [server] = stage.cluster.engine.servers;
    const live = await stage.client();
    await stage.publish(3);
    await stage.reaches(live, 'the live client');
    const burst = new Publisher({ ...stage.publisher.settings, topic: 't1', kind: 'burst' }, stage.dice);
    await server?.kill();
    const began = performance.now();
    await Promise.race([burst.publish(10), pause(30_000)]);
    const tookMs = performance.now() - began;
    stage.demand(burst.acknowledged.size === 0, 'something was acknowledged without an engine');
    stage.demand(
      burst.slowestMs > 0 && burst.failures.length === 0,
      `publishes ended with ${burst.failures.join(', ') || 'no answer within 30 s'}`,
    );
    // Longer than a client bears without a heartbeat.
    await pause(Math.max(0, HEARTBEAT_MS * 3 - tookMs));
    stage.demand(live.closes === 0, `the stream was closed ${live.closes} times while the engine was away`);
    await server?.start();
    await stage.publish(3);
    await stage.reaches(live, 'the live client');
    stage.demand(live.closes === 0, `the stream was closed ${live.closes} times`);
    stage.judge(live, 'the live client', await stage.log());
    return `10 publishes rejected after ${Math.round(burst.slowestMs)} ms, ${burst.notWritten.size} of them as not written`;
  });
}

/** Random cursors are read from while little is kept: where something is missing it is told. */
export async function randomCursors({ engine: name, seed }: ScriptSettings): Promise<ScriptOutcome> {
  const reads = 1_000;
  const dice = Dice.ofCase(seed, 0);
  const engine = await startEngine(name);
  const backplane = openBackplane(engine.address);
  const topics = Array.from({ length: 5 }, (_, index) => `random/${index}`);
  const appended: Array<{ readonly topic: string; readonly offset: Offset }> = [];
  const breaches: string[] = [];
  let told = 0;
  let needless = 0;
  try {
    await backplane.ready();
    // Redis trims in whole nodes of a stream.
    const retention = { ...KEEP, maxEvents: 40 };
    for (let batch = 0; batch < 60; batch += 1) {
      const lot = Array.from({ length: 25 }, () => dice.pick(topics));
      const cursors = await Promise.all(
        lot.map((topic) => backplane.append(topic, { name: 'random', data: '{}' }, retention)),
      );
      for (const [index, cursor] of cursors.entries()) {
        appended.push({ topic: lot[index] as string, offset: parseCursor(cursor)?.offset as Offset });
      }
    }
    appended.sort((one, other) => compareOffsets(one.offset, other.offset));
    for (let read = 0; read < reads; read += 1) {
      const topic = dice.pick(topics);
      const { offset } = dice.pick(appended);
      const page = await backplane.read(topic, offset, 10_000);
      const due = appended.filter((item) => item.topic === topic && compareOffsets(item.offset, offset) > 0);
      const given = page.records.map((record) => record.offset);
      const whole = due.length === given.length && due.every((item, index) => item.offset === given[index]);
      const tail = due.slice(due.length - given.length).every((item, index) => item.offset === given[index]);
      if (!tail) breaches.push(`a read of ${topic} after ${offset} gave what is not the log's end`);
      if (page.intact && !whole) breaches.push(`a read of ${topic} after ${offset} says that it is whole, and is not`);
      if (!page.intact) told += 1;
      if (!page.intact && whole) needless += 1;
    }
    if (name === 'redis' && needless > 0)
      breaches.push(`${needless} of ${reads} reads told a gap where nothing is missing`);
    if (told === 0 || told === reads) breaches.push(`${told} of ${reads} reads told a gap: nothing was tried`);
  } finally {
    await backplane.close();
    await engine.stop();
  }
  return { breaches, told: `${reads} reads, ${told} gaps, ${needless} of them needless` };
}

/** Very many topics on one node: few connections, and all of them live again soon after these are cut. */
export async function manyTopics({ engine: name, seed, short }: ScriptSettings): Promise<ScriptOutcome> {
  const count = short ? 2_000 : 10_000;
  const dice = Dice.ofCase(seed, 0);
  const engine = await startEngine(name);
  const link = await FaultyLink.listen(`tcp://${engine.address.hosts[0]}`);
  const node = openBackplane({ ...engine.address, hosts: [`127.0.0.1:${link.port}`] });
  const writer = openBackplane(engine.address);
  const breaches: string[] = [];
  try {
    const states: Array<{ readonly state: BackplaneState; readonly at: number }> = [];
    await node.ready({ onState: (state) => states.push({ state, at: performance.now() }) });
    await writer.ready();
    const given = new Map<string, number>();
    const suspected = new Set<string>();
    await Promise.all(
      Array.from({ length: count }, (_, index) => {
        const topic = `many/${index}`;
        return node.tail(
          topic,
          () => given.set(topic, (given.get(topic) ?? 0) + 1),
          () => suspected.add(topic),
        );
      }),
    );
    const { connections } = link;
    const most = name === 'redis' ? 2 : 1;
    if (connections > most) breaches.push(`${connections} connections for ${count} topics, more than ${most}`);
    const chosen = new Set(Array.from({ length: 100 }, () => `many/${dice.below(count)}`));
    await appendEach(writer, chosen);
    await eventually(() => given.size === chosen.size, 'records come before the cut');
    const cutAt = performance.now();
    link.cut();
    const missed = new Set(Array.from({ length: 100 }, () => `many/${dice.below(count)}`));
    await appendEach(writer, missed);
    await eventually(() => states.at(-1)?.state === 'live', 'the backplane is live again', PATIENCE_MS);
    const live = states.at(-1)?.at ?? cutAt;
    // From when it could connect again: it waits on purpose before it does.
    const backAt = states.findLast(({ state }) => state === 'catching-up')?.at ?? cutAt;
    const silent = [...missed].filter(
      (topic) => !suspected.has(topic) && (given.get(topic) ?? 0) < (chosen.has(topic) ? 2 : 1),
    );
    if (silent.length > 0)
      breaches.push(`${silent.length} topics got records while it was cut off, and were told nothing`);
    given.clear();
    await appendEach(writer, chosen);
    await eventually(() => given.size === chosen.size, 'records come after the cut', PATIENCE_MS).catch(() =>
      breaches.push(`${chosen.size - given.size} topics of ${chosen.size} are not live again`),
    );
    const againMs = Math.round(live - backAt);
    if (!short && againMs > 1_000) breaches.push(`live again after ${againMs} ms, more than 1,000`);
    return {
      breaches,
      told: `${count} topics over ${connections} connections, live again ${againMs} ms after the reconnect, ${Math.round(live - cutAt)} ms after the cut`,
    };
  } finally {
    await node.close();
    await writer.close();
    await link.close();
    await engine.stop();
  }
}

async function appendEach(backplane: Backplane, topics: Iterable<string>): Promise<void> {
  await Promise.all([...topics].map((topic) => backplane.append(topic, { name: 'many', data: '{}' }, KEEP)));
}
