/** What a scenario of backplanes is, and the list of them. */
import { nowMicros } from '../mark.js';
import type { Size } from '../scenario.js';
import { ENTRIES, FLOOR } from './entry.js';
import { range, type Outcome, type Round, type Spent } from './round.js';

export interface Scenario {
  readonly name: string;
  /** What happens, with its numbers. */
  title(size: Size): string;
  /** What the figure that backplanes are compared by is. */
  readonly figure: string;
  readonly better: 'less' | 'more';
  readonly rounds: Readonly<Record<Size, number>>;
  readonly backplanes: Readonly<Record<Size, readonly string[]>>;
  /** A row for each backplane and each of these numbers; of one number the rows do not speak. */
  readonly counts: readonly number[];
  /** The row that a row is compared with: the floor's, or the backplane's own with the first of the counts. */
  readonly reference: 'floor' | 'first count' | null;
  /** Whether a second node follows. */
  readonly follows: boolean;
  /** Whether the follower's connections go through a proxy that can cut them. */
  readonly cuts?: boolean;
  run(round: Round, size: Size, count: number): Promise<Outcome>;
}

/** Set up another way: the same backplane with another answer to when the disk has what was appended. */
const TWINS: ReadonlySet<string> = new Set(['journal-unsynced', 'redis-always', 'nats-always']);
const ALL = among(() => true);
/** Of more than one process, and without the twins. */
const SHARED = among((name) => ENTRIES[name]?.engine !== null && !TWINS.has(name));
const TOPICS = 100;
const MANY_TOPICS = 10_000;

/** Quick runs leave the twins out. */
function among(isIn: (name: string) => boolean): Readonly<Record<Size, readonly string[]>> {
  const full = Object.keys(ENTRIES).filter(isIn);
  return { full, quick: full.filter((name) => !TWINS.has(name)) };
}

/** What each event cost, for the columns of a table. */
function each(spent: Spent, events: number): Record<string, number> {
  const { engineMicros, publisherMicros, followerMicros } = spent;
  return {
    'engine µs': engineMicros / events,
    'publisher µs': publisherMicros / events,
    'follower µs': followerMicros / events,
  };
}

/** Appends as fast as they are acknowledged; nobody follows. */
function closedLoop(name: string, window: number): Scenario {
  return {
    name,
    title: () =>
      `one process appends to ${TOPICS} topics, ${window.toLocaleString('en')} on their way at a time; nobody follows`,
    figure: 'appends a second',
    better: 'more',
    rounds: { full: 3, quick: 1 },
    backplanes: ALL,
    counts: [window],
    reference: 'floor',
    follows: false,
    async run(round, size) {
      await round.append({ topics: TOPICS, window, forMs: size === 'full' ? 500 : 200 });
      await round.begin();
      const { appended, ackP50Ms, ackP99Ms } = await round.append({
        topics: TOPICS,
        window,
        forMs: size === 'full' ? 1_500 : 700,
      });
      const spent = await round.end();
      return {
        value: appended / (spent.wallMs / 1000),
        more: {
          'engine µs': spent.engineMicros / appended,
          'publisher µs': spent.publisherMicros / appended,
          'ack p50 ms': ackP50Ms,
          'ack p99 ms': ackP99Ms,
        },
        counted: appended,
        expected: appended,
        wrong: await round.unlike(TOPICS),
        profiles: spent.profiles,
      };
    },
  };
}

