/** The process of a server under test: starts the module it is told to, publishes on request, and says what that cost. */
import { readFileSync } from 'node:fs';
import type { Profiler } from 'node:inspector';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Profiling } from './cpu-profile.js';
import { makeTick, nowMicros } from './mark.js';
import { pace, type Pace } from './pace.js';
import { serve } from './remote.js';
import type { ProcessUsage, SseServer, StartOptions, StartServer } from './sse-server.js';

/** How often memory is looked at while a scenario runs. */
const SAMPLE_MS = 100;

export interface PublishOptions {
  readonly channels: number;
  /** Events for each channel, all in one turn; channels in turns of their own. */
  readonly events: number;
  readonly bytes: number;
}

export interface PaceOptions extends Pace {
  readonly bytes: number;
}

export interface Usage extends ProcessUsage {
  /** The most since the last reset. */
  readonly peakRssBytes: number;
  /** What JavaScript holds: its heap and the buffers outside of it. 0 where the server is another process. */
  readonly heldBytes: number;
  /** 0 where it was not looked at. */
  readonly loopDelayP99Ms: number;
}

const peers = new URL('../../peers/', import.meta.url);
const STARTERS: Record<string, () => Promise<StartServer>> = {
  'ours-express': async () => (await import('./servers/ours.js')).startOnExpress,
  'ours-fastify': async () => (await import('./servers/ours.js')).startOnFastify,
  'ours-hub': async () => (await import('./servers/ours.js')).startHubOnFastify,
  'ours-hub-own': async () => (await import('./servers/ours.js')).startOwnHubOnFastify,
  'ours-stream': async () => (await import('./servers/ours-stream.js')).startOnFastify,
  'nest-express': async () => (await import('./servers/nest.js')).startOnExpress,
  'nest-fastify': async () => (await import('./servers/nest.js')).startOnFastify,
  'better-sse': () => peer('better-sse'),
  'fastify-sse': () => peer('fastify-sse'),
  hono: () => peer('hono'),
  trpc: () => peer('trpc'),
  validator: async () => (await import('./servers/validator.js')).start,
  naive: async () => (await import('./servers/naive.js')).start,
  takeover: async () => (await import('./servers/takeover.js')).start,
  limit: async () => (await import('./servers/limit.js')).start,
  nchan: async () => (await import('./servers/nchan.js')).start,
};

async function peer(name: string): Promise<StartServer> {
  const module = (await import(new URL(`${name}.mjs`, peers).href)) as { start: StartServer };
  return module.start;
}

let server: SseServer;
let sequence = 0;
let peakRssBytes = 0;
let sampler: NodeJS.Timeout | undefined;
const profiling = new Profiling();
const loopDelay = monitorEventLoopDelay({ resolution: 5 });

/** What the runner calls. */
export const methods = {
  async start({ name, ...options }: StartOptions & { name: string }): Promise<{ port: number; path: string }> {
    const starter = STARTERS[name];
    if (starter === undefined) throw new Error(`There is no server "${name}"`);
    server = await (await starter())(options);
    return { port: server.port, path: server.path };
  },

  /** Publishes once, and answers when the server has taken it. */
  async publish({ channels, events, bytes }: PublishOptions): Promise<{ published: number }> {
    const before = sequence;
    let taken: unknown[] = [];
    for (let channel = 0; channel < channels; channel += 1) {
      for (let event = 1; event <= events; event += 1) {
        taken.push(server.publish(String(channel), makeTick(before + event, bytes, nowMicros())));
      }
      if (channels > 1) {
        await new Promise((resolve) => setImmediate(resolve));
        await Promise.all(taken);
        taken = [];
      }
    }
    sequence = before + events;
    await Promise.all(taken);
    return { published: sequence };
  },

  /** Publishes at a pace on channel 0; what is late counts from when it was due. */
  async pace({ bytes, ...options }: PaceOptions): Promise<{ published: number }> {
    await pace(options, (dueMicros) => {
      sequence += 1;
      return server.publish('0', makeTick(sequence, bytes, dueMicros));
    });
    return { published: sequence };
  },

  /** Publishes as fast as it goes, a hundred in a turn. */
  async hurry({ forMs, bytes }: { forMs: number; bytes: number }): Promise<{ published: number }> {
    const end = nowMicros() + forMs * 1000;
    while (nowMicros() < end) {
      const taken: unknown[] = [];
      for (let event = 0; event < 100; event += 1) {
        sequence += 1;
        taken.push(server.publish('0', makeTick(sequence, bytes, 0)));
      }
      await Promise.all(taken);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { published: sequence };
  },

  /** Keeps events for replay; gives the `Last-Event-ID` of who missed them. */
  async remember({ events, bytes }: { events: number; bytes: number }): Promise<{ lastEventId: string }> {
    const ticks = Array.from({ length: events }, (_, index) => makeTick(index + 1, bytes, nowMicros()));
    return { lastEventId: await server.remember('0', ticks) };
  },

  /** Begins to measure. */
  reset({ delay, collect }: { delay: boolean; collect: boolean }): void {
    if (collect) collectGarbage();
    clearInterval(sampler);
    peakRssBytes = usage().rssBytes;
    loopDelay.reset();
    if (delay) {
      loopDelay.enable();
      sampler = setInterval(() => {
        peakRssBytes = Math.max(peakRssBytes, usage().rssBytes);
      }, SAMPLE_MS);
    } else {
      loopDelay.disable();
    }
  },

  usage({ collect = false }: { collect?: boolean }): Usage {
    if (collect) collectGarbage();
    const used = usage();
    peakRssBytes = Math.max(peakRssBytes, used.rssBytes);
    return {
      ...used,
      peakRssBytes,
      heldBytes: collect ? heldBytes() : 0,
      loopDelayP99Ms: loopDelay.count === 0 ? 0 : loopDelay.percentile(99) / 1e6,
    };
  },

  startProfile(): Promise<void> {
    return profiling.start();
  },

  stopProfile(): Promise<Profiler.Profile | undefined> {
    return profiling.stop();
  },
};

function usage(): ProcessUsage {
  if (server.usage !== undefined) return server.usage();
  const { user, system } = process.cpuUsage();
  return { cpuMicros: user + system, kernelMicros: system, rssBytes: rssOf() };
}

/** As the system tells it now; `process.memoryUsage` asks the same, at a higher price. */
function rssOf(): number {
  try {
    const [, pages = 0] = readFileSync('/proc/self/statm', 'latin1').split(' ').map(Number);
    return pages * 4_096;
  } catch {
    return process.memoryUsage.rss();
  }
}

function heldBytes(): number {
  if (server.usage !== undefined) return 0;
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function collectGarbage(): void {
  for (let pass = 0; pass < 3; pass += 1) (globalThis as { gc?: () => void }).gc?.();
}

process.on('exit', () => server?.close?.());
serve(methods);
