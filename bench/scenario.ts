/** What a scenario is, and the list of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome, Round } from './round.js';

/** How much of a scenario is run. */
export type Size = 'full' | 'quick';

export interface Scenario {
  readonly name: string;
  /** What happens, with its numbers. */
  title(size: Size): string;
  /** What the figure that servers are compared by is. */
  readonly figure: string;
  readonly better: 'less' | 'more';
  readonly connections: Readonly<Record<Size, number>>;
  readonly rounds: Readonly<Record<Size, number>>;
  /** A server process of its own for each round: for memory, which a process does not forget. */
  readonly fresh?: boolean;
  readonly heartbeatMs?: (size: Size) => number;
  readonly servers: Readonly<Record<Size, readonly string[]>>;
  run(round: Round, size: Size): Promise<Outcome>;
}

const OURS = ['ours-fastify', 'ours-express'];
const NEST = ['nest-fastify', 'nest-express'];
const LIBRARIES = ['better-sse', 'fastify-sse', 'hono', 'trpc'];
export const ALL_SERVERS = [...OURS, ...NEST, ...LIBRARIES, 'naive', 'takeover', 'limit', 'nchan'];
/** Ours for a stream of one connection, which encodes for each. */
export const STREAM = 'ours-stream';
/** Ours where each stream carries many topics. */
export const HUB = 'ours-hub';
/** The same, where one of the topics is each stream's own. */
export const OWN_HUB = 'ours-hub-own';
const WITHOUT_QUEUES = ALL_SERVERS.filter((name) => name !== 'trpc' && name !== 'hono');
const BYTES = 200;

const micros = 'CPU of the server per delivered event, µs';

/** One burst of events at a time to many connections; the next when everyone has the last. */
function fanOut(options: {
  name: string;
  connections: number;
  channels?: number;
  burst?: number;
  quickServers: readonly string[];
  servers?: readonly string[];
  rounds?: number;
}): Scenario {
  const { name, connections, channels = 1, burst = 1, quickServers, servers = ALL_SERVERS, rounds = 3 } = options;
  const what = burst === 1 ? 'one event at a time' : `bursts of ${burst} events`;
  const where =
    channels === 1
      ? `to ${connections.toLocaleString('en')} connections`
      : `to each of ${channels.toLocaleString('en')} channels with ${connections / channels} of ${connections.toLocaleString('en')} connections`;
  return {
    name,
    title: () => `${what} ${where}, ${BYTES} bytes`,
    figure: micros,
    better: 'less',
    connections: { full: connections, quick: connections },
    rounds: { full: rounds, quick: 2 },
    servers: { full: servers, quick: quickServers },
    async run(round, size) {
      await round.open({ connections, channels });
      const publish = { channels, events: burst, bytes: BYTES };
      await round.warm(publish, size === 'full' ? 1_000 : 200);
      await round.begin();
      const until = Date.now() + (size === 'full' ? 2_000 : 500);
      do await round.deliver(publish);
      while (Date.now() < until);
      const spent = await round.end();
      return { value: spent.cpuMicros / spent.delivered, spent };
    },
  };
}

/** Events at a pace, whether or not everyone has the last. */
function paced(options: {
  name: string;
  connections: Readonly<Record<Size, number>>;
  perSecond: Readonly<Record<Size, number>>;
  forMs: Readonly<Record<Size, number>>;
  figure: 'cpu' | 'p50' | 'p99' | 'rate';
  bytes?: number;
  stalled?: number;
  servers?: Partial<Record<Size, readonly string[]>>;
  rounds?: number;
}): Scenario {
  const { name, connections, perSecond, forMs, figure, bytes = BYTES, stalled = 0, rounds = 2 } = options;
  const figures = {
    cpu: micros,
    p50: 'latency, median, ms',
    p99: 'latency, 99th percentile, ms',
    rate: 'deliveries per second at which it settles',
  };
  return {
    name,
    title: (size) =>
      `${perSecond[size]} events a second to ${connections[size].toLocaleString('en')} connections for ${forMs[size] / 1000} s, ${bytes.toLocaleString('en')} bytes` +
      (stalled > 0 ? `; ${stalled} of them never reads` : ''),
    figure: figures[figure],
    better: figure === 'rate' ? 'more' : 'less',
    connections,
    rounds: { full: rounds, quick: 1 },
    servers: { full: ALL_SERVERS, quick: [], ...options.servers },
    async run(round, size) {
      await round.open({ connections: connections[size], stalled });
      await round.warm({ channels: 1, events: 1, bytes }, size === 'full' ? 1_000 : 200);
      await round.begin();
      const tookMs = await round.pace({ perSecond: perSecond[size], forMs: forMs[size], bytes });
      const spent = await round.end();
      const values = {
        cpu: spent.cpuMicros / spent.delivered,
        p50: spent.latencyP50Ms,
        p99: spent.latencyP99Ms,
        rate: spent.delivered / (tookMs / 1000),
      };
      return { value: values[figure], spent };
    },
  };
}

