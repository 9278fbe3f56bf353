/** What a server answers to who asks with `Accept: application/json` instead of holding a stream. */

/** A block of the stream: a record, or a control event; `$open` comes first. */
export interface LongPollEvent {
  /** The cursor after it; absent as in a stream. */
  readonly id?: string;
  /** The place of a topic that is behind the stream's cursor. */
  readonly cursor?: string;
  readonly event: string;
  readonly data: unknown;
  readonly topic?: string;
}

/** What came after the cursor that was sent. */
export interface LongPollAnswer {
  readonly events: readonly LongPollEvent[];
  /** Where the client stands after them: what it asks with next. */
  readonly cursor: string;
  /** Whether there is more already. */
  readonly more?: boolean;
  /** As `retry:` of a stream. */
  readonly retryMs?: number;
}

/** Whether a body is such an answer. */
export function isLongPollAnswer(body: unknown): body is LongPollAnswer {
  const answer = body as Partial<LongPollAnswer> | null;
  return Array.isArray(answer?.events) && typeof answer.cursor === 'string';
}
