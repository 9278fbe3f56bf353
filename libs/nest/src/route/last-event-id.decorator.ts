/** `@LastEventId()`: the cursor that a client brought. */
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { connectionOf } from './stream-request.js';

/**
 * Injects the cursor that the client brought, from the `Last-Event-ID` header or else the `lastEventId` query parameter: a string,
 * as hostile as any input; null when there is none. A handler of `@SseChannel` need not look at it: replay does.
 */
export const LastEventId = createParamDecorator(
  (_data: unknown, context: ExecutionContext): string | null => connectionOf(context).lastEventId,
);
