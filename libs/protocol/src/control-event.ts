/** The events that the library itself sends; their names start with `$`. PROTOCOL.md is the normative text. */
import type { Cursor } from './cursor.js';

/** The version of the wire protocol, sent in `$open`. */
export const PROTOCOL_VERSION = 1;

/**
 * Why a log cannot give every record after a cursor. `trimmed`: records after it were removed by retention, or are more than a
 * client is replayed. `reset`: the cursor is of another log space, such as that of the process before a restart. `rewound`: it
 * lies after the log's end. `invalid`: it is no cursor at all, or none that was signed for this stream. `skipped`: the log has
 * them, but the reader was too slow for what the channel allows.
 */
export type GapReason = 'trimmed' | 'reset' | 'rewound' | 'invalid' | 'skipped';

/**
 * Why a connection ended. `client-left`: the peer closed it. `slow`: it stopped reading for longer than the write deadline.
 * `expired`: its age or its grant ran out. `revoked`: the application ended it. `drained`: the server stops. `done`: the
 * source completed. `failed`: the source threw. `answered`: it was a long poll, and has its answer; no `$closing` says it.
 */
export type EndReason = 'client-left' | 'slow' | 'expired' | 'revoked' | 'drained' | 'done' | 'failed' | 'answered';

/** How one topic of a connection begins. */
export interface OpenTopic {
  /** The topic's name. */
  readonly topic: string;
  /** True when every record after the client's cursor follows. */
  readonly resumed: boolean;
  /** Why there is a gap; a `$gap` event follows. Null when there is none. */
  readonly gap: GapReason | null;
  /** True for a topic of several whose replay lies before the stream's cursor; `$live` says when that covers it. */
  readonly behind?: true;
}

/** The data of `$open`, the first event of every stream; of a later one of the same stream, the topics that were added. */
export interface OpenData {
  readonly protocol: typeof PROTOCOL_VERSION;
  /** The connection's id. */
  readonly connection: string;
  /** The longest silence in milliseconds: when nothing came for clearly longer, the connection is dead. */
  readonly heartbeatMs: number;
  /** One entry a topic; empty for a stream of one connection. */
  readonly topics: readonly OpenTopic[];
}

/**
 * The data of `$live`: a topic that was added behind the stream's cursor has been given all up to it, and the cursor covers the topic
 * from now on. Until then its events carry their own in the field `cursor:`, and a client that reconnects names it for the topic.
 */
export interface LiveData {
  readonly topic: string;
}

/** The data of `$gap`: records of `topic` between the client's cursor and what follows are missing. */
export interface GapData {
  readonly topic: string;
  readonly reason: GapReason;
  /** With the reason `skipped`: how many records the client is not given. */
  readonly skipped?: number;
}

/** The data of `$closing`, the last event of a stream that the server ends; or, with `topic`, of a topic of a stream that goes on. */
export interface ClosingData {
  /** The topic that ended; absent for the stream. */
  readonly topic?: string;
  readonly reason: EndReason;
  /** Whether the client should reconnect. When false, the `id:` is the final cursor and a reconnect is answered 204. */
  readonly comeBack: boolean;
}

/** The data of `$error`: the source failed after the first byte, and `$closing` follows; or, with `topic`, a topic was refused. */
export interface ErrorData {
  /** The topic that was refused; absent for the stream. */
  readonly topic?: string;
  /** A message that is safe to show; never the text of an unexpected error. */
  readonly message: string;
  /** The HTTP status that the error would have had before the first byte. */
  readonly status: number;
  readonly comeBack: boolean;
}

/**
 * Said where a log could not give every record: an item of `bus.stream(…).pipe(replayFrom(cursor))`, and the `$gap` event of
 * a stream. What the log still has follows it.
 */
export class Gap {
  constructor(
    /** The topic's name, or the channel's pattern for a stream of a whole channel. */
    readonly topic: string,
    readonly reason: GapReason,
    /** Where the reader stands after the gap; empty: before the first item. */
    readonly cursor: Cursor,
  ) {}
}

/** Emitted by the operator `heartbeat(ms)` when nothing else was for so long; a comment on the wire. */
export class Heartbeat {
  /** Without a member of its own every object would pass for a heartbeat with the compiler. */
  readonly heartbeat = true;
}
