/** The directory of a node's connections, as the application sees it: below the bus, which shows it, and the hub, which fills it. */
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

/** Lists connections, and ends some of them. */
export interface ConnectionDirectory {
  /** How many are open. */
  readonly size: number;
  /** What is known of the connections that match; of all without a selection. */
  list(selection?: ConnectionSelection): ConnectionInfo[];
  /**
   * Ends the connections that match, as `revoked`: at once, nothing more of what was due is sent.
   * @returns how many were ended
   * @throws SseChannelsError `INVALID_OPTION` for a selection that names nothing
   */
  end(selection: ConnectionSelection, options?: EndOptions): number;
}

/** The directory of a bus that no hub stands beside. */
export const EMPTY_DIRECTORY: ConnectionDirectory = { size: 0, list: () => [], end: () => 0 };
