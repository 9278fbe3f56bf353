/** The load generator's process: opens connections on bare sockets and counts the marks of events that come in. */
import { connect, type Socket } from 'node:net';
import { MARK_BYTE, MARK_DIGITS, nowMicros, SEQUENCE_DIGITS } from './mark.js';
import { percentile } from './percentile.js';
import { serve } from './remote.js';

/** Connections that are on their way at a time. */
const OPENING = 200;
/** Every so many connections' latencies are taken, at least of a few. */
const SAMPLED = 64;
const READ_BYTES = 65_536;
/** `$`, with which the names of our control events begin. */
const CONTROL_BYTE = 0x24;
/** A server that sends nothing for so long will not. */
const SILENCE_MS = 5_000;

export interface OpenOptions {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  /** Connections are spread over so many channels. */
  readonly channels: number;
  readonly lastEventId?: string;
  /** The first so many never read once their response has begun. */
  readonly stalled?: number;
  readonly timeoutMs: number;
}

export interface SettleOptions {
  /** Events that every connection should have had since `arm`. */
  readonly perConnection: number;
  readonly timeoutMs: number;
}

/** What came in since `arm`, at the connections that read. */
export interface Received {
  readonly expected: number;
  readonly delivered: number;
  /** Connections that had more, fewer or other events than they should, those that were closed included. */
  readonly wrong: number;
  readonly closed: number;
  /** How often connections were told of a gap. */
  readonly gaps: number;
  readonly lastAtMicros: number;
  readonly latencyP50Ms: number;
  readonly latencyP99Ms: number;
  readonly latencyMaxMs: number;
}

/** What became of the readers that stalled, after they were let read again. */
export interface Stalled {
  readonly closed: number;
  readonly received: number;
  readonly gaps: number;
}

const shared = Buffer.allocUnsafe(READ_BYTES);
let connections: Connection[] = [];
/** The sequence of the first event that counts, less one. */
let base = 0;
let target = Infinity;
let missing = 0;
let settled: (() => void) | undefined;
let lastAtMicros = 0;
/** Counts up with everything that comes in. */
let reads = 0;
let latencies: number[] = [];
let awake = false;
/** Turns of the event loop in which nothing came. */
let vainMicros = 0;

class Connection {
  received = 0;
  gaps = 0;
  closed = false;
  /** An event came that was not the next one. */
  outOfOrder = false;
  reading = true;
  readonly socket: Socket;
  /** The digits so far of a mark that the last chunk did not end. */
  #rest: string | null = null;
  #begun: ((error?: Error) => void) | undefined;

  constructor(
    { port, lastEventId }: OpenOptions,
    path: string,
    readonly stalled: boolean,
    /** Whether its latencies are taken. */
    readonly sampled: boolean,
    begun: (error?: Error) => void,
  ) {
    this.#begun = begun;
    this.socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => this.#read(length),
      },
    });
    const resume = lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`;
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n${resume}\r\n`);
    this.socket.on('error', (error) => this.#end(error));
    this.socket.on('close', () => this.#end(new Error('closed before it began')));
  }

  #end(error: Error): void {
    this.closed = true;
    this.#begun?.(error);
    this.#begun = undefined;
  }

  #read(length: number): boolean {
    reads += 1;
    if (this.#begun !== undefined) this.#begin(length);
    if (this.stalled && this.reading) {
      this.reading = false;
      this.socket.pause();
      return false;
    }
    this.#count(length);
    return true;
  }

  #begin(length: number): void {
    const status = shared.toString('latin1', 0, Math.min(length, 64)).split('\r\n', 1)[0] ?? '';
    this.#begun?.(status.includes(' 200 ') ? undefined : new Error(`the server answered ${status}`));
    this.#begun = undefined;
  }

  #count(length: number): void {
    const before = this.received;
    const now = this.sampled ? nowMicros() : 0;
    if (this.#rest !== null) this.#finishMark(this.#rest, length, now);
    const chunk = shared.subarray(0, length);
    if (chunk.includes(CONTROL_BYTE)) this.#countGaps(chunk);
    let last = -1;
    for (let at = chunk.indexOf(MARK_BYTE); at !== -1; at = chunk.indexOf(MARK_BYTE, last)) {
      this.received += 1;
      last = at + 1;
      if (this.sampled && last + MARK_DIGITS <= length) {
        latencies.push(now - digitsAt(last + SEQUENCE_DIGITS, MARK_DIGITS - SEQUENCE_DIGITS));
      }
    }
    if (last !== -1) {
      if (last + MARK_DIGITS <= length) this.#check(digitsAt(last, SEQUENCE_DIGITS));
      else this.#rest = shared.toString('latin1', last, length);
    }
    if (this.sampled) lastAtMicros = now;
    if (before < target && this.received >= target && !this.stalled) {
      missing -= 1;
      if (missing > 0) return;
      lastAtMicros = nowMicros();
      settled?.();
    }
  }

  #finishMark(begun: string, length: number, now: number): void {
    const digits = begun + shared.toString('latin1', 0, Math.min(length, MARK_DIGITS - begun.length));
    this.#rest = digits.length < MARK_DIGITS ? digits : null;
    if (this.#rest !== null) return;
    this.#check(Number(digits.slice(0, SEQUENCE_DIGITS)));
    if (this.sampled) latencies.push(now - Number(digits.slice(SEQUENCE_DIGITS)));
  }

  /** The newest event's place in the order says that none before it is missing, doubled or late. */
  #check(sequence: number): void {
    if (sequence !== base + this.received) this.outOfOrder = true;
  }

  #countGaps(chunk: Buffer): void {
    for (let at = chunk.indexOf('$gap'); at !== -1; at = chunk.indexOf('$gap', at + 1)) this.gaps += 1;
  }
}

