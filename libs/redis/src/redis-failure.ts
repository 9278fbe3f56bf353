/** What an error of the Redis client says: whether a command was executed, and in words. */
import { ClientClosedError, ClientOfflineError, ErrorReply } from '@redis/client';
import type { AttemptFailure } from '@sse-channels/engine';

/** Replies after which trying again does not help: the user may not, or the key is something else. */
const FINAL = /^(NOPERM|NOAUTH|WRONGPASS|WRONGTYPE|EXECABORT|ERR )/;
/** The server does not, or no longer, hold the key. */
const MOVED = /^(MOVED|ASK|READONLY|TRYAGAIN|CLUSTERDOWN)\b/;

export function failureOf(error: unknown): AttemptFailure {
  // Every reply that is an error means that nothing was written: the scripts write only what cannot fail.
  if (error instanceof ErrorReply) return FINAL.test(error.message) ? 'refused' : 'not-executed';
  if (error instanceof ClientOfflineError || error instanceof ClientClosedError) return 'not-executed';
  return 'unknown';
}

export function hasMoved(error: unknown): boolean {
  return error instanceof ErrorReply && MOVED.test(error.message);
}

export function lacksScript(error: unknown): boolean {
  return error instanceof ErrorReply && error.message.startsWith('NOSCRIPT');
}

/** A sentence for a message. */
export function reasonOf(error: unknown): string {
  if (error instanceof ErrorReply) return `Redis answered ${error.message.slice(0, 300)}.`;
  const aggregate = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  const text = aggregate instanceof Error ? aggregate.message : String(aggregate);
  return `The connection to Redis failed (${text.replace(/\.$/, '')}).`;
}
