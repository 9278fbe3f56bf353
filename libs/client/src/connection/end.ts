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

export const JSON_TYPE = 'application/json';

/** How much of a refusal's body is told, and how long it is waited for. */
const BODY_LENGTH = 1_000;
const BODY_MS = 1_000;

/** Whether an answer is to be read; Nest's own `@Sse()` answers a POST with 201. */
export function isOf({ status, headers }: Response, type: string): boolean {
  return (
    (status === 200 || status === 201) && headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === type
  );
}

/** What an answer means that is none of those that were asked for. */
export async function refusalOf(response: Response): Promise<End> {
  const { status, headers } = response;
  if (status === 204) return { reason: 'done', next: 'never' };
  const later = status >= 500 || status === 408 || status === 429;
  const type = headers.get('content-type') ?? 'no content type';
  const error = new StreamError('STREAM_REFUSED', `The server answered ${status} (${type}).`, {
    status,
    body: await beginningOf(response),
  });
  const next = later ? undefined : 'never';
  return { reason: 'refused', error, next, afterMs: millisecondsTo(headers.get('retry-after') ?? '0') };
}

/** How the body of an answer that is no stream begins, as far as it comes at once. */
export async function beginningOf(response: Response): Promise<string> {
  if (response.body == null || response.bodyUsed) return '';
  const reader = response.body.getReader();
  const leave = (): void => void reader.cancel().catch(() => undefined);
  const timer = setTimeout(leave, BODY_MS);
  const { value } = await reader.read().catch(() => ({ value: undefined }));
  clearTimeout(timer);
  leave();
  return new TextDecoder().decode(value).slice(0, BODY_LENGTH);
}

/** From now, of seconds or a date. */
function millisecondsTo(retryAfter: string): number {
  return (/^\d+$/.test(retryAfter) ? Number(retryAfter) * 1_000 : Date.parse(retryAfter) - Date.now()) || 0;
}
