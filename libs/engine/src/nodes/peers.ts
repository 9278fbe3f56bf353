/** The other nodes, each for as long as its lease: counted by a clock of this process that stands still while nobody could be heard. */
import type { NodeInfo } from '../directory/connection-directory.js';
import type { Lease } from './node-record.js';

/** More than this are not nodes of one application. */
const MAX_PEERS = 1_000;

interface Peer {
  lease: Lease;
  /** When it is gone, by the clock of this table. */
  endsAt: number;
  /** By the clock that is never set. */
  heardAt: number;
}

export class Peers {
  readonly #peers = new Map<string, Peer>();
  readonly #lookMs: number;
  /** Milliseconds during which others could be heard. */
  #clockMs = 0;
  #lookedAt = performance.now();
  #hearing = false;

  /** @param lookMs how often `look` is called */
  constructor(lookMs: number) {
    this.#lookMs = lookMs;
  }

  get clockMs(): number {
    return this.#clockMs;
  }

  get ids(): string[] {
    return [...this.#peers.keys()];
  }

  has(id: string): boolean {
    return this.#peers.has(id);
  }

  info(id: string): NodeInfo | undefined {
    const peer = this.#peers.get(id);
    if (peer === undefined) return undefined;
    const { name, connections, startedAt, draining } = peer.lease;
    const heardMs = Math.round(performance.now() - peer.heardAt);
    return { id, name, here: false, connections, startedAt, draining, heardMs };
  }

  /** @returns whether it was not there before */
  heard(lease: Lease): boolean {
    const known = this.#peers.has(lease.from);
    if (!known && this.#peers.size >= MAX_PEERS) return false;
    this.#peers.set(lease.from, { lease, endsAt: this.#clockMs + lease.leaseMs, heardAt: performance.now() });
    return !known;
  }

  delete(id: string): void {
    this.#peers.delete(id);
  }

  /**
   * Moves the clock on, and takes out whose lease has run out.
   * @returns those, and whether others are heard again that could not be heard before
   */
  look(hearing: boolean): { readonly gone: readonly NodeInfo[]; readonly again: boolean } {
    const now = performance.now();
    const passed = now - this.#lookedAt;
    this.#lookedAt = now;
    const again = hearing && !this.#hearing;
    this.#hearing = hearing;
    // What they said meanwhile is still on its way.
    if (again) for (const peer of this.#peers.values()) peer.endsAt = this.#clockMs + peer.lease.leaseMs;
    if (!hearing || again) return { gone: [], again };
    // This process may have stood still itself; what was said meanwhile it hears only now.
    this.#clockMs += Math.min(passed, this.#lookMs * 2);
    const gone: NodeInfo[] = [];
    for (const [id, { endsAt }] of this.#peers) {
      if (endsAt > this.#clockMs) continue;
      const info = this.info(id);
      if (info !== undefined) gone.push(info);
      this.#peers.delete(id);
    }
    return { gone, again };
  }
}
