/** The errors of a client: what a connection ends with, or tries again after, and what the application's own code failed with. */
import { SseChannelsError, type SseChannelsErrorCode } from '@sse-channels/protocol';

/** What else is known of what went wrong. */
interface StreamErrorDetails {
  readonly status?: number | null;
  readonly body?: string;
  readonly cause?: unknown;
}

/** `UNAVAILABLE`: no answer, or silence. `STREAM_REFUSED`: an answer that is no stream. `STREAM_FAILED`: the server's `$error`. `FRAME_TOO_LARGE`. */
export class StreamError extends SseChannelsError {
  /** The status that was answered; of `$error`, the one that it would have had. Null where there was none. */
  readonly status: number | null;
  /** How the body of an answer that is no stream begins: 1,000 characters at most. */
  readonly body: string;

  constructor(code: SseChannelsErrorCode, message: string, { status, body, cause }: StreamErrorDetails = {}) {
    super(code, message, { cause });
    this.status = status ?? null;
    this.body = body ?? '';
  }
}

/** What something that the application gave failed with. */
export function failureOf(what: string, cause: unknown): SseChannelsError {
  return new SseChannelsError('CALLBACK_FAILED', `${what} failed; see the cause.`, { cause });
}
