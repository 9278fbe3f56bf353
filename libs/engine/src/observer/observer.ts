/** What the engine tells of itself: it never logs and never swallows. A host turns these calls into logs and metrics. */
import type { EndReason, GapReason } from '@sse-channels/protocol';
import type { BackplaneState } from '../backplane/backplane.js';
import type { NodeInfo } from '../directory/connection-directory.js';

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
  /** The logs can be reached, or not: streams stay open meanwhile, publishes fail by their deadline. `reason` is a sentence. */
  backplaneChanged?(state: BackplaneState, reason: string): void;
  /** Something is set up so that a promise may break: which, why, and the way out. */
  warned?(message: string): void;
  /** Another node of the application is there. */
  nodeJoined?(node: NodeInfo): void;
  /** It is gone: it said goodbye, or was not heard of for its lease. */
  nodeLeft?(node: NodeInfo, how: 'goodbye' | 'lease'): void;
  /** Something failed that no caller is there to hear of. `context` says what was being done. */
  failed?(error: unknown, context: string): void;
}