const idle: Scenario = {
  name: 'idle',
  title: (size) =>
    `${idle.connections[size].toLocaleString('en')} idle connections with a heartbeat every ${size === 'full' ? 15 : 2} s`,
  figure: 'resident memory per connection, KiB',
  better: 'less',
  connections: { full: 10_000, quick: 2_500 },
  rounds: { full: 2, quick: 1 },
  fresh: true,
  heartbeatMs: (size) => (size === 'full' ? 15_000 : 2_000),
  servers: {
    full: ALL_SERVERS.filter((name) => name !== 'trpc' && name !== 'naive'),
    quick: [...OURS, 'nest-fastify'],
  },
  async run(round, size) {
    // What the first connections cost is code and pools; what the others cost is theirs.
    const first = 500;
    const others = idle.connections[size] - first;
    await round.open({ connections: first });
    const before = (await round.memory()).rssBytes;
    await round.open({ connections: others });
    const bytes = (await round.memory()).rssBytes - before;
    await round.begin({ delay: false });
    // One heartbeat of each, or a little more.
    await sleep(size === 'full' ? 15_500 : 2_000);
    const spent = await round.end();
    return {
      value: bytes / 1024 / others,
      spent,
      more: { 'idle CPU %': (spent.cpuMicros / 1000 / spent.wallMs) * 100 },
    };
  },
};

const STORMS_BEFORE = 3;

const storm: Scenario = {
  name: 'storm',
  title: (size) =>
    `${storm.connections[size].toLocaleString('en')} clients reconnect at once, each with 100 events to replay`,
  figure: 'CPU of the server per reconnect, ms',
  better: 'less',
  connections: { full: 5_000, quick: 1_000 },
  rounds: { full: 2, quick: 1 },
  fresh: true,
  servers: { full: ALL_SERVERS, quick: ['ours-fastify', 'nest-fastify', 'nchan'] },
  async run(round, size) {
    const connections = storm.connections[size];
    const events = 100;
    const { lastEventId } = await round.remember({ events, bytes: BYTES });
    // A server that is reconnected to has been up for a while: the code is warm.
    for (let before = 0; before < STORMS_BEFORE; before += 1) {
      await round.open({ connections, lastEventId });
      await round.settle(events);
      // While they are there: V8 throws away what it compiled for objects of which none is left.
      await round.memory();
      await round.closeAll();
    }
    await round.begin({ after: 0, collect: false });
    await round.open({ connections, lastEventId });
    await round.settle(events);
    const spent = await round.end(events);
    // The events are older than the connections: their latency says nothing.
    return { value: spent.cpuMicros / 1000 / connections, spent: { ...spent, latencyP50Ms: 0, latencyP99Ms: 0 } };
  },
};

const stalled: Scenario = {
  name: 'stalled',
  title: () => '60 MB published at 500 events a second to 10 readers that stalled and 10 that read, 16,000 bytes',
  figure: 'growth of resident memory, MB',
  better: 'less',
  connections: { full: 20, quick: 20 },
  rounds: { full: 2, quick: 1 },
  fresh: true,
  servers: { full: WITHOUT_QUEUES, quick: ['ours-fastify', 'nest-fastify'] },
  async run(round) {
    const bytes = 16_000;
    await round.open({ connections: 20, stalled: 10 });
    // Until V8's young generation and the allocator have their full size, some 50 MB, which no reader has to do with.
    await round.warm({ channels: 1, events: 10, bytes }, 500);
    await round.pace({ perSecond: 500, forMs: 4_000, bytes });
    const before = await round.memory();
    await round.begin();
    await round.pace({ perSecond: 500, forMs: 7_500, bytes });
    const spent = await round.end();
    const after = await round.memory();
    const left = await round.resume(1_500);
    return {
      value: spent.grownBytes / 1e6,
      spent,
      more: {
        'kept MB': (after.rssBytes - before.rssBytes) / 1e6,
        'held MB': (after.heldBytes - before.heldBytes) / 1e6,
        dropped: left.closed,
        'read later': left.received,
        gaps: left.gaps,
      },
    };
  },
};

