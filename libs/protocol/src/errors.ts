/** The one error of this library: every failure a caller can act on carries a `code`. */

/** What went wrong, as a constant to branch on; the message tells it to a person, with the value and the way out. */
export type SseChannelsErrorCode =
  | 'INVALID_EVENT_NAME'
  | 'INVALID_EVENT_DEFINITION'
  | 'INVALID_CHANNEL'
  | 'CHANNEL_CONFLICT'
  | 'INVALID_TOPIC_PARAMETER'
  | 'INVALID_FRAME'
  | 'FRAME_TOO_LARGE'
  | 'INVALID_OPTION'
  | 'EVENT_NOT_DECLARED'
  | 'EVENT_INVALID'
  | 'EVENT_NOT_SERIALIZABLE'
  | 'EVENT_TOO_LARGE'
  | 'INVALID_CURSOR'
  | 'INVALID_HANDLER_RESULT'
  | 'LIMIT_REACHED'
  | 'LOG_GAP'
  | 'RATE_LIMITED'
  | 'APPEND_FAILED'
  | 'UNAVAILABLE'
  | 'STREAM_REFUSED'
  | 'STREAM_FAILED'
  | 'CALLBACK_FAILED'
  | 'CLOSED'
  | 'DRAINING';

/** Thrown, or rejected with, by everything in this library. */
export class SseChannelsError extends Error {
  override readonly name: string = 'SseChannelsError';

  constructor(
    readonly code: SseChannelsErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Whether a log could not be reached: tried again later, the same call may be answered. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof SseChannelsError && error.code === 'UNAVAILABLE';
}

/** One rule that an event's data broke. */
export interface EventIssue {
  /** The property, dotted where it is nested: `address.street`; empty for the event as a whole. */
  readonly property: string;
  /** What is wrong with it, as the validator says it. */
  readonly message: string;
}

/** An event's data broke the rules of its class or schema; `issues` lists every failed property. */
export class EventValidationError extends SseChannelsError {
  override readonly name = 'EventValidationError';

  constructor(
    readonly eventName: string,
    readonly issues: readonly EventIssue[],
  ) {
    const list = issues.map(({ property, message }) => (property ? `${property}: ${message}` : message)).join('; ');
    super('EVENT_INVALID', `Event "${eventName}" is not valid, nothing was sent: ${list}`);
  }
}

/** A limit of the module's option `limits` that is about connections. */
export type ConnectionLimit = 'connections' | 'perPrincipal' | 'perAddress' | 'perTopic' | 'topicsPerConnection';

const WHAT_IS_LIMITED: Readonly<Record<ConnectionLimit, string>> = {
  connections: 'connections of this server',
  perPrincipal: 'connections of one principal',
  perAddress: 'connections of one address',
  perTopic: 'connections to one topic',
  topicsPerConnection: 'topics of one connection',
};

/** There are as many connections, or topics, as there may be; nobody is put out for one that comes later. */
export class LimitError extends SseChannelsError {
  override readonly name = 'LimitError';

  constructor(
    readonly limit: ConnectionLimit,
    readonly most: number,
  ) {
    super('LIMIT_REACHED', `There are ${most} ${WHAT_IS_LIMITED[limit]}, the most that "limits.${limit}" allows.`);
  }
}

/** A topic takes no more events for now; nothing was sent. Where a request asked for it, 429 is the answer. */
export class RateLimitError extends SseChannelsError {
  override readonly name = 'RateLimitError';

  /**
   * @param topic the topic's name
   * @param events how many were to be published
   * @param retryAfterMs after how many milliseconds the topic takes as many; null: never, they are more than its burst
   */
  constructor(
    readonly topic: string,
    { perSecond, burst }: { readonly perSecond: number; readonly burst: number },
    events: number,
    readonly retryAfterMs: number | null,
  ) {
    const wayOut =
      retryAfterMs === null ? `publish ${events} events in smaller lots` : `try again in ${retryAfterMs} ms`;
    super(
      'RATE_LIMITED',
      `Topic "${topic}" takes ${perSecond} events a second and ${burst} at once (its channel's "publishLimit"), nothing was sent; ${wayOut}.`,
    );
  }
}

/**
 * What became of an event whose append failed: it is not in the log, or nobody knows, because the answer was lost on its way.
 * Who publishes again after `unknown` risks a double, unless both carry one `idempotencyKey`.
 */
export type AppendOutcome = 'not-written' | 'unknown';

/** The log did not confirm an event within its deadline, or refused it. */
export class AppendError extends SseChannelsError {
  override readonly name = 'AppendError';

  constructor(
    /** The topic's name. */
    readonly topic: string,
    readonly outcome: AppendOutcome,
    /** What happened, as the end of the message. */
    reason: string,
    options?: { cause?: unknown },
  ) {
    const outcomeText =
      outcome === 'not-written'
        ? 'it was not written'
        : 'whether it was written is not known; publish it again with one idempotencyKey';
    super('APPEND_FAILED', `An event of topic "${topic}" was not confirmed, ${outcomeText}: ${reason}`, options);
  }
}
