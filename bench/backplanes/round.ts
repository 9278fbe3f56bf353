/** One backplane in one scenario, once: what its nodes are made to do, and what that cost. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Profiler } from 'node:inspector';
import type { Pace } from '../pace.js';
import type { Remote } from '../remote.js';
import type { Engine } from './engine.js';
import type { AppendOptions, Appended, methods, Replayed } from './node.js';
import type { Proxy } from './proxy.js';

export type NodeProcess = Remote<typeof methods>;

/** How long what was appended may take to come. */
const SETTLE_MS = 30_000;
const LOOK_MS = 5;
/** What did not come for so long, while nothing else came either, is not on its way. */
const SILENCE_MS = 10_000;
/** The same where nothing makes up for losses. */
const LOSSY_SILENCE_MS = 1_000;

/** What one round found. */
export interface Outcome {
  /** The scenario's figure. */
  readonly value: number;
  readonly more: Readonly<Record<string, number>>;
  /** Events that came, were read or were acknowledged, whichever the scenario counts. */
  readonly counted: number;
  readonly expected: number;
  /** Events out of place, topics that end in another event than the last, losses that were told. */
  readonly wrong: number;
  readonly profiles?: readonly NodeProfile[] | undefined;
}

export interface NodeProfile {
  readonly node: string;
  readonly profile: Profiler.Profile;
}

/** CPU between `begin` and `end`, in microseconds. */
export interface Spent {
  readonly wallMs: number;
  /** 0 where there is no engine. */
  readonly engineMicros: number;
  readonly publisherMicros: number;
  /** 0 where one process is both. */
  readonly followerMicros: number;
  readonly profiles: readonly NodeProfile[] | undefined;
}

interface Beginning extends Omit<Spent, 'wallMs' | 'profiles'> {
  readonly atMs: number;
}

export interface RoundOptions {
  readonly publisher: NodeProcess;
  /** The publisher's process where there is but one. */
  readonly follower: NodeProcess;
  readonly engine: Engine | undefined;
  /** Between the follower and the engine, where the scenario cuts connections. */
  readonly proxy: Proxy | undefined;
  /** Whether nothing that is appended may be missing, whatever happens. */
  readonly whole: boolean;
  readonly profiled: boolean;
}

export class Round {
  #beginning: Beginning | undefined;

  constructor(private readonly options: RoundOptions) {}

  /** The follower follows so many topics; an event on each proves it. Begins to count. */
  async follow(topics: number): Promise<void> {
    const { follower } = this.options;
    await follower.call('follow', { topics });
    await follower.call('arm');
    await this.appendEach(range(topics));
    await this.#whole(topics);
    await follower.call('arm');
  }

  append(options: AppendOptions): Promise<Appended> {
    return this.options.publisher.call('append', options);
  }

  appendEach(topics: readonly number[]): Promise<void> {
    return this.options.publisher.call('appendEach', { topics });
  }

  async pace(options: Pace & { topics: number }): Promise<number> {
    return (await this.options.publisher.call('pace', options)).appended;
  }

  unlike(topics: number): Promise<number> {
    return this.options.publisher.call('unlike', { topics });
  }

  replay(options: { events: number; forMs: number }): Promise<Replayed> {
    return this.options.publisher.call('replay', options);
  }

  received() {
    return this.options.follower.call('received');
  }

  /** Waits until so many events have come since `arm`, or nothing comes any more; gives how many did. */
  async settle(expected: number): Promise<number> {
    const silenceMs = this.options.whole ? SILENCE_MS : LOSSY_SILENCE_MS;
    const until = performance.now() + SETTLE_MS;
    let before = -1;
    let changedAt = performance.now();
    for (;;) {
      const { received } = await this.received();
      const now = performance.now();
      if (received !== before) changedAt = now;
      before = received;
      if (received >= expected || now > until || now - changedAt > silenceMs) return received;
      await sleep(LOOK_MS);
    }
  }

  /** Between the follower and the engine. */
  get proxy(): Proxy {
    const { proxy } = this.options;
    if (proxy === undefined) throw new Error('this scenario has no connections to cut');
    return proxy;
  }

  /** Begins to measure, and to count. */
  async begin(): Promise<void> {
    await this.options.follower.call('arm');
    if (this.options.profiled) for (const node of this.#nodes) await node.call('startProfile');
    this.#beginning = { ...(await this.#usage()), atMs: performance.now() };
  }

  async end(): Promise<Spent> {
    const beginning = this.#beginning;
    if (beginning === undefined) throw new Error('nothing began');
    const wallMs = performance.now() - beginning.atMs;
    const usage = await this.#usage();
    return {
      wallMs,
      engineMicros: usage.engineMicros - beginning.engineMicros,
      publisherMicros: usage.publisherMicros - beginning.publisherMicros,
      followerMicros: usage.followerMicros - beginning.followerMicros,
      profiles: this.options.profiled ? await this.#profiles() : undefined,
    };
  }

  get #nodes(): readonly NodeProcess[] {
    const { publisher, follower } = this.options;
    return publisher === follower ? [publisher] : [publisher, follower];
  }

  async #profiles(): Promise<NodeProfile[]> {
    const profiles: NodeProfile[] = [];
    for (const node of this.#nodes) {
      const profile = await node.call('stopProfile');
      if (profile !== undefined) profiles.push({ node: node.name, profile });
    }
    return profiles;
  }

  async #whole(expected: number): Promise<void> {
    const received = await this.settle(expected);
    if (received !== expected) throw new Error(`${received} events came of ${expected} that were appended`);
  }

  async #usage(): Promise<Omit<Beginning, 'atMs'>> {
    const [publisherMicros = 0, followerMicros = 0] = await Promise.all(
      this.#nodes.map((node) => node.call('cpuMicros')),
    );
    return { engineMicros: this.options.engine?.cpuMicros ?? 0, publisherMicros, followerMicros };
  }
}

/** 0, 1, 2 and so on, so many. */
export function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}
