/** A proxy that cuts connections on their way, anywhere: clients that reconnect by themselves see it as the network's doing. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class CuttingProxy {
  readonly #sockets = new Set<Socket>();
  #bytesLeft = Infinity;

  private constructor(private readonly server: Server) {}

  /** Listens before the origin of a URL. */
  static async listen(target: string): Promise<CuttingProxy> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    const proxy = new CuttingProxy(server);
    server.on('connection', (client) => proxy.#join(client, connect(Number(port || 80), hostname)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Cuts what is open once so many more bytes have come from the target. */
  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  /** Cuts what is open now; who comes back is let through. */
  cut(): void {
    this.#bytesLeft = Infinity;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  #join(client: Socket, target: Socket): void {
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
    target.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, this.#bytesLeft);
      this.#bytesLeft -= part.length;
      client.write(part);
      // Some bytes of a frame went through: the rest comes again with the next connection.
      if (this.#bytesLeft <= 0) {
        this.#bytesLeft = Infinity;
        client.end();
        target.destroy();
      }
    });
  }
}
