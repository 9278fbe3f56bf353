/** One fault with one seed: a cluster under load while the fault is done to it, and what became of the promise. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Backplane } from '@sse-channels/engine';
import { compareOffsets, parseCursor } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { Dice } from '../endurance/fuzz/dice.js';
import { Breaches } from './breaches.js';
import { Cluster, HEARTBEAT_MS, type ClusterSettings } from './cluster.js';
import { ClusterClient, type Given } from './cluster-client.js';
import { openBackplane, type EngineName } from './engine.js';
import { Publisher } from './publisher.js';
import { Storm, type StormPlay } from './storm.js';
import { judgeClient, judgeLog, type FinalLogs, type LogRecord } from './verdict.js';

/** How much is done to a cluster. */
export interface Load {
  readonly clients: number;
  readonly topics: number;
  /** Numbers published over all topics. */
  readonly perSecond: number;
  readonly seconds: number;
  /** How long publishers, and then clients, have to come to their ends after the fault, in milliseconds. */
  readonly settleMs: number;
}

/** What a fault may do to what is published. */
export interface Allowance {
  /** Gaps where something is missing; needless ones are never allowed. @default false */
  readonly gaps?: boolean;
  /** The engine may lose what it acknowledged. @default false */
  readonly lost?: boolean;
  /** Publishing may come back later than the engine, since something else stands in its way. @default false */
  readonly late?: boolean;
}

export interface TrialSettings {
  readonly engine: EngineName;
  readonly seed: number;
  readonly load: Load;
  readonly cluster?: Omit<ClusterSettings, 'engine'>;
  readonly allow?: Allowance;
  /** Every client reads so many topics; about a quarter of the clients when absent. */
  readonly topicsOfEach?: number;
  /** The most that is published at once without awaiting it. @default 8 */
  readonly maxBurst?: number;
  /** The longest silence that clients bear, in milliseconds. @default two and a half heartbeats */
  readonly silenceMs?: number;
  readonly storm: StormPlay;
  /** Where the output of the processes is kept when a promise was broken; null: nowhere. */
  readonly evidence: string | null;
}

export interface TrialOutcome {
  readonly acknowledged: number;
  readonly delivered: number;
  /** How often clients came back. */
  readonly closes: number;
  readonly gaps: number;
  /** Acknowledged and lost by the engine, where that is allowed. */
  readonly lost: number;
  /** From the engine's return until every node had an event acknowledged, at most, in milliseconds; null: it was never away. */
  readonly backMs: number | null;
  /** The longest time until a publish was settled, in milliseconds. */
  readonly slowestMs: number;
  readonly longestCursor: number;
  /** What was broken, in words; empty when every promise was kept. */
  readonly breaches: readonly string[];
}

/** A client of several topics reads so many. */
const SEVERAL = 25;
const MAX_BURST = 8;
/** The longest cursor, in bytes. */
const MAX_CURSOR = 256;
const PAGE = 500;

export async function runTrial(settings: TrialSettings): Promise<TrialOutcome> {
  const cluster = await Cluster.start({ engine: settings.engine, ...settings.cluster });
  try {
    return await play(cluster, settings);
  } finally {
    await cluster.stop();
  }
}

