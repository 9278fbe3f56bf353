/** A cluster while a fault is done to it, for a time that is known beforehand. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Dice } from '../endurance/fuzz/dice.js';
import type { Cluster } from './cluster.js';
import type { ClusterClient } from './cluster-client.js';

/** What is done; it looks at `over` and uses `pause`, so that it ends with the time. */
export type StormPlay = (storm: Storm) => Promise<void>;

export class Storm {
  readonly #over = new AbortController();

  constructor(
    readonly cluster: Cluster,
    readonly clients: readonly ClusterClient[],
    readonly dice: Dice,
    readonly seconds: number,
  ) {}

  /** Whether the time is up. */
  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /** Waits; shorter when the time is up. */
  async pause(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }

  /** Takes as long as it is to take, also where the play is done early. */
  async play(play: StormPlay): Promise<void> {
    const timer = setTimeout(() => this.#over.abort(), this.seconds * 1_000);
    try {
      await play(this);
      await this.pause(this.seconds * 1_000);
    } finally {
      clearTimeout(timer);
      this.#over.abort();
    }
  }
}
