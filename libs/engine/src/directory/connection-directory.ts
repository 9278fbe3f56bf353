/** The directory of connections, as the application sees it: below the bus, which shows it, and the hub, which fills it. */
import type { Cursor } from '@sse-channels/protocol';

/** What is known of an open connection. */
export interface ConnectionInfo {
  /** Its id, the one that `$open` told the client. */
  readonly id: string;
  /** Who it serves, as the application names principals; null where nobody is known. */
  readonly principal: string | null;
  /** The peer's address; null where it is not known. */
  readonly address: string | null;
  /** The names of its topics; empty for a stream of one connection. */
  readonly topics: readonly string[];
  /** Milliseconds since it was opened. */
  readonly ageMs: number;
  /** Where the client stands that received everything that was written; null where it has no cursors. */
  readonly cursor: Cursor | null;
  /** Records that it was not given yet. */
  readonly lagEvents: number;
  /** Bytes that its socket has taken since the peer connected; 0 where the socket does not count, as with HTTP/2. */
  readonly writtenBytes: number;
  /** Bytes that were written and wait for the peer. */
  readonly waitingBytes: number;
}

/** Which connections are meant: those that match everything that is named. */
export interface ConnectionSelection {
  readonly id?: string;
  readonly principal?: string;
  readonly topic?: TopicOrName;
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

/** How many are listed. */
export interface ListOptions {
  /** At most so many. @default all */
  readonly limit?: number;
}

/** Lists the connections of this node, and ends some of them. */
export interface NodeDirectory {
  /** How many are open. */
  readonly size: number;
  /** How many match; all without a selection. */
  count(selection?: ConnectionSelection): number;
  /** What is known of the connections that match; of all without a selection. */
  list(selection?: ConnectionSelection, options?: ListOptions): ConnectionInfo[];
  /**
   * Ends the connections that match, as `revoked`: at once, nothing more of what was due is sent.
   * @returns how many were ended
   * @throws SseChannelsError `INVALID_OPTION` for a selection that names nothing
   */
  end(selection: ConnectionSelection, options?: EndOptions): number;
}

/** The connections of this node, and the way to those of every node. */
export interface ConnectionDirectory extends NodeDirectory {
  /** The connections of every node that shares the backplane; of this node alone where none does. */
  readonly everywhere: EverywhereDirectory;
  /**
   * Adds a topic to the stream of a hub, on whatever node that is: from what is published from now on. No route is asked; the client
   * is told of it by `$open`, and names it itself when it comes back, or does without.
   * @param id the connection's
   * @returns whether there is such a stream; it has the topic then
   * @throws rejects with SseChannelsError `INVALID_OPTION` where it takes no more topics or nobody knows the topic's channel on its node,
   * `UNAVAILABLE` where its node, or the log, cannot be reached
   */
  subscribe(id: string, topic: TopicOrName): Promise<boolean>;
  /**
   * Takes a topic out of the stream of a hub, on whatever node that is; the client is told by a `$closing` with the topic.
   * @returns whether there is such a stream that had it
   * @throws as `subscribe`
   */
  unsubscribe(id: string, topic: TopicOrName): Promise<boolean>;
}

/** A topic, or its name. */
export type TopicOrName = string | { readonly name: string };

/** A node of the application: one process that serves streams. */
export interface NodeInfo {
  /** By chance, and new with each start. */
  readonly id: string;
  /** Its name for people. */
  readonly name: string;
  /** Whether it is the one that answers. */
  readonly here: boolean;
  /** Its open connections, as it said last: up to a third of its lease ago. */
  readonly connections: number;
  /** When it started, in milliseconds since 1970 by its own clock. */
  readonly startedAt: number;
  /** Whether it is shutting down. */
  readonly draining: boolean;
  /** Milliseconds since it was last heard of; 0 for this node. */
  readonly heardMs: number;
}

/** A connection, and the node that holds it. */
export interface PlacedConnectionInfo extends ConnectionInfo {
  readonly node: { readonly id: string; readonly name: string };
  /** How many of its topics are left out, because their names are more than one record carries; 0 for nearly all. */
  readonly topicsLeftOut: number;
}

/**
 * What is in every answer of all nodes. Who did not answer within two seconds is named, and the answer is whole but for them. An end
 * that they were asked for they still carry out when they hear of it while the log keeps it, a minute at most.
 */
export interface EverywhereAnswer {
  readonly unanswered: readonly NodeInfo[];
}

/** How many connections match on every node. */
export interface EverywhereCount extends EverywhereAnswer {
  readonly count: number;
}

/** The connections that match on every node, one node after the other, this one first. */
export interface EverywhereList extends EverywhereAnswer {
  readonly connections: readonly PlacedConnectionInfo[];
  /** Whether there are more than the limit let through. */
  readonly more: boolean;
}

/** How many connections were ended on every node. */
export interface EverywhereEnd extends EverywhereAnswer {
  readonly ended: number;
}

/**
 * Asks all nodes, through the backplane. Everything in it but `nodes` rejects with SseChannelsError `UNAVAILABLE` where the other
 * nodes could not be heard yet since this one started, or where too much is being asked at once, and `CLOSED` after the end; this node
 * itself has done its part then.
 */
export interface EverywhereDirectory {
  /** The nodes that are there: this one, and those heard of within their lease. */
  nodes(): NodeInfo[];
  /** How many connections match; all without a selection. */
  count(selection?: ConnectionSelection): Promise<EverywhereCount>;
  /**
   * What is known of the connections that match; of all without a selection.
   * @param options `limit`: at most so many in all, from 1 to 10,000; 1,000 when absent
   */
  list(selection?: ConnectionSelection, options?: ListOptions): Promise<EverywhereList>;
  /**
   * Ends the connections that match, as `end` of each node does.
   * @throws rejects with SseChannelsError `INVALID_OPTION` for a selection that names nothing
   */
  end(selection: ConnectionSelection, options?: EndOptions): Promise<EverywhereEnd>;
}

/** Of what a limit may count the connections of all nodes. */
export type CountedBy = 'principal' | 'address';

/** What limits that hold for all nodes ask, and tell. */
export interface CountsElsewhere {
  /** How many connections the other nodes have of this name, as far as is known. */
  elsewhere(by: CountedBy, name: string): number;
  /** This node has so many of this name now. */
  changed(by: CountedBy, name: string, count: number): void;
}

const NOBODY_ELSE: EverywhereAnswer = { unanswered: [] };

/** The directory of a bus that no hub stands beside. */
export const EMPTY_DIRECTORY: ConnectionDirectory = {
  size: 0,
  count: () => 0,
  list: () => [],
  end: () => 0,
  everywhere: {
    nodes: () => [],
    count: async () => ({ count: 0, ...NOBODY_ELSE }),
    list: async () => ({ connections: [], more: false, ...NOBODY_ELSE }),
    end: async () => ({ ended: 0, ...NOBODY_ELSE }),
  },
  subscribe: async () => false,
  unsubscribe: async () => false,
};
