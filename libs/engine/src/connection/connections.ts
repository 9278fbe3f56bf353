/** The connections of this node: who they are, how many there may be, and the way to end some of them. */
import { LimitError, SseChannelsError } from '@sse-channels/protocol';
import type {
  ConnectionDirectory,
  ConnectionInfo,
  ConnectionSelection,
  EndOptions,
} from '../directory/connection-directory.js';
import type { Connection, Party } from './connection.js';

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
export class Connections implements ConnectionDirectory {
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

  list(selection: ConnectionSelection = {}): ConnectionInfo[] {
    return this.#matching(selection).map((connection) => connection.describe());
  }

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