const bus: Scenario = {
  name: 'bus',
  title: () => 'publishes with nobody connected: class-validator, JSON, the log',
  figure: 'publishes per second',
  better: 'more',
  connections: { full: 0, quick: 0 },
  rounds: { full: 5, quick: 1 },
  servers: { full: ['ours-fastify', 'validator'], quick: ['ours-fastify', 'validator'] },
  async run(round, size) {
    await round.hurry({ forMs: 500, bytes: BYTES });
    await round.begin();
    const published = await round.hurry({ forMs: size === 'full' ? 3_000 : 1_000, bytes: BYTES });
    const spent = await round.end();
    return {
      value: published / (spent.wallMs / 1000),
      spent,
      more: { 'CPU each, µs': spent.cpuMicros / published },
    };
  },
};

export const SCENARIOS: readonly Scenario[] = [
  fanOut({
    name: 'single',
    connections: 1_000,
    servers: [...ALL_SERVERS, HUB, OWN_HUB, STREAM],
    quickServers: ['ours-fastify', 'ours-express', 'nest-fastify', 'limit', 'nchan'],
  }),
  fanOut({
    name: 'burst',
    connections: 1_000,
    burst: 10,
    servers: [...ALL_SERVERS, HUB, OWN_HUB],
    quickServers: ['ours-fastify', 'nest-fastify', 'better-sse', 'limit'],
  }),
  fanOut({
    name: 'few',
    connections: 100,
    servers: [...OURS, ...NEST, 'takeover', 'limit'],
    quickServers: [],
    rounds: 3,
  }),
  fanOut({
    name: 'many',
    connections: 10_000,
    servers: [...OURS, ...NEST, 'takeover', 'limit', 'nchan'],
    quickServers: [],
    rounds: 3,
  }),
  fanOut({
    name: 'channels',
    connections: 10_000,
    channels: 1_000,
    servers: [...OURS, ...NEST, 'better-sse', 'takeover', 'limit', 'nchan'],
    quickServers: [],
    rounds: 2,
  }),
  paced({
    name: 'paced',
    connections: { full: 1_000, quick: 1_000 },
    perSecond: { full: 100, quick: 100 },
    forMs: { full: 5_000, quick: 1_500 },
    figure: 'cpu',
    servers: { full: WITHOUT_QUEUES },
  }),
  paced({
    name: 'latency',
    connections: { full: 1_000, quick: 1_000 },
    perSecond: { full: 20, quick: 20 },
    forMs: { full: 5_000, quick: 1_500 },
    figure: 'p50',
    servers: { full: WITHOUT_QUEUES },
  }),
  paced({
    name: 'fast',
    connections: { full: 1_000, quick: 1_000 },
    perSecond: { full: 500, quick: 500 },
    forMs: { full: 5_000, quick: 1_500 },
    figure: 'p99',
    servers: { full: WITHOUT_QUEUES },
  }),
  idle,
  storm,
  paced({
    name: 'unread',
    connections: { full: 100, quick: 100 },
    perSecond: { full: 400, quick: 400 },
    forMs: { full: 5_000, quick: 2_000 },
    figure: 'p99',
    bytes: 4_000,
    stalled: 1,
    servers: { full: WITHOUT_QUEUES },
  }),
  stalled,
  paced({
    name: 'saturation',
    connections: { full: 10_000, quick: 2_000 },
    perSecond: { full: 100, quick: 500 },
    forMs: { full: 5_000, quick: 2_000 },
    figure: 'rate',
    servers: { full: WITHOUT_QUEUES, quick: ['ours-fastify', 'nest-fastify'] },
  }),
  bus,
];
