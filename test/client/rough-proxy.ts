/** A proxy that does to each stream what networks do, as a seed says: delays it, cuts it into pieces, breaks it off, or lets it go silent. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { randomOf } from '@sse-channels/testing';

/** What becomes of a connection once so many bytes have come back through it. */
const FATES = ['end', 'reset', 'silence'] as const;

export class RoughProxy {
  /** How many connections came to which end. */
  readonly fates: Record<(typeof FATES)[number], number> = { end: 0, reset: 0, silence: 0 };
  readonly #server = createServer();
  readonly #sockets = new Set<Socket>();
  readonly #random: () => number;
  #rough = true;

  private constructor(
    private readonly target: string,
    seed: number,
  ) {
    this.#random = randomOf(seed);
    this.#server.on('connection', (client) => this.#join(client));
  }

  /** Listens before the origin of a URL. */
  static async listen(target: string, seed: number): Promise<RoughProxy> {
    const proxy = new RoughProxy(target, seed);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts what is open, and leaves alone what comes from now on. */
  calm(): void {
    this.#rough = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.calm();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client: Socket): void {
    const { hostname, port } = new URL(this.target);
    const target = connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(target);
    if (!this.#rough) {
      target.pipe(client);
      return;
    }
    void this.#pass(target, client);
  }

  async #pass(target: Socket, client: Socket): Promise<void> {
    const fate = FATES[Math.floor(this.#random() * FATES.length)] ?? 'end';
    let bytesLeft = Math.floor(this.#random() ** 2 * 6_000);
    try {
      for await (const data of target) {
        for (let chunk = data as Buffer; chunk.length > 0;) {
          const part = chunk.subarray(0, Math.min(bytesLeft, 1 + Math.floor(this.#random() * 400)));
          chunk = chunk.subarray(part.length);
          bytesLeft -= part.length;
          client.write(part);
          if (this.#random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 3 * this.#random()));
          if (bytesLeft > 0) continue;
          this.fates[fate] += 1;
          if (fate === 'end') client.end();
          else if (fate === 'reset') client.resetAndDestroy();
          // Whoever waits at a silent stream has to leave by itself.
          else await once(client, 'close');
          return;
        }
      }
      client.end();
    } catch {
      client.destroy();
    }
  }
}
