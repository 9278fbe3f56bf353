/** A source: what one connection sends, asked for whenever the peer can take more. */
import type { Cursor, EndReason, OpenTopic } from '@sse-channels/protocol';
import type { Sink } from './sink.js';

/** The most that one write carries, about: enough that a write's own cost does not show, little enough to share. */
export const BATCH_BYTES = 65_536;

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

/** Whose sink a source writes to by itself. */
export interface SinkOwner extends Waker {
  /** The sink has said that its peer does not keep up. */
  onFull(): void;
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
  /** When it last wrote by itself, by the clock that is never set, and 0 before it did; absent while it does not serve the sink. */
  readonly servedAt?: number | undefined;
  /** Begins; from now on the owner is woken when `next` may have more, or when `outcome` was set. */
  start(owner: SinkOwner): void;
  /** Frames that are due, in order, as one piece of around `maxBytes`; null when there are none now. */
  next(maxBytes: number): Buffer | null;
  /**
   * `next` has no more now, and the peer takes more: until it is asked to let go the source may write to the sink by itself, what it
   * gives to many alike, and wake nobody.
   */
  serve?(sink: Sink): void;
  /** Writes to the sink no more, and wakes again. */
  letGo?(): void;
  /** There may be more, but the peer has not taken what it was given: the source may give up on it. */
  hold?(): void;
  /** The peer takes bytes again after it did not: the source may leave out what is too old by now. */
  resume?(): void;
  /** Called from time to time while nothing else has to happen; the wall clock's milliseconds since 1970. */
  tick?(now: number): void;
  /** Lets go of everything. */
  close(): void;
}
