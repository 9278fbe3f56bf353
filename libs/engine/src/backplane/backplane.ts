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

/** Keeps one ordered, bounded log per topic. */
export interface Backplane {
  /** The identity of the log space; a new one when continuity with the old one cannot be vouched for. Known once `ready()` resolved. */
  readonly epoch: string;
  /** Resolves when the logs can be used. */
  ready(): Promise<void>;
  /**
   * Adds a record to a topic's log, after every record that was appended before. Appends take their places in the order of
   * the calls.
   * @returns the record's cursor
   * @throws rejects when the record is not known to be kept
   */
  append(topic: string, draft: Draft, retention: Retention): Promise<Cursor>;
  /** Reads at most `limit` records of a topic, or of all topics of a filter in the order of their offsets. */
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