/** One node appends at a pace, another follows. */
function live(options: {
  name: string;
  counts: readonly number[];
  perSecond: number;
  figure: 'p50' | 'cpu';
  backplanes: Scenario['backplanes'];
}): Scenario {
  const { name, counts, perSecond, figure, backplanes } = options;
  const topics = counts.map((count) => count.toLocaleString('en')).join(' and ');
  return {
    name,
    title: (size) =>
      `one node appends ${perSecond.toLocaleString('en')} events a second to ${topics} topics for ${forMs(size) / 1000} s, another follows them`,
    figure:
      figure === 'p50' ? 'from the append to the other node, median, ms' : 'CPU of engine and nodes per event, µs',
    better: 'less',
    rounds: { full: figure === 'p50' ? 5 : 3, quick: 1 },
    backplanes,
    counts,
    reference: figure === 'p50' ? 'floor' : 'first count',
    follows: true,
    async run(round, size, count) {
      await round.follow(count);
      const warm = await round.pace({ topics: count, perSecond, forMs: 300 });
      await round.settle(warm);
      await round.begin();
      const appended = await round.pace({ topics: count, perSecond, forMs: forMs(size) });
      await round.settle(appended);
      const spent = await round.end();
      const { received, wrong, p50Ms, p99Ms } = await round.received();
      const cpu = (spent.engineMicros + spent.publisherMicros + spent.followerMicros) / appended;
      return {
        value: figure === 'p50' ? p50Ms : cpu,
        more: { ...(figure === 'p50' ? {} : { 'p50 ms': p50Ms }), 'p99 ms': p99Ms, ...each(spent, appended) },
        counted: received,
        expected: appended,
        wrong: wrong + (await round.unlike(Math.min(count, TOPICS))),
        profiles: spent.profiles,
      };
    },
  };
}

function forMs(size: Size): number {
  return size === 'full' ? 2_000 : 1_000;
}

const reconnect: Scenario = {
  name: 'reconnect',
  title: () =>
    `a node follows ${MANY_TOPICS.toLocaleString('en')} topics and its connections are cut; it misses an event on none of them, or on each`,
  figure: 'from when it can connect again until each topic has handed an event over, ms',
  better: 'less',
  rounds: { full: 3, quick: 1 },
  backplanes: SHARED,
  counts: [0, MANY_TOPICS],
  reference: 'first count',
  follows: true,
  cuts: true,
  async run(round, _size, missed) {
    await round.follow(MANY_TOPICS);
    await round.begin();
    round.proxy.cut();
    await round.appendEach(range(missed));
    const mendedAt = nowMicros() / 1000;
    round.proxy.mend();
    await round.appendEach(range(MANY_TOPICS).slice(missed));
    const appendedAt = nowMicros() / 1000;
    const received = await round.settle(MANY_TOPICS);
    const lost = MANY_TOPICS - received;
    const spent = await round.end();
    const { wrong, lastAtMicros } = await round.received();
    return {
      value: lost === 0 ? lastAtMicros / 1000 - mendedAt : Infinity,
      more: {
        'appended after ms': missed === 0 ? appendedAt - mendedAt : 0,
        'engine ms': spent.engineMicros / 1000,
        'follower ms': spent.followerMicros / 1000,
      },
      counted: received,
      expected: MANY_TOPICS,
      // After each loss one event is not the next.
      wrong: Math.max(0, wrong - lost),
      profiles: spent.profiles,
    };
  },
};

const replay: Scenario = {
  name: 'replay',
  title: (size) =>
    `the last 50 and the last 1,000 events of a topic, one replay after the other for ${forMs(size) / 2_000} s`,
  figure: 'a replay, median, ms',
  better: 'less',
  rounds: { full: 3, quick: 1 },
  backplanes: among((name) => name !== FLOOR && !TWINS.has(name)),
  counts: [50, 1_000],
  reference: null,
  follows: false,
  async run(round, size, count) {
    await round.appendEach(range(1_100).map(() => 0));
    await round.begin();
    const { replays, events, p50Ms } = await round.replay({ events: count, forMs: forMs(size) / 2 });
    const spent = await round.end();
    return {
      value: p50Ms,
      more: {
        'engine µs': spent.engineMicros / replays,
        'node µs': spent.publisherMicros / replays,
        'engine µs per event': spent.engineMicros / events,
      },
      counted: events,
      expected: replays * count,
      wrong: 0,
      profiles: spent.profiles,
    };
  },
};

export const SCENARIOS: readonly Scenario[] = [
  closedLoop('append', 1_000),
  closedLoop('alone', 1),
  live({ name: 'live', counts: [TOPICS], perSecond: 1_000, figure: 'p50', backplanes: ALL }),
  live({ name: 'topics', counts: [10, MANY_TOPICS], perSecond: 5_000, figure: 'cpu', backplanes: SHARED }),
  reconnect,
  replay,
];
