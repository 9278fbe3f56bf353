/** One server in one scenario, once: what it is made to do, and what that cost. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Profiler } from 'node:inspector';
import type { methods as loadMethods, OpenOptions, Received, Stalled } from './load.js';
import { nowMicros } from './mark.js';
import type { Remote } from './remote.js';
import type { methods as serverMethods, PaceOptions, PublishOptions, Usage } from './server.js';

export type ServerProcess = Remote<typeof serverMethods>;
export type LoadProcess = Remote<typeof loadMethods>;

const OPEN_TIMEOUT_MS = 60_000;
/** How long a server may take to deliver what was published. */
const SETTLE_TIMEOUT_MS = 60_000;
/** A head may be sent before the server listens to its channel. */
const SUBSCRIBE_MS = 150;

/** What one round found. */
export interface Outcome {
  /** The scenario's figure. */
  readonly value: number;
  readonly spent: Spent;
  /** What else is worth a column. */
  readonly more?: Readonly<Record<string, number>>;
}

/** What happened between `begin` and `end`. */
export interface Spent {
  readonly wallMs: number;
  readonly cpuMicros: number;
  /** What of it the kernel took. */
  readonly kernelMicros: number;
  readonly rssBytes: number;
  /** Resident memory at its most, less what it was. */
  readonly grownBytes: number;
  readonly loopDelayP99Ms: number;
  /** The load generator's CPU, in percent of a core. */
  readonly loadCpuPercent: number;
  readonly delivered: number;
  readonly expected: number;
  /** Connections that did not get exactly what they should, in order. */
  readonly wrong: number;
  /** How often they were told of a gap. */
  readonly gaps: number;
  readonly latencyP50Ms: number;
  readonly latencyP99Ms: number;
  readonly profile: Profiler.Profile | undefined;
}

interface Beginning {
  readonly server: Usage;
  readonly load: { readonly cpuMicros: number };
  readonly atMs: number;
}

export class Round {
  /** The newest event's sequence. */
  #published = 0;
  /** The newest event's sequence when the counting began. */
  #armedAt = 0;
  #beginning: Beginning | undefined;

  constructor(
    private readonly server: ServerProcess,
    private readonly load: LoadProcess,
    private readonly address: { readonly port: number; readonly path: string },
    private readonly profiled: boolean,
  ) {}

  async open(options: Partial<OpenOptions> & { connections: number }): Promise<void> {
    await this.load.call('open', { ...this.address, channels: 1, timeoutMs: OPEN_TIMEOUT_MS, ...options });
    await sleep(SUBSCRIBE_MS);
  }

  /** Publishes for a while without measuring; what arrives proves that everyone is subscribed. */
  async warm(options: PublishOptions, forMs: number): Promise<void> {
    this.#published = (await this.server.call('publish', { ...options, channels: 0, events: 0 })).published;
    await this.#arm();
    const until = Date.now() + forMs;
    do await this.deliver(options);
    while (Date.now() < until);
  }

  /** Publishes once and waits until everyone has it. */
  async deliver(options: PublishOptions): Promise<void> {
    const settled = this.settle(this.#perConnection + options.events);
    this.#published = (await this.server.call('publish', options)).published;
    await settled;
  }

  /** Publishes at a pace and waits until everyone has everything or the time is up; gives how long that took. */
  async pace(options: PaceOptions): Promise<number> {
    const begin = nowMicros();
    this.#published = (await this.server.call('pace', options)).published;
    await this.#settled(this.#perConnection);
    const { lastAtMicros } = await this.#received(this.#perConnection);
    return (lastAtMicros - begin) / 1000;
  }

  /** Waits until everyone has so many events. */
  async settle(perConnection: number): Promise<void> {
    if (await this.#settled(perConnection)) return;
    const { delivered, expected, closed } = await this.#received(perConnection);
    throw new Error(
      `${this.server.name} delivered ${delivered} of ${expected} in time; it closed ${closed} connections`,
    );
  }

  remember(options: { events: number; bytes: number }): Promise<{ lastEventId: string }> {
    return this.server.call('remember', options);
  }

  /** Publishes as fast as it goes; gives how many. */
  async hurry(options: { forMs: number; bytes: number }): Promise<number> {
    const before = this.#published;
    this.#published = (await this.server.call('hurry', options)).published;
    return this.#published - before;
  }

  resume(forMs: number): Promise<Stalled> {
    return this.load.call('resume', { forMs });
  }

  /** The server's memory when its garbage is gone: as the system counts it, and as JavaScript does. */
  memory(): Promise<{ rssBytes: number; heldBytes: number }> {
    return this.server.call('usage', { collect: true });
  }

  async closeAll(): Promise<void> {
    await this.load.call('close');
    await sleep(SUBSCRIBE_MS);
  }

  /**
   * Begins to measure.
   * @param after the sequence of the last event that does not count
   * @param collect whether the server collects its garbage before
   */
  async begin({ delay = true, after = this.#published, collect = true } = {}): Promise<void> {
    this.#published = after;
    await this.#arm();
    await this.server.call('reset', { delay, collect });
    if (this.profiled) await this.server.call('startProfile');
    this.#beginning = {
      server: await this.server.call('usage', {}),
      load: await this.load.call('usage'),
      atMs: performance.now(),
    };
  }

  /** @param perConnection how many events each connection should have had; by default what was published since `begin` */
  async end(perConnection: number = this.#perConnection): Promise<Spent> {
    if (this.#beginning === undefined) throw new Error('nothing began');
    const { server, load, atMs } = this.#beginning;
    const wallMs = performance.now() - atMs;
    const after = await this.server.call('usage', {});
    const loadAfter = await this.load.call('usage');
    const profile = this.profiled ? await this.server.call('stopProfile') : undefined;
    const { delivered, expected, wrong, gaps, latencyP50Ms, latencyP99Ms } = await this.#received(perConnection);
    return {
      wallMs,
      cpuMicros: after.cpuMicros - server.cpuMicros,
      kernelMicros: after.kernelMicros - server.kernelMicros,
      rssBytes: after.rssBytes,
      grownBytes: after.peakRssBytes - server.rssBytes,
      loopDelayP99Ms: after.loopDelayP99Ms,
      loadCpuPercent: Math.max(0, (loadAfter.cpuMicros - load.cpuMicros) / 1000 / wallMs) * 100,
      delivered,
      expected,
      wrong,
      gaps,
      latencyP50Ms,
      latencyP99Ms,
      profile,
    };
  }

  get #perConnection(): number {
    return this.#published - this.#armedAt;
  }

  async #arm(): Promise<void> {
    this.#armedAt = this.#published;
    await this.load.call('arm', { after: this.#published });
  }

  async #settled(perConnection: number): Promise<boolean> {
    const { complete } = await this.load.call('settle', { perConnection, timeoutMs: SETTLE_TIMEOUT_MS });
    return complete;
  }

  #received(perConnection: number): Promise<Received> {
    return this.load.call('received', { perConnection });
  }
}
