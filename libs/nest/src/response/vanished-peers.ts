/**
 * Notices peers that vanished: no FIN, no RST, a pulled cable. Their kernel acknowledges nothing, while ours takes every small
 * write and retransmits for a quarter of an hour. Node has no TCP_USER_TIMEOUT, so Linux's table of connections is read.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';

/** The tables of this network namespace, https://docs.kernel.org/networking/proc_net_tcp.html. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
/** Local address and port, remote address and port, ESTABLISHED, queues, timer, and how often the oldest segment was sent again. */
const RETRANSMITTING =
  /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) 01 \S+ \S+ (?!00000000)[0-9A-F]{8} /gm;

/** The parts of a socket that are looked at. */
type Peer = Pick<Socket, 'localPort' | 'remoteAddress' | 'remotePort'>;

/** Who is told when a peer vanished. */
export interface WatchedPeer {
  readonly peer: Peer;
  /** Called once, when the peer acknowledged nothing for the deadline although there was something to. */
  onVanished(): void;
}

export interface VanishedPeersOptions {
  /** How often the tables are read. */
  readonly lookMs: number;
  /** How long a peer may acknowledge nothing. */
  readonly deadlineMs: number;
  /** Reads one table; rejects where there is none, as anywhere but on Linux. */
  readonly readTable?: (path: string) => Promise<string>;
}

/** One watch for all connections of an application. Elsewhere than on Linux it stays silent, and the system's own time-out holds. */
export class VanishedPeers {
  readonly #options: Required<VanishedPeersOptions>;
  readonly #watched = new Set<WatchedPeer>();
  /** Since when segments to a peer are being sent again; those that acknowledge are not here. */
  readonly #silentSince = new Map<WatchedPeer, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(options: VanishedPeersOptions) {
    this.#options = { readTable: (path) => readFile(path, 'latin1'), ...options };
  }

  /** Watches a socket until `unwatch`. */
  watch(watched: WatchedPeer): void {
    this.#watched.add(watched);
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.look(), this.#options.lookMs);
    this.#timer.unref();
  }

  unwatch(watched: WatchedPeer): void {
    this.#watched.delete(watched);
    this.#silentSince.delete(watched);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Looks once at all peers. */
  async look(): Promise<void> {
    // A table of many connections may take longer than the pause between two looks.
    if (this.#looking) return;
    this.#looking = true;
    try {
      const silent = new Set<string>();
      for (const table of TABLES) {
        for (const peer of retransmitting(await this.#options.readTable(table).catch(() => ''))) silent.add(peer);
      }
      if (silent.size === 0) return this.#silentSince.clear();
      const now = Date.now();
      for (const watched of this.#watched) {
        if (!silent.has(keyOf(watched.peer))) {
          this.#silentSince.delete(watched);
          continue;
        }
        const since = this.#silentSince.get(watched) ?? now;
        this.#silentSince.set(watched, since);
        if (now - since < this.#options.deadlineMs) continue;
        this.unwatch(watched);
        watched.onVanished();
      }
    } finally {
      this.#looking = false;
    }
  }
}

/** The peers in a table to which segments are being sent again. */
export function* retransmitting(table: string): Generator<string> {
  for (const [, localPort = '', address = '', remotePort = ''] of table.matchAll(RETRANSMITTING)) {
    yield `${parseInt(localPort, 16)} ${decodeAddress(address)} ${parseInt(remotePort, 16)}`;
  }
}

function keyOf({ localPort, remoteAddress = '', remotePort }: Peer): string {
  return `${localPort} ${canonical(remoteAddress.replace(/%.*$/, ''))} ${remotePort}`;
}

/** The kernel prints an address as 32-bit words in the byte order of the machine. */
function decodeAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => {
    const pairs = (word.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
    return endianness() === 'LE' ? pairs.toReversed() : pairs;
  });
  if (bytes.length === 4) return canonical(bytes.join('.'));
  const groups = Array.from({ length: 8 }, (_, n) =>
    (((bytes[2 * n] ?? 0) << 8) | (bytes[2 * n + 1] ?? 0)).toString(16),
  );
  return canonical(groups.join(':'));
}

/** One spelling for each address: the URL standard's. */
function canonical(address: string): string {
  const url = `http://${address.includes(':') ? `[${address}]` : address}`;
  return URL.canParse(url) ? new URL(url).hostname : address;
}