async function play(cluster: Cluster, settings: TrialSettings): Promise<TrialOutcome> {
  const { seed, load } = settings;
  const topics = Array.from({ length: load.topics }, (_, index) => `t${index}`);
  const acknowledgements: Acknowledgement[] = [];
  const publishers = topics.map(
    (topic, index) =>
      new Publisher(
        {
          port: index % 2 === 0 ? cluster.port : cluster.calmPort,
          topic,
          kind: index % 2 === 0 ? 'keyed' : 'burst',
          perSecond: load.perSecond / load.topics,
          maxBurst: settings.maxBurst ?? MAX_BURST,
          onAcknowledged: (node) => acknowledgements.push({ node, at: performance.now() }),
        },
        Dice.ofCase(seed, 1_000 + index),
      ),
  );
  const clients = clientsOf(cluster, settings, topics);
  // On a busy machine a node may answer late; nothing is published yet.
  await Promise.all(
    clients.map((client, index) =>
      eventually(() => client.begin().then(isTrue, isFalse), `client ${index} is let in`, load.settleMs),
    ),
  );
  const breaches = new Breaches();
  const publishing = Promise.all(publishers.map((publisher) => publisher.run()));
  try {
    await new Storm(cluster, clients, Dice.ofCase(seed, -1), load.seconds).play(settings.storm);
  } finally {
    for (const publisher of publishers) publisher.stop();
    await cluster.heal();
  }
  if (!(await within(load.settleMs, publishing))) {
    breaches.add(
      'publishes that were never answered',
      publishers
        .filter(({ last, unknown }) => unknown.has(last))
        .map(({ last, settings: { topic } }) => `${topic}/${last}`),
    );
    for (const publisher of publishers) publisher.abandon();
  }
  const logs = await finalLogs(cluster, topics);
  const history = historyOf(logs, publishers, settings.allow ?? {});
  await eventually(
    () => clients.every((client) => isAtEnd(client, history)),
    'every client is at the end',
    load.settleMs,
  ).catch(() => undefined);
  await Promise.all(clients.map((client) => client.end()));

  let lost = 0;
  for (const publisher of publishers) {
    const { topic } = publisher.settings;
    const { lost: lostHere, ...wrong } = judgeLog(logs.get(topic) ?? [], publisher);
    const named = (numbers: readonly number[]): string[] => numbers.map((number) => `${topic}/${number}`);
    lost += lostHere.length;
    if (settings.allow?.lost !== true && !trims(settings)) breaches.add('acknowledged and lost', named(lostHere));
    for (const [what, numbers] of Object.entries(wrong)) breaches.add(`${what} in the log`, named(numbers));
    breaches.add('publishes that failed', publisher.failures);
  }
  let gaps = 0;
  for (const [index, client] of clients.entries()) {
    const { gaps: told, needless, ...wrong } = judgeClient(client.given, client.settings.topics, history);
    gaps += told;
    for (const [what, names] of Object.entries(wrong)) {
      breaches.add(
        `${what} at clients`,
        names.map((name) => `${name} at ${index}`),
      );
    }
    const reasons = client.given.flatMap((item) => ('gap' in item ? [`${item.gap} of ${item.topic} at ${index}`] : []));
    if (settings.allow?.gaps !== true) breaches.add('gaps told', reasons);
    // Where the engine lost something, a topic may be told of what it did not get, or might have got.
    else if (settings.allow.lost !== true && needless > 0) {
      breaches.add('clients that were told gaps where nothing is missing', [`${index}: ${reasons.join(', ')}`]);
    }
    breaches.add('answers to clients that are no stream', client.refusals);
  }
  breaches.add('alarms', cluster.alarms);
  const longestCursor = Math.max(...clients.map((client) => client.longestCursor));
  if (longestCursor > MAX_CURSOR) breaches.add('cursor that is too long', [`${longestCursor} bytes`]);
  if (acknowledgements.length === 0) breaches.add('time without any acknowledgement', ['all of it']);
  if (breaches.lines.length > 0 && settings.evidence !== null) {
    cluster.keepOutput(settings.evidence);
    keepGiven(settings.evidence, clients, history);
  }
  return {
    acknowledged: publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0),
    delivered: clients.reduce((sum, { given }) => sum + given.length, 0),
    closes: clients.reduce((sum, { closes }) => sum + closes, 0),
    gaps,
    lost,
    backMs: backAfter(cluster, acknowledgements),
    slowestMs: Math.max(...publishers.map(({ slowestMs }) => slowestMs)),
    longestCursor,
    breaches: breaches.lines,
  };
}

function clientsOf(cluster: Cluster, settings: TrialSettings, topics: readonly string[]): ClusterClient[] {
  const { load, seed, topicsOfEach, silenceMs = HEARTBEAT_MS * 2.5 } = settings;
  const dice = Dice.ofCase(seed, 0);
  return Array.from({ length: load.clients }, (_, index) => {
    const count = Math.min(topics.length, topicsOfEach ?? (index % 4 === 0 ? SEVERAL : 1));
    const first =
      index % 4 === 0 || topicsOfEach !== undefined ? Math.floor((index * SEVERAL) / 4) : dice.below(topics.length);
    const chosen = Array.from({ length: count }, (__, at) => topics[(first + at) % topics.length] as string);
    return new ClusterClient({ port: cluster.port, topics: chosen, silenceMs }, Dice.ofCase(seed, 1 + index));
  });
}

