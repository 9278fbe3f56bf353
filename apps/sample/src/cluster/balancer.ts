/** A balancer in front of the nodes: passes TCP connections on to each in turn, and leaves out those that take none. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How often each node is asked whether it is ready, in milliseconds. */
const ASK_EVERY_MS = 500;
/** How long a node may take to answer, in milliseconds. */
const ANSWER_MS = 2_000;
/** After so many questions without an answer a node is as good as dead, and what it holds is cut. */
const MAX_UNANSWERED = 3;

/** A node as the balancer sees it. */
export interface Target {
  readonly port: number;
  /** What the node that answered last calls itself; null before. */
  readonly id: string | null;
  readonly takes: boolean;
}

interface Seen {
  readonly port: number;
  id: string | null;
  takes: boolean;
  unanswered: number;
  readonly sockets: Set<Socket>;
}

export class Balancer {
  readonly #server: Server = createServer({ noDelay: true }, (client) => this.#pass(client, this.#targets.length));
  readonly #targets: readonly Seen[];
  readonly #onReady: (target: Target) => void;
  readonly #closing = new AbortController();
  #next = 0;

  /** @param onReady a node takes connections, for the first time or again after it was started anew */
  constructor(ports: readonly number[], onReady: (target: Target) => void) {
    this.#targets = ports.map((port) => ({ port, id: null, takes: false, unanswered: 0, sockets: new Set() }));
    this.#onReady = onReady;
    for (const target of this.#targets) void this.#watch(target);
  }

  get targets(): readonly Target[] {
    return this.#targets;
  }

  /**
   * Begins to take connections.
   * @returns the port
   * @throws Error where it is taken
   */
  async listen(port: number, host: string): Promise<number> {
    this.#server.listen(port, host);
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      throw new Error(`Port ${port} of ${host} cannot be had (${(error as Error).message}); set PORT to another.`, {
        cause: error,
      });
    }
    return (this.#server.address() as AddressInfo).port;
  }

  /** Takes no more connections; those that are open are left to the nodes. */
  close(): void {
    this.#closing.abort();
    this.#server.close();
  }

  #pass(client: Socket, tries: number): void {
    client.on('error', () => undefined);
    const target = this.#choose();
    if (target === undefined || tries === 0) {
      client.destroy();
      return;
    }
    const upstream = connect({ port: target.port, host: '127.0.0.1', noDelay: true });
    // Nothing of the request was read before the node took it, so that another can have it whole.
    const onRefused = (): void => {
      target.takes = false;
      this.#pass(client, tries - 1);
    };
    upstream.once('error', onRefused);
    upstream.once('connect', () => {
      upstream.off('error', onRefused).on('error', () => client.destroy());
      target.sockets.add(upstream);
      upstream.once('close', () => target.sockets.delete(upstream));
      client.once('close', () => upstream.destroy());
      // What the node wrote before it ended still arrives: the end is passed on after it.
      client.pipe(upstream).pipe(client);
    });
  }

  #choose(): Seen | undefined {
    for (let tries = 0; tries < this.#targets.length; tries += 1) {
      const target = this.#targets[this.#next++ % this.#targets.length];
      if (target?.takes === true) return target;
    }
    return undefined;
  }

  async #watch(target: Seen): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#ask(target);
      await sleep(ASK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #ask(target: Seen): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(ANSWER_MS)]);
    try {
      const answer = await fetch(`http://127.0.0.1:${target.port}/ready`, { signal });
      await answer.arrayBuffer();
      const id = answer.headers.get('X-Node');
      const isNew = answer.ok && id !== target.id;
      if (answer.ok) target.id = id;
      target.takes = answer.ok;
      target.unanswered = 0;
      if (isNew) this.#onReady(target);
    } catch {
      target.takes = false;
      target.unanswered += 1;
      // A node that stands still keeps its connections open, and its clients waiting.
      if (target.unanswered >= MAX_UNANSWERED) for (const socket of target.sockets) socket.destroy();
    }
  }
}
