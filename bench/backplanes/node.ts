/** The process of a node: opens a backplane, appends and follows on request, and counts what comes. */
import type { Profiler } from 'node:inspector';
import { Profiling } from '../cpu-profile.js';
import { makeTick, nowMicros, parseMark } from '../mark.js';
import { pace, type Pace } from '../pace.js';
import { percentile } from '../percentile.js';
import { serve } from '../remote.js';
import type { BackplaneUnderTest, OpenBackplane, OpenOptions } from './backplane-under-test.js';

const BYTES = 200;
/** Appends that are on their way at a time where it is not the scenario that says how many. */
const WINDOW = 1_000;

const peers = new URL('../../../peers/', import.meta.url);

async function peer(name: string): Promise<OpenBackplane> {
  return ((await import(new URL(`${name}.mjs`, peers).href)) as { open: OpenBackplane }).open;
}

/** By what is opened; the same backplane may run on engines that are set up differently. */
const OPENERS: Record<string, () => Promise<OpenBackplane>> = {
  memory: async () => (await import('./ours.js')).openMemory,
  journal: async () => (await import('./ours.js')).openJournal,
  'journal-unsynced': async () => (await import('./ours.js')).openJournalUnsynced,
  redis: async () => (await import('./ours.js')).openRedis,
  nats: async () => (await import('./ours.js')).openNats,
  publish: async () => (await import('./publish.js')).open,
  orpc: () => peer('orpc'),
  'socket.io': () => peer('socket-io'),
};

export interface AppendOptions {
  readonly topics: number;
  /** Appends that are on their way at a time, over all topics. */
  readonly window: number;
  readonly forMs: number;
}

export interface Appended {
  readonly appended: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
}

/** What came in since `arm`. */
export interface Received {
  readonly received: number;
  /** Events that were not the next of their topic. */
  readonly wrong: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lastAtMicros: number;
}

export interface Replayed {
  readonly replays: number;
  /** Events that were read. */
  readonly events: number;
  readonly p50Ms: number;
}

/** A topic that this node follows. */
interface Followed {
  /** The newest event's sequence; 0 before the first. */
  last: number;
}

let backplane: BackplaneUnderTest;
/** How many events each topic has. */
const sequences: number[] = [];
const followed: Followed[] = [];
const profiling = new Profiling();
let latenciesMs: number[] = [];
let received = 0;
let wrong = 0;
let gapsBefore = 0;
let lastAtMicros = 0;

/** What the runner calls. */
export const methods = {
  async open({ opener, ...options }: OpenOptions & { opener: string }): Promise<void> {
    const found = OPENERS[opener];
    if (found === undefined) throw new Error(`There is no backplane "${opener}"`);
    backplane = await (await found())(options);
  },

  /** Follows so many topics, those that it follows already included. */
  async follow({ topics }: { topics: number }): Promise<void> {
    const due: Array<Promise<void>> = [];
    while (followed.length < topics) {
      const topic: Followed = { last: 0 };
      due.push(backplane.follow(nameOf(followed.length), (text) => take(topic, text)));
      followed.push(topic);
    }
    await Promise.all(due);
  },

  /** Begins to count. */
  arm(): void {
    (globalThis as { gc?: () => void }).gc?.();
    latenciesMs = [];
    received = 0;
    wrong = 0;
    gapsBefore = backplane.gaps ?? 0;
  },

  received(): Received {
    const sorted = Float64Array.from(latenciesMs).sort();
    return {
      received,
      wrong: wrong + (backplane.gaps ?? 0) - gapsBefore,
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
      lastAtMicros,
    };
  },

  /** Appends as fast as it goes, each topic in turn; answers when all are acknowledged. */
  async append({ topics, window, forMs }: AppendOptions): Promise<Appended> {
    const end = nowMicros() + forMs * 1000;
    const tookMs: number[] = [];
    let turn = 0;
    await inLanes(window, async () => {
      const at = nowMicros();
      if (at >= end) return false;
      await append(turn++ % topics);
      tookMs.push((nowMicros() - at) / 1000);
      return true;
    });
    const sorted = Float64Array.from(tookMs).sort();
    return { appended: sorted.length, ackP50Ms: percentile(sorted, 0.5), ackP99Ms: percentile(sorted, 0.99) };
  },

  /** Appends one event to each of these topics; answers when all are acknowledged. */
  async appendEach({ topics }: { topics: readonly number[] }): Promise<void> {
    let turn = 0;
    await inLanes(WINDOW, async () => {
      const topic = topics[turn++];
      if (topic === undefined) return false;
      await append(topic);
      return true;
    });
  },

  /** Appends at a pace, each topic in turn; an event's time is when it is appended. Answers when all are acknowledged. */
  async pace({ topics, ...options }: Pace & { topics: number }): Promise<{ appended: number }> {
    const taken: Array<Promise<unknown>> = [];
    await pace({ ...options, sleeps: true }, () => {
      taken.push(append(taken.length % topics));
    });
    await Promise.all(taken);
    return { appended: taken.length };
  },

  /** How many of so many topics end, in the log, with another event than the last that was appended; 0 where nobody can tell. */
  async unlike({ topics }: { topics: number }): Promise<number> {
    if (backplane.newest === undefined) return 0;
    let unlike = 0;
    for (let topic = 0; topic < topics; topic += 1) {
      if ((await backplane.newest(nameOf(topic))) !== (sequences[topic] ?? 0)) unlike += 1;
    }
    return unlike;
  },

  /** Replays the last events of topic 0, one replay after the other. */
  async replay({ events, forMs }: { events: number; forMs: number }): Promise<Replayed> {
    if (backplane.placeBefore === undefined || backplane.replay === undefined)
      throw new Error('keeps nothing to replay');
    const place = await backplane.placeBefore(nameOf(0), events);
    const end = nowMicros() + forMs * 1000;
    const tookMs: number[] = [];
    let read = 0;
    for (let at = nowMicros(); at < end;) {
      read += await backplane.replay(nameOf(0), place);
      const now = nowMicros();
      tookMs.push((now - at) / 1000);
      at = now;
    }
    return { replays: tookMs.length, events: read, p50Ms: percentile(Float64Array.from(tookMs).sort(), 0.5) };
  },

  cpuMicros(): number {
    const { user, system } = process.cpuUsage();
    return user + system;
  },

  startProfile(): Promise<void> {
    return profiling.start();
  },

  stopProfile(): Promise<Profiler.Profile | undefined> {
    return profiling.stop();
  },
};

function nameOf(topic: number): string {
  return `bench/${topic}`;
}

function append(topic: number): Promise<unknown> {
  const sequence = (sequences[topic] ?? 0) + 1;
  sequences[topic] = sequence;
  return backplane.append(nameOf(topic), makeTick(sequence, BYTES, nowMicros()));
}

function take(topic: Followed, text: string): void {
  const { sequence, dueMicros } = parseMark(text);
  if (topic.last !== 0 && sequence !== topic.last + 1) wrong += 1;
  topic.last = sequence;
  lastAtMicros = nowMicros();
  latenciesMs.push((lastAtMicros - dueMicros) / 1000);
  received += 1;
}

/** Runs so many loops at a time, each until its step says that it was the last. */
async function inLanes(lanes: number, step: () => Promise<boolean>): Promise<void> {
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (await step());
    }),
  );
}

serve(methods);
