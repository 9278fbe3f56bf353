/** A source: what one connection sends, asked for whenever the peer can take more. */
import type { Cursor, EndReason, OpenTopic } from '@sse-channels/protocol';

/** A source that has ended by itself says how. */
export interface SourceOutcome {
  readonly reason: Extract<EndReason, 'done' | 'failed' | 'slow'>;
  /** What it failed with. */
  readonly error?: unknown;
}

/** Who is told that there may be more to send. */
export interface Waker {
  wake(): void;
}

export interface Source {
  /** How each topic begins, for `$open`. */
  readonly topics: readonly OpenTopic[];
  /** Where a client stands that received everything so far; null when the source has no cursors. */
  readonly cursor: Cursor | null;
  /** Whether something is on its way that `next` cannot give yet. */
  readonly pending: boolean;
  /** Records that are there and were not given yet, as far as they can be counted. */
  readonly lagEvents?: number;
  /** Set when the source has ended; what it had before is still given. */
  readonly outcome: SourceOutcome | null;
  /** Begins; from now on the waker is woken when `next` may have more, or when `outcome` was set. */
  start(waker: Waker): void;
  /** Frames that are due, in order, as one piece of around `maxBytes`; null when there are none now. */
  next(maxBytes: number): Buffer | null;
  /** There may be more, but the peer has not taken what it was given: the source may give up on it. */
  hold?(): void;
  /** The peer takes bytes again after it did not: the source may leave out what is too old by now. */
  resume?(): void;
  /** Called from time to time while nothing else has to happen; the wall clock's milliseconds since 1970. */
  tick?(now: number): void;
  /** Lets go of everything. */
  close(): void;
}
