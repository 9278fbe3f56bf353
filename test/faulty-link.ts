/** A TCP proxy that makes a network's faults: both its ends see them as the network's doing. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Which way bytes go, as who connects through the link sees it. */
export type Direction = 'to-target' | 'from-target';

/** Opens the other side of a connection. */
export type OpenTarget = () => Socket | Promise<Socket>;

export class FaultyLink {
  readonly #passages = new Set<Passage>();
  #bytesLeft = Infinity;
  #delayMs = 0;
  /** How many connections were opened through it. */
  opened = 0;
  /** How many of them it has cut. */
  broken = 0;

  private constructor(private readonly server: Server) {}

  /** @param target where connections go: a URL's origin, or what opens them */
  static async listen(target: string | OpenTarget): Promise<FaultyLink> {
    const server = createServer();
    const link = new FaultyLink(server);
    const open = typeof target === 'string' ? openerOf(target) : target;
    server.on('connection', (client) => void link.#join(client, open));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return link;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#passages.size;
  }

  /** Cuts what is open once so many more bytes have come from the target. */
  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  /**
   * Cuts what is open now; who comes back is let through.
   * @param chosen which of them, one after the other; all when absent
   */
  cut(chosen: () => boolean = () => true): void {
    this.#bytesLeft = Infinity;
    for (const passage of this.#passages) if (chosen()) passage.cut();
  }

  /** Passes nothing on, one way, over what is open now, and closes none of it; who connects anew is let through. */
  stall(direction: Direction): void {
    for (const passage of this.#passages) passage.stall(direction);
  }

  /** Passes on what was held up by `stall`. */
  heal(): void {
    for (const passage of this.#passages) passage.heal();
  }

  /** Passes everything on later. @param ms 0: at once */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Of what is open now: lets requests through, and cuts instead of passing on what is answered next. */
  cutReplies(): void {
    for (const passage of this.#passages) passage.cutReply();
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  async #join(client: Socket, open: OpenTarget): Promise<void> {
    this.opened += 1;
    client.on('error', () => undefined);
    client.pause();
    let target: Socket;
    try {
      target = await open();
    } catch {
      client.destroy();
      return;
    }
    const passage = new Passage(client, target, {
      delayMs: () => this.#delayMs,
      passable: (bytes) => this.#take(bytes),
      onCut: () => (this.broken += 1),
    });
    this.#passages.add(passage);
    client.once('close', () => this.#passages.delete(passage));
  }

  /** How many of these bytes from the target pass before everything is cut. */
  #take(bytes: number): number {
    const taken = Math.min(bytes, this.#bytesLeft);
    this.#bytesLeft = taken < bytes ? Infinity : this.#bytesLeft - taken;
    return taken;
  }
}

interface Rules {
  readonly delayMs: () => number;
  readonly passable: (bytes: number) => number;
  readonly onCut: () => void;
}

/** One connection with its other side. */
class Passage {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #stalled = new Set<Socket>();
  readonly #onCut: () => void;
  #repliesCut = false;
  #isBroken = false;

  constructor(client: Socket, target: Socket, { delayMs, passable, onCut }: Rules) {
    this.#client = client;
    this.#target = target;
    this.#onCut = onCut;
    this.#pass(client, target, delayMs, (bytes) => bytes);
    this.#pass(target, client, delayMs, (bytes) => (this.#repliesCut ? 0 : passable(bytes)));
    client.resume();
  }

  cut(): void {
    this.#break();
    this.#client.resetAndDestroy();
    this.#target.resetAndDestroy();
  }

  stall(direction: Direction): void {
    const source = direction === 'to-target' ? this.#client : this.#target;
    this.#stalled.add(source);
    source.pause();
  }

  heal(): void {
    for (const source of this.#stalled) source.resume();
    this.#stalled.clear();
  }

  cutReply(): void {
    this.#repliesCut = true;
  }

  #break(): void {
    if (!this.#isBroken) this.#onCut();
    this.#isBroken = true;
  }

  #pass(source: Socket, sink: Socket, delayMs: () => number, passable: (bytes: number) => number): void {
    const due: Array<{ readonly at: number; readonly act: () => void }> = [];
    const pass = (): void => {
      for (let first = due[0]; first !== undefined; first = due[0]) {
        const waitMs = first.at - performance.now();
        if (waitMs > 0) {
          setTimeout(pass, waitMs);
          return;
        }
        due.shift();
        first.act();
      }
    };
    const inTurn = (act: () => void): void => {
      due.push({ at: performance.now() + delayMs(), act });
      // What comes later does not overtake when the delay is taken away.
      if (due.length === 1) pass();
    };
    sink.on('drain', () => {
      if (!this.#stalled.has(source)) source.resume();
    });
    source.on('error', () => undefined);
    source.on('close', () => inTurn(() => sink.destroy()));
    source.on('end', () => inTurn(() => sink.end()));
    source.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, passable(chunk.length));
      if (part.length > 0) {
        inTurn(() => {
          if (sink.writable && !sink.write(part)) source.pause();
        });
      }
      if (part.length === chunk.length) return;
      // Some bytes of a frame may have gone through: the rest comes again with the next connection.
      this.#break();
      this.#client.end();
      this.#target.destroy();
    });
  }
}

function openerOf(url: string): OpenTarget {
  const { hostname, port } = new URL(url);
  return () => connect({ port: Number(port || 80), host: hostname, noDelay: true });
}