/** Reads every topic's log to its end, past all links. */
async function finalLogs(cluster: Cluster, topics: readonly string[]): Promise<Map<string, LogRecord[]>> {
  const { engine } = cluster;
  const logs = new Map<string, LogRecord[]>();
  const backplane = openBackplane(engine.address);
  await backplane.ready();
  try {
    for (const topic of topics) logs.set(topic, await readLog(backplane, `topics/${topic}`));
  } finally {
    await backplane.close();
  }
  return logs;
}

export async function readLog(backplane: Backplane, topic: string): Promise<LogRecord[]> {
  const log: LogRecord[] = [];
  for (let after: string | null = null; ;) {
    const page = await backplane.read(topic, after, PAGE);
    for (const { offset, data } of page.records) {
      log.push({ number: (JSON.parse(data) as { number: number }).number, offset });
    }
    if (!page.more) return log;
    after = log.at(-1)?.offset ?? null;
  }
}

function trims({ cluster }: TrialSettings): boolean {
  return cluster?.keepEvents !== undefined;
}

/** What clients were to be given: the log, and where it lost nothing but what retention took, what was acknowledged before. */
function historyOf(logs: Map<string, LogRecord[]>, publishers: readonly Publisher[], allow: Allowance): FinalLogs {
  if (allow.lost === true) return logs;
  return new Map(
    publishers.map(({ settings: { topic }, acknowledged }) => {
      const log = logs.get(topic) ?? [];
      const kept = new Set(log.map(({ number }) => number));
      const gone = [...acknowledged].flatMap(([number, cursor]) => {
        const offset = parseCursor(cursor)?.offset;
        return kept.has(number) || offset === undefined ? [] : [{ number, offset }];
      });
      return [topic, [...gone, ...log].sort((one, other) => compareOffsets(one.offset, other.offset))];
    }),
  );
}

function isAtEnd({ settings: { topics }, reached }: ClusterClient, history: FinalLogs): boolean {
  return topics.every((topic) => {
    const last = history.get(topic)?.at(-1);
    return last === undefined || reached.get(topic) === last.number;
  });
}

interface Acknowledgement {
  readonly node: string;
  readonly at: number;
}

/**
 * The longest time from the engine's return until a node had an event acknowledged. A node that was not asked for long enough
 * before the engine went again says nothing.
 */
function backAfter({ outages, nodes }: Cluster, acknowledgements: readonly Acknowledgement[]): number | null {
  let longest: number | null = null;
  for (const [index, { to }] of outages.entries()) {
    const until = outages[index + 1]?.from ?? Infinity;
    for (const { server } of nodes) {
      const first = acknowledgements.find(({ node, at }) => node === server.name && at >= to && at < until);
      if (first !== undefined) longest = Math.max(longest ?? 0, first.at - to);
    }
  }
  return longest;
}

async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const over = new AbortController();
  try {
    return await Promise.race([promise.then(() => true), pause(ms, false, { signal: over.signal })]);
  } finally {
    over.abort();
  }
}

/** Writes what each client was given of each of its topics, and what the log has: a line each. */
function keepGiven(directory: string, clients: readonly ClusterClient[], history: FinalLogs): void {
  const textOf = (item: Given): string => ('gap' in item ? item.gap : `${item.number}@${item.offset}`);
  const lines = clients.flatMap(({ given, settings: { topics } }, index) => [
    `client ${index}: ${given.map((item) => `${item.topic}/${textOf(item)}`).join(' ')}`,
    ...topics.map((topic) => {
      const items = given.filter((item) => item.topic === topic).map(textOf);
      return `client ${index} ${topic}: ${items.join(' ')}`;
    }),
  ]);
  for (const [topic, log] of history) {
    lines.push(`log ${topic}: ${log.map(({ number, offset }) => `${number}@${offset}`).join(' ')}`);
  }
  writeFileSync(join(directory, 'given.txt'), `${lines.join('\n')}\n`);
}

const isTrue = (): boolean => true;
const isFalse = (): boolean => false;

/** Where the evidence of a trial is kept. */
export function evidenceOf(fault: string, engine: EngineName, seed: number): string {
  return join('artifacts', 'chaos', `${fault.replaceAll(' ', '-')}-${engine}-${seed}`);
}
