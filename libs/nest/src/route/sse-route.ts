/** What a decorated controller method is, kept as metadata: the interceptor and the explorer read it. */
import { Res } from '@nestjs/common';
import type { StartPosition } from '@sse-channels/engine';
import type { Channel, EventType } from '@sse-channels/protocol';

/** The metadata key of a route that is a stream. */
export const SSE_ROUTE = Symbol.for('@sse-channels/route');

/** What `@SseChannel` takes besides the channel and the path. */
export interface SseChannelOptions {
  /**
   * Where a client without a cursor begins: with what comes next, with the earliest record that is kept, or with the last so
   * many. A handler may say otherwise for its connection.
   * @default 'latest'
   */
  readonly start?: StartPosition;
}

export type SseRoute =
  | { readonly kind: 'channel'; readonly channel: Channel<any, any>; readonly options: SseChannelOptions }
  | { readonly kind: 'stream'; readonly events: readonly EventType[] };

/**
 * Tells Nest that the method's response is written by us. A method that takes `@Res()` is such a method; the entry goes before
 * the parameters, where no argument is, so that neither a default value nor a rest parameter ever meets a response.
 */
export const HandlesResponse: MethodDecorator = (target, key) => Res()(target, key, -1);

/** A method decorator that also checks what the method returns. */
export type HandlerDecorator<Result> = <Handler extends (...args: any[]) => Result | Promise<Result>>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<Handler>,
) => void;

/**
 * Keeps what a handler returned from Nest, which would subscribe to an Observable before the interceptor can tell whether the
 * handler threw (an exception filter's case) or its stream did.
 */
export class StreamResult {
  constructor(readonly stream: unknown) {}
}