function digitsAt(from: number, count: number): number {
  let number = 0;
  for (let at = from; at < from + count; at += 1) number = number * 10 + (shared[at] as number) - 0x30;
  return number;
}

/** What the runner calls. */
export const methods = {
  /** Opens connections, a few at a time. */
  async open(options: OpenOptions): Promise<void> {
    if (!awake) stayAwake();
    const first = connections.length;
    const until = first + options.connections;
    const deadline = Date.now() + options.timeoutMs;
    let next = first;
    const openSome = async (): Promise<void> => {
      while (next < until) {
        const index = next;
        next += 1;
        const stalled = index - first < (options.stalled ?? 0);
        const sampled = index % Math.ceil(until / SAMPLED) === 0;
        try {
          await openOne(options, index, { stalled, sampled, deadline });
        } catch (error) {
          next = until;
          throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: OPENING }, openSome));
  },

  /** Begins to count, at the event after this sequence. */
  arm({ after }: { after: number }): void {
    base = after;
    target = Infinity;
    latencies = [];
    for (const connection of connections) {
      connection.received = 0;
      connection.outOfOrder = false;
    }
  },

  /** Waits until every connection has had its events, or nothing comes any more. */
  async settle({ perConnection, timeoutMs }: SettleOptions): Promise<{ complete: boolean }> {
    const reading = connections.filter(({ stalled }) => !stalled);
    target = perConnection;
    missing = reading.filter(({ received }) => received < perConnection).length;
    if (missing > 0) {
      let done: (() => void) | undefined;
      await new Promise<void>((resolve) => {
        let before = reads;
        const silence = setInterval(() => {
          if (reads === before) resolve();
          before = reads;
        }, SILENCE_MS);
        const late = setTimeout(resolve, timeoutMs);
        settled = resolve;
        done = () => {
          clearInterval(silence);
          clearTimeout(late);
        };
      });
      done?.();
      settled = undefined;
    }
    return { complete: missing === 0 };
  },

  received({ perConnection }: { perConnection: number }): Received {
    const reading = connections.filter(({ stalled }) => !stalled);
    latencies.sort((one, other) => one - other);
    return {
      expected: reading.length * perConnection,
      delivered: reading.reduce((sum, { received }) => sum + received, 0),
      wrong: reading.filter((reader) => reader.received !== perConnection || reader.outOfOrder || reader.closed).length,
      closed: reading.filter(({ closed }) => closed).length,
      gaps: reading.reduce((sum, { gaps }) => sum + gaps, 0),
      lastAtMicros,
      latencyP50Ms: percentile(latencies, 0.5) / 1000,
      latencyP99Ms: percentile(latencies, 0.99) / 1000,
      latencyMaxMs: percentile(latencies, 1) / 1000,
    };
  },

  /** Lets the stalled readers read again for a while. */
  async resume({ forMs }: { forMs: number }): Promise<Stalled> {
    const stalled = connections.filter((connection) => connection.stalled);
    for (const { socket } of stalled) socket.resume();
    await new Promise((resolve) => setTimeout(resolve, forMs));
    return {
      closed: stalled.filter(({ closed }) => closed).length,
      received: stalled.reduce((sum, { received }) => sum + received, 0),
      gaps: stalled.reduce((sum, { gaps }) => sum + gaps, 0),
    };
  },

  /** Resets all connections: a closing handshake would keep their ports for a minute. */
  close(): void {
    for (const { socket } of connections) socket.resetAndDestroy();
    connections = [];
    awake = false;
  },

  /** Without what it took to look in vain. */
  usage(): { cpuMicros: number } {
    const { user, system } = process.cpuUsage();
    return { cpuMicros: user + system - vainMicros };
  },
};

/**
 * Looks for bytes without sleeping in between. To wake a reader that sleeps costs the one who writes to it, here as much as the write
 * itself, and the more often the slower a server is; where readers are other machines, it does not.
 */
function stayAwake(): void {
  awake = true;
  let seen = reads;
  let since = nowMicros();
  const look = (): void => {
    const now = nowMicros();
    if (reads === seen) vainMicros += now - since;
    seen = reads;
    since = now;
    if (awake) setImmediate(look);
  };
  setImmediate(look);
}

/** Resolves when the response has begun. */
function openOne(
  options: OpenOptions,
  index: number,
  { stalled, sampled, deadline }: { stalled: boolean; sampled: boolean; deadline: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`a connection did not begin within ${options.timeoutMs} ms`));
    }, deadline - Date.now());
    const path = options.path
      .replace('{channel}', String(index % options.channels))
      .replace('{connection}', String(index));
    connections[index] = new Connection(options, path, stalled, sampled, (error) => {
      clearTimeout(late);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

serve(methods);
