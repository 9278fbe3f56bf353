/** `@SseHub`: a controller method that becomes one stream for many topics. */
import { All, applyDecorators, SetMetadata } from '@nestjs/common';
import { Channel, SseChannelsError } from '@sse-channels/protocol';
import { Responds } from './responds.decorator.js';
import {
  checkReauthorizeMs,
  SSE_ROUTE,
  type HandlerDecorator,
  type HubRouteOptions,
  type SseHubOptions,
} from './sse-route.js';
import type { TopicSelection } from './topic-selection.js';

/** What a handler of `@SseHub` returns: nothing, or topics of whatever channel that every stream carries besides those asked for. */
export type HubHandlerResult =
  | void
  | undefined
  | TopicSelection<any, any>
  | TopicSelection<any, any>['topic']
  | ReadonlyArray<TopicSelection<any, any> | TopicSelection<any, any>['topic']>;

/**
 * Makes a controller method one stream for many topics: `GET path?topic=orders/42&topic=prices/ACME`, or `POST` or `QUERY`, where
 * Node and the framework know it, with the topics in a body when a URL cannot hold them. Each topic is asked for at its own channel's route, by the same request: the guards, pipes and
 * handler there say who may have it. What is refused is told in the stream, and does not hurt the others. One cursor resumes all.
 *
 * @example
 * \@SseHub('live', { channels: [ordersChannel, pricesChannel] })
 * live() {}
 * @throws SseChannelsError `INVALID_CHANNEL`, `INVALID_OPTION`
 */
export function SseHub(path: string | string[], options: SseHubOptions): HandlerDecorator<HubHandlerResult> {
  const { channels, maxTopics, dynamic = true } = options ?? {};
  if (!Array.isArray(channels) || channels.length === 0 || !channels.every((channel) => channel instanceof Channel)) {
    throw new SseChannelsError(
      'INVALID_CHANNEL',
      '@SseHub needs the list of channels that it carries: { channels: [ordersChannel] }.',
    );
  }
  if (maxTopics !== undefined && (!Number.isSafeInteger(maxTopics) || maxTopics < 1)) {
    throw new SseChannelsError(
      'INVALID_OPTION',
      `@SseHub: maxTopics must be a whole number of at least 1, not ${String(maxTopics)}.`,
    );
  }
  checkReauthorizeMs(options.reauthorizeMs, '@SseHub');
  const route: HubRouteOptions = { kind: 'hub', options };
  const paths = [path].flat();
  return applyDecorators(
    Responds,
    SetMetadata(SSE_ROUTE, route),
    All(dynamic ? paths.flatMap((one) => [one, `${one}/:connection`]) : paths),
  ) as HandlerDecorator<HubHandlerResult>;
}
