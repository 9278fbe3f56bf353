/** `@SseChannel`: a controller method that names a channel's topics becomes their stream. */
import { applyDecorators, Get, SetMetadata } from '@nestjs/common';
import { Channel, SseChannelsError, type EventType, type Topic } from '@sse-channels/protocol';
import { Responds } from './responds.decorator.js';
import {
  checkReauthorizeMs,
  SSE_ROUTE,
  type HandlerDecorator,
  type SseChannelOptions,
  type SseRoute,
} from './sse-route.js';
import { checkStart, type TopicSelection } from './topic-selection.js';

/** What a handler of `@SseChannel` returns: one or several topics, with or without options. */
export type ChannelHandlerResult<Pattern extends string, E extends EventType> =
  Topic<Pattern, E> | TopicSelection<Pattern, E> | ReadonlyArray<Topic<Pattern, E> | TopicSelection<Pattern, E>>;

/**
 * Makes a controller method a `GET` route that answers with the events of the topic it returns: replay by `Last-Event-ID`,
 * live events, heartbeats. Everything of Nest applies before the first byte.
 *
 * @example
 * \@SseChannel(ordersChannel, ':orderId/events')
 * events(\@Param('orderId') orderId: string) {
 *   return ordersChannel.topic({ orderId });
 * }
 * @throws SseChannelsError `INVALID_CHANNEL`, `INVALID_OPTION`
 */
export function SseChannel<Pattern extends string, E extends EventType>(
  channel: Channel<Pattern, E>,
  path: string | string[] = '',
  options: SseChannelOptions = {},
): HandlerDecorator<ChannelHandlerResult<Pattern, E>> {
  if (!(channel instanceof Channel)) {
    throw new SseChannelsError(
      'INVALID_CHANNEL',
      '@SseChannel needs a channel; make one with defineChannel("orders/:orderId", { … }).',
    );
  }
  checkStart(options.start, channel.pattern);
  checkReauthorizeMs(options.reauthorizeMs, `@SseChannel of "${channel.pattern}"`);
  const route: SseRoute = { kind: 'channel', channel, options };
  return applyDecorators(Responds, SetMetadata(SSE_ROUTE, route), Get(path)) as HandlerDecorator<
    ChannelHandlerResult<Pattern, E>
  >;
}
