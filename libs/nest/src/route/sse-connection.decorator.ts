/** `@SseConnection()`: the connection that a handler is about to serve. */
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Cursor } from '@sse-channels/protocol';
import { connectionOf } from './stream-request.js';

/** What a handler may know of its connection. */
export interface SseConnection {
  /** Its id, the one that `$open` tells the client. */
  readonly id: string;
  /** The cursor that the client brought; null for a new one. */
  readonly lastEventId: Cursor | null;
  /** Aborted when the connection has ended, for whatever reason. */
  readonly signal: AbortSignal;
}

/**
 * Injects the `SseConnection` into a handler of `@SseChannel` or `@SseStream`.
 * @example
 * stream(\@SseConnection() connection: SseConnection) { … }
 */
export const SseConnection = createParamDecorator((_data: unknown, context: ExecutionContext): SseConnection =>
  connectionOf(context),
);
