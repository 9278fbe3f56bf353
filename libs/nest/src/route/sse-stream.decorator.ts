/** `@SseStream`: a controller method that returns an Observable or an async iterable becomes a typed stream of one connection. */
import { applyDecorators, Get, Post, SetMetadata } from '@nestjs/common';
import type { StreamInput } from '@sse-channels/engine';
import { eventNameOf, SseChannelsError, type EventType } from '@sse-channels/protocol';
import { Responds } from './responds.decorator.js';
import { checkReauthorizeMs, SSE_ROUTE, type HandlerDecorator, type SseRoute } from './sse-route.js';

/** What `@SseStream` takes besides the path. */
export interface SseStreamOptions<E extends EventType> {
  /** The events that the stream may carry. */
  readonly events: readonly E[];
  /** The HTTP method; a POST stream answers 200. @default 'GET' */
  readonly method?: 'GET' | 'POST';
  /** How often the guards are run again while a stream is open, in milliseconds; null for never. @default the module's */
  readonly reauthorizeMs?: number | null;
}

/**
 * Makes a controller method a route that answers with the events it emits: instances of the declared event classes,
 * `definition.of(data)`, or what `bus.stream()` emits. When the stream completes, the client is told not to come back.
 *
 * @example
 * \@SseStream('exports/:id', { events: [ExportProgress, ExportDone] })
 * export(\@Param('id') id: string, \@SseSignal() signal: AbortSignal) {
 *   return this.exports.run(id, signal);
 * }
 * @throws SseChannelsError `INVALID_OPTION`, `INVALID_EVENT_DEFINITION`
 */
export function SseStream<E extends EventType>(
  path: string | string[],
  options: SseStreamOptions<E>,
): HandlerDecorator<StreamInput<E>>;
export function SseStream<E extends EventType>(options: SseStreamOptions<E>): HandlerDecorator<StreamInput<E>>;
export function SseStream<E extends EventType>(
  ...given: [string | string[], SseStreamOptions<E>] | [SseStreamOptions<E>]
): HandlerDecorator<StreamInput<E>> {
  const [path, options] = given.length === 2 ? given : (['', given[0]] as const);
  const { events, method = 'GET', reauthorizeMs } = options ?? {};
  if (!Array.isArray(events) || events.length === 0) {
    throw new SseChannelsError(
      'INVALID_OPTION',
      '@SseStream declares no event; list at least one: @SseStream("path", { events: [Progress] }).',
    );
  }
  if (method !== 'GET' && method !== 'POST') {
    throw new SseChannelsError(
      'INVALID_OPTION',
      `@SseStream: method must be "GET" or "POST", not ${JSON.stringify(method)}.`,
    );
  }
  for (const type of events) eventNameOf(type);
  checkReauthorizeMs(reauthorizeMs, '@SseStream');
  const route: SseRoute = {
    kind: 'stream',
    events,
    options: reauthorizeMs === undefined ? {} : { reauthorizeMs },
  };
  const HttpMethod = method === 'GET' ? Get : Post;
  return applyDecorators(Responds, SetMetadata(SSE_ROUTE, route), HttpMethod(path)) as HandlerDecorator<StreamInput<E>>;
}
