/** The connections of this node: who they are, how many there may be, and the way to end some of them. */
import { LimitError, SseChannelsError } from '@sse-channels/protocol';
import type {
  ConnectionInfo,
  ConnectionSelection,
  CountedBy,
  CountsElsewhere,
  EndOptions,
  ListOptions,
  NodeDirectory,
} from '../directory/connection-directory.js';
import type { ChangeableStream, ChangeableStreams, TopicChangesBy, TopicsChanged } from '../directory/topic-changes.js';
import type { Connection, Party } from './connection.js';

/** How many connections there may be; null is no limit. */
export interface ConnectionLimits {
  /** In all, on this node. */
  readonly connections: number | null;
  /** Of one principal; on all nodes where those tell each other. */
  readonly perPrincipal: number | null;
  /** Of one address; on all nodes where those tell each other. */
  readonly perAddress: number | null;
}

const NO_LIMITS: ConnectionLimits = { connections: null, perPrincipal: null, perAddress: null };

const LIMIT_ON = { principal: 'perPrincipal', address: 'perAddress' } as const;

/** One for each node: the hub opens and ends connections in it, the bus shows it to the application. */
export class Connections implements NodeDirectory, ChangeableStreams {
  readonly #limits: ConnectionLimits;
  readonly #elsewhere: CountsElsewhere | null;
  readonly #open = new Set<Connection>();
  /** Those whose topics can be changed, by id. */
  readonly #changeable = new Map<string, { readonly party: Party; readonly stream: ChangeableStream }>();
  readonly #counts: Readonly<Record<CountedBy, Map<string, number>>> = { principal: new Map(), address: new Map() };

  /** @param elsewhere what the other nodes have, where limits are to hold for all of them; null: for this one */
  constructor(limits: ConnectionLimits = NO_LIMITS, elsewhere: CountsElsewhere | null = null) {
    this.#limits = limits;
    this.#elsewhere = elsewhere;
  }

  get size(): number {
    return this.#open.size;
  }

  count(selection: ConnectionSelection = {}): number {
    let count = 0;
    for (const _ of this.#matching(selection)) count += 1;
    return count;
  }

  list(selection: ConnectionSelection = {}, { limit = Infinity }: ListOptions = {}): ConnectionInfo[] {
    const infos: ConnectionInfo[] = [];
    for (const connection of this.#matching(selection)) {
      if (infos.length >= limit) break;
      infos.push(connection.describe());
    }
    return infos;
  }

  end(selection: ConnectionSelection, { comeBack = false, retryMs }: EndOptions = {}): number {
    if (selection.id === undefined && selection.principal === undefined && selection.topic === undefined) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        'connections.end needs to know which connections: name an id, a principal or a topic.',
      );
    }
    // All of them first: an end takes its connection out of what is walked.
    const matching = [...this.#matching(selection)];
    for (const connection of matching) {
      connection.end('revoked', { comeBack, ...(retryMs === undefined ? {} : { retryMs }) });
    }
    return matching.length;
  }

  /**
   * Sees whether there is room for one more.
   * @throws LimitError
   */
  assertRoom(party: Party): void {
    const { connections } = this.#limits;
    if (connections !== null && this.#open.size >= connections) throw new LimitError('connections', connections);
    this.#assertRoomOf('principal', party.principal);
    this.#assertRoomOf('address', party.address);
  }

  async change(connection: string, changes: TopicChangesBy): Promise<TopicsChanged | null> {
    const found = this.#changeable.get(connection);
    if (found === undefined) return null;
    const { principal } = found.party;
    // Who learned of another's id does not thereby learn that there is such a stream.
    if (changes.principal !== null && principal !== null && changes.principal !== principal) return null;
    return found.stream.change(changes);
  }

  /** @internal for the hub */
  add(connection: Connection, stream?: ChangeableStream): void {
    this.#open.add(connection);
    if (stream !== undefined) this.#changeable.set(connection.id, { party: connection.party, stream });
    this.#changeBy(1, connection.party);
  }

  /** @internal for the hub */
  delete(connection: Connection): void {
    this.#changeable.delete(connection.id);
    if (this.#open.delete(connection)) this.#changeBy(-1, connection.party);
  }

  /** @internal for the hub */
  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#open.values();
  }

  *#matching({ id, principal, topic }: ConnectionSelection): Generator<Connection> {
    const name = typeof topic === 'object' ? topic.name : topic;
    for (const connection of this.#open) {
      const matches =
        (id === undefined || connection.id === id) &&
        (principal === undefined || connection.party.principal === principal) &&
        (name === undefined || connection.topics.includes(name));
      if (matches) yield connection;
    }
  }

  #assertRoomOf(by: CountedBy, name: string | null): void {
    const { [LIMIT_ON[by]]: most } = this.#limits;
    if (most === null || name === null) return;
    const here = this.#counts[by].get(name) ?? 0;
    if (here >= most || here + (this.#elsewhere?.elsewhere(by, name) ?? 0) >= most) {
      throw new LimitError(LIMIT_ON[by], most);
    }
  }

  #changeBy(change: 1 | -1, { principal, address }: Party): void {
    this.#count('principal', principal, change);
    this.#count('address', address, change);
  }

  /** Counts what there is a limit on. */
  #count(by: CountedBy, name: string | null, change: 1 | -1): void {
    if (name === null || this.#limits[LIMIT_ON[by]] === null) return;
    const { [by]: counts } = this.#counts;
    const now = (counts.get(name) ?? 0) + change;
    if (now === 0) counts.delete(name);
    else counts.set(name, now);
    this.#elsewhere?.changed(by, name, now);
  }
}
