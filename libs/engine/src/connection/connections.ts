/** The connections of this node: who they are, how many there may be, and the way to end some of them. */
import { LimitError, SseChannelsError } from '@sse-channels/protocol';
import type { Connection, ConnectionInfo, Party } from './connection.js';

/** Which connections are meant: those that match everything that is named. */
export interface ConnectionSelection {
  readonly id?: string;
  readonly principal?: string;
  /** A topic, or its name. */
  readonly topic?: string | { readonly name: string };
}

/** How connections are ended by the application. */
export interface EndOptions {
  /**
   * Whether the client is told to come back, and meets the guards again. When not, its next try with the cursor that it was
   * given last is answered 204; who then comes without a cursor is for the guards to refuse.
   * @default false
   */
  readonly comeBack?: boolean;
  /** How long a client that comes back is told to wait, in milliseconds. @default as `$open` said */
  readonly retryMs?: number;
}

/** How many connections there may be; null is no limit. */
export interface ConnectionLimits {
  /** In all, on this node. */
  readonly connections: number | null;
  /** Of one principal. */
  readonly perPrincipal: number | null;
  /** Of one address. */
  readonly perAddress: number | null;
}

const NO_LIMITS: ConnectionLimits = { connections: null, perPrincipal: null, perAddress: null };

/** One for each node: the hub opens and ends connections in it, the bus shows it to the application. */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #open = new Set<Connection>();
  readonly #ofPrincipal = new Map<string, number>();
  readonly #ofAddress = new Map<string, number>();

  constructor(limits: ConnectionLimits = NO_LIMITS) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#open.size;
  }

  /** What is known of the connections that match; of all without a selection. */
  list(selection: ConnectionSelection = {}): ConnectionInfo[] {
    return this.#matching(selection).map((connection) => connection.describe());
  }

  /**
   * Ends the connections that match, as `revoked`: at once, nothing more of what was due is sent.
   * @returns how many were ended
   * @throws SseChannelsError `INVALID_OPTION` for a selection that names nothing
   */
  end(selection: ConnectionSelection, { comeBack = false, retryMs }: EndOptions = {}): number {
    if (selection.id === undefined && selection.principal === undefined && selection.topic === undefined) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        'connections.end needs to know which connections: name an id, a principal or a topic.',
      );
    }
    const matching = this.#matching(selection);
    for (const connection of matching) {
      connection.end('revoked', { comeBack, ...(retryMs === undefined ? {} : { retryMs }) });
    }
    return matching.length;
  }

  /**
   * Sees whether there is room for one more.
   * @throws LimitError
   */
  assertRoom({ principal, address }: Party): void {
    const { connections, perPrincipal, perAddress } = this.#limits;
    if (connections !== null && this.#open.size >= connections) throw new LimitError('connections', connections);
    if (perPrincipal !== null && principal !== null && (this.#ofPrincipal.get(principal) ?? 0) >= perPrincipal) {
      throw new LimitError('perPrincipal', perPrincipal);
    }
    if (perAddress !== null && address !== null && (this.#ofAddress.get(address) ?? 0) >= perAddress) {
      throw new LimitError('perAddress', perAddress);
    }
  }

  /** @internal for the hub */
  add(connection: Connection): void {
    this.#open.add(connection);
    count(this.#ofPrincipal, connection.party.principal, 1);
    count(this.#ofAddress, connection.party.address, 1);
  }

  /** @internal for the hub */
  delete(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    count(this.#ofPrincipal, connection.party.principal, -1);
    count(this.#ofAddress, connection.party.address, -1);
  }

  /** @internal for the hub */
  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#open.values();
  }

  #matching({ id, principal, topic }: ConnectionSelection): Connection[] {
    const name = typeof topic === 'object' ? topic.name : topic;
    return [...this.#open].filter(
      (connection) =>
        (id === undefined || connection.id === id) &&
        (principal === undefined || connection.party.principal === principal) &&
        (name === undefined || connection.topics.includes(name)),
    );
  }
}

function count(counts: Map<string, number>, key: string | null, change: 1 | -1): void {
  if (key === null) return;
  const now = (counts.get(key) ?? 0) + change;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}
