/** The port: what keeps the logs and carries their records to every node. A backplane is right when it passes the contract suite of `@sse-channels/testing`. */
import type { Cursor, GapReason, Offset, Retention } from '@sse-channels/protocol';

/** An event on its way into a log: validated, and encoded as one line of JSON. */
export interface Draft {
  readonly name: string;
  readonly data: string;
  /** What the event is about, where its type declares a key: a newer record of the same name and key replaces it for slow readers. */
  readonly key?: string;
}

/** An event as kept in a log. */
export interface EventRecord extends Draft {
  /** The topic's name. */
  readonly topic: string;
  readonly offset: Offset;
  /** The offset of the topic's record before this one, whether it is still kept or not; null when there is none to know of. */
  readonly prev: Offset | null;
  /** When it was appended, in milliseconds since 1970. */
  readonly time: number;
}

/** A topic's name, or a channel's filter: `*` stands for one whole segment. */
export type TopicFilter = string;

/** Where a read starts: after an offset, at the earliest record (null), or at the last so many. */
export type ReadStart = Offset | null | { readonly last: number };

/** What a read answers: the records after `from`, oldest first, with nothing missing between `from` and the last of them. */
export interface Page {
  /** The offset after which the page is whole: the one asked for, or where the log begins when it could not give all. */
  readonly from: Offset;
  readonly records: readonly EventRecord[];
  /** Whether more records follow; then read on after the last one. */
  readonly more: boolean;
  /** When `more` is false: every record up to this offset of the log space has been given. */
  readonly head: Offset;
  /** False when the log cannot vouch that no record lies between the offset asked for and `from`. */
  readonly intact: boolean;
  /** Why it is not intact; null when it is. */
  readonly reason: GapReason | null;
}

/** A live tail. */
export interface Tail {
  /** Every record of the filter up to this offset of the log space was handed over, or precedes the tail. */
  readonly position: Offset;
  /** Ends it; nothing is handed over afterwards. */
  end(): void;
}

/** What a backplane declares; the contract suite holds it to that. */
export interface BackplaneCapabilities {
  /** What was acknowledged, and with it every cursor, survives the process. */
  readonly durable: boolean;
  /** Every process that opens the same log space reads, writes and follows the same logs. */
  readonly sharedAcrossNodes: boolean;
  /**
   * What moves a tail's position: `space`, the records of all topics that this process follows, so that a stream of many topics
   * need not read the log of the quiet ones; `topic`, those of its own topic alone.
   */
  readonly order: 'space' | 'topic';
}

/**
 * Whether the logs can be reached: `live`; `catching-up`, after they could not be; `down`. Tails outlast it: what they miss
 * meanwhile they make up for by `onLoss`.
 */
export type BackplaneState = 'live' | 'catching-up' | 'down';

/** What a backplane tells of itself. */
export interface BackplaneListener {
  /** Its state changed. `reason` is a sentence for a log. */
  onState?(state: BackplaneState, reason: string): void;
  /** The engine is set up so that a promise may break: which, why, and the way out. */
  onWarning?(message: string): void;
}

/** What an append may ask for. */
export interface AppendOptions {
  /**
   * Names what is being said: of several appends to a topic with one key within ten minutes, only the first adds a record, and all
   * answer its cursor. Up to 256 characters.
   */
  readonly idempotencyKey?: string | undefined;
}

/** Keeps one ordered, bounded log per topic. */
export interface Backplane {
  readonly capabilities: BackplaneCapabilities;
  readonly state: BackplaneState;
  /** The identity of the log space; a new one when continuity with the old one cannot be vouched for. Known once `ready()` resolved. */
  readonly epoch: string;
  /**
   * Resolves when the logs can be used; called once, before anything else.
   * @throws rejects when they cannot be: the engine is not there, too old, or set up so that it cannot work
   */
  ready(listener?: BackplaneListener): Promise<void>;
  /**
   * Adds a record to a topic's log, after every record that was appended before. Appends of a topic take their places in the order
   * of the calls. What the engine does not answer is tried again, in order and without a double, until a deadline.
   * @returns the record's cursor
   * @throws rejects with AppendError when the record is not known to be kept
   */
  append(topic: string, draft: Draft, retention: Retention, options?: AppendOptions): Promise<Cursor>;
  /**
   * Reads at most `limit` records of a topic, or of all topics of a filter in the order of their offsets.
   * @throws rejects with SseChannelsError `UNAVAILABLE` when the log cannot be reached within a deadline
   */
  read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page>;
  /**
   * Follows a topic, or all topics of a filter, from now on. Records come in the order of their offsets. A tail may lose
   * records: of a single topic the reader sees it by `prev`, otherwise, and whenever it suspects a loss, the tail calls
   * `onLoss`, before it hands over what follows, and the reader reads the log. `onRecord` must not throw.
   */
  tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail>;
  /** Ends all tails and lets go of everything; later calls reject. */
  close(): Promise<void>;
}
