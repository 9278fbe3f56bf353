/** What the engine tells of itself: it never logs and never swallows. A host turns these calls into logs and metrics. */
import type { EndReason, GapReason } from '@sse-channels/protocol';

/** All members are optional; what they throw is not caught. */
export interface Observer {
  /** A connection's first bytes were written. */
  connectionOpened?(connectionId: string): void;
  /** A connection ended, for one reason, once. */
  connectionEnded?(connectionId: string, reason: EndReason): void;
  /** A record was appended to a log. */
  eventPublished?(topic: string, eventName: string): void;
  /** A client was told of a gap. */
  gapTold?(topic: string, reason: GapReason): void;
  /** Something failed that no caller is there to hear of. `context` says what was being done. */
  failed?(error: unknown, context: string): void;
}
