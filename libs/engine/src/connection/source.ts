/** A source: what one connection sends, asked for whenever the peer can take more. */
import type { Cursor, EndReason, OpenTopic } from '@sse-channels/protocol';

/** A source that has ended by itself says how. */
export interface SourceOutcome {
  readonly reason: Extract<EndReason, 'done' | 'failed' | 'slow'>;
  /** What it failed with. */
  readonly error?: unknown;
}

export interface Source {
  /** How each topic begins, for `$open`. */
  readonly topics: readonly OpenTopic[];
  /** Where a client stands that received everything so far; null when the source has no cursors. */
  readonly cursor: Cursor | null;
  /** Whether something is on its way that `next` cannot give yet. */
  readonly pending: boolean;
  /** Set when the source has ended; what it had before is still given. */
  readonly outcome: SourceOutcome | null;
  /** Begins; from now on `wake` is called when `next` may have more, or when `outcome` was set. */
  start(wake: () => void): void;
  /** Frames that are due, in order, as one piece of around `maxBytes`; null when there are none now. */
  next(maxBytes: number): Buffer | null;
  /** Lets go of everything. */
  close(): void;
}
