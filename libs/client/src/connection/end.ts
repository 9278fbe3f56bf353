/** How an attempt ended, and what follows. */
import type { StateReason } from './connection-state.js';
import { StreamError } from './stream-error.js';

export interface End {
  readonly reason: StateReason;
  /** What went wrong, if anything did. */
  readonly error?: StreamError | undefined;
  /** What follows: another attempt after a while, by default; one at once; or none for good. */
  readonly next?: 'at-once' | 'never' | undefined;
  /** It did what a stream does: no reason to wait longer than the server asks for. */
  readonly orderly?: boolean;
  /** The shortest wait that the server asks for. */
  readonly afterMs?: number;
}

/** How much of a refusal's body is told, and how long it is waited for. */
const BODY_LENGTH = 1_000;
const BODY_MS = 1_000;

/** What an answer means that is not of that type; undefined where it is one to be read. */
export async function refusalOf(response: Response, type: string): Promise<End | undefined> {
  const { status, headers } = response;
  // Nest's own @Sse() answers a POST so.
  const fits = status === 200 || status === 201;
  if (fits && isOf(response, type)) return undefined;
  if (status === 204) return { reason: 'done', next: 'never' };
  const later = status >= 500 || status === 408 || status === 425 || status === 429;
  const error = new StreamError(
    'STREAM_REFUSED',
    `The server answered ${fits ? `${headers.get('content-type')} in place of ${type}` : status}; it is ${later ? '' : 'not '}asked again.`,
    { status, body: await beginningOf(response) },
  );
  const retryAfter = headers.get('retry-after');
  return later
    ? { reason: 'refused', error, afterMs: retryAfter === null ? 0 : millisecondsTo(retryAfter) }
    : { reason: 'refused', error, next: 'never' };
}

export function isOf({ headers }: Response, type: string): boolean {
  return headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === type;
}

/** How the body of an answer that is no stream begins, as far as it comes at once. */
async function beginningOf(response: Response): Promise<string> {
  if (response.body == null || response.bodyUsed || isOf(response, 'text/event-stream')) return '';
  const reader = response.body.getReader();
  const leave = (): void => void reader.cancel().catch(() => undefined);
  const timer = setTimeout(leave, BODY_MS);
  const { value } = await reader.read();
  clearTimeout(timer);
  leave();
  return new TextDecoder().decode(value).slice(0, BODY_LENGTH);
}

/** From now, of seconds or a date. */
function millisecondsTo(retryAfter: string): number {
  return (/^\d+$/.test(retryAfter) ? Number(retryAfter) * 1_000 : Date.parse(retryAfter) - Date.now()) || 0;
}
