/** Picks the next of several servers that is up, as a TCP balancer does. */
import { connect, type Socket } from 'node:net';
import { eventually } from '@sse-channels/testing';

const LOOK_MS = 200;

export class RoundRobin {
  readonly #ports: readonly number[];
  readonly #up = new Map<number, boolean>();
  readonly #over = new AbortController();
  #next = 0;

  /** @param isUp asked of each port again and again; a rejection is a no */
  constructor(ports: readonly number[], isUp: (port: number) => Promise<boolean>) {
    this.#ports = ports;
    for (const port of ports) void this.#watch(port, isUp);
  }

  /** @throws rejects when none of them is up */
  async connect(): Promise<Socket> {
    for (let tried = 0; tried < this.#ports.length; tried += 1) {
      const port = this.#ports[this.#next % this.#ports.length] as number;
      this.#next += 1;
      if (this.#up.get(port) !== true) continue;
      const socket = await connected(port);
      if (socket !== null) return socket;
      // It is asked again soon; until then nobody is sent there.
      this.#up.set(port, false);
    }
    throw new Error(`None of ${this.#ports.join(', ')} is up.`);
  }

  /** Resolves when it knows that so many are up. */
  async settled(count: number): Promise<void> {
    await eventually(() => [...this.#up.values()].filter(Boolean).length >= count, `${count} servers are up`);
  }

  close(): void {
    this.#over.abort();
  }

  async #watch(port: number, isUp: (port: number) => Promise<boolean>): Promise<void> {
    while (!this.#over.signal.aborted) {
      this.#up.set(port, await isUp(port).catch(() => false));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_MS);
        timer.unref();
      });
    }
  }
}

function connected(port: number): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(null));
  });
}
