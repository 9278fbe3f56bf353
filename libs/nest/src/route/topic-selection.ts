/** What a handler of `@SseChannel` may return, and the check of it. */
import type { ExecutionContext } from '@nestjs/common';
import type { StartPosition, TopicRequest } from '@sse-channels/engine';
import { SseChannelsError, Topic, type Channel, type EventOutput, type EventType } from '@sse-channels/protocol';
import type { ChannelRoute } from './sse-route.js';

/** A topic with options for this one connection. */
export interface TopicSelection<Pattern extends string = string, E extends EventType = EventType> {
  readonly topic: Topic<Pattern, E>;
  /** Where to begin when the client brings no cursor. @default the route's `start` */
  readonly start?: StartPosition;
  /** Sends an event to this connection only where it answers true. The event is shared: do not change it. */
  readonly filter?: (event: EventOutput<E>) => boolean;
  /** When the grant runs out: the stream ends then, and the client's reconnect meets the guards again. */
  readonly expiresAt?: Date | number;
}

/** @throws SseChannelsError `INVALID_OPTION` for what is no start position */
export function checkStart(start: unknown, pattern: string): void {
  if (start === undefined || start === 'latest' || start === 'earliest') return;
  const { last } = (start ?? {}) as { readonly last?: unknown };
  if (Number.isSafeInteger(last) && (last as number) >= 1) return;
  throw new SseChannelsError(
    'INVALID_OPTION',
    `Channel "${pattern}": start must be "latest", "earliest" or { last: n } with n of at least 1, not ${JSON.stringify(start)}.`,
  );
}

/**
 * Reads one entry of what a handler returned.
 * @throws SseChannelsError `INVALID_HANDLER_RESULT`, `INVALID_OPTION`
 */
export function selectionOf(entry: unknown, channel: Channel<any, any>, handler: string): TopicSelection<string, any> {
  const selection =
    entry instanceof Topic ? { topic: entry } : (entry as Partial<TopicSelection<string, any>> | null | undefined);
  const topic = selection?.topic;
  if (!(topic instanceof Topic)) {
    throw invalidResult(`${handler} returned ${describe(entry)}; return a topic of its channel: channel.topic({ … }).`);
  }
  if (topic.channel !== channel) {
    throw invalidResult(
      `${handler} streams channel "${channel.pattern}" but returned the topic "${topic.name}" of "${topic.channel.pattern}".`,
    );
  }
  const { start, filter, expiresAt } = selection as TopicSelection<string, any>;
  checkStart(start, channel.pattern);
  if (expiresAt !== undefined && !Number.isFinite(Number(expiresAt))) {
    throw invalidResult(
      `${handler} returned expiresAt ${describe(expiresAt)}; give a Date or milliseconds since 1970.`,
    );
  }
  return {
    topic,
    ...(start === undefined ? {} : { start }),
    ...(filter === undefined ? {} : { filter }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

/** The topics that a channel's handler returned, and when what it granted for each runs out, in milliseconds since 1970. */
export interface SelectedTopics {
  readonly requests: readonly TopicRequest[];
  readonly expiries: readonly number[];
}

/**
 * Reads what a handler returned.
 * @throws SseChannelsError `INVALID_HANDLER_RESULT`, `INVALID_OPTION`
 */
export function topicsIn(result: unknown, { channel, options }: ChannelRoute, handler: string): SelectedTopics {
  const selections = (Array.isArray(result) ? result : [result]).map((entry) => selectionOf(entry, channel, handler));
  if (selections.length === 0)
    throw invalidResult(`${handler} returned no topic; return at least one, or throw NotFoundException.`);
  return {
    requests: selections.map(({ topic, start, filter }) => ({ topic, start: start ?? options.start, filter })),
    expiries: selections.flatMap(({ expiresAt }) => (expiresAt === undefined ? [] : [Number(expiresAt)])),
  };
}

/** How messages name a handler. */
export function handlerName(context: ExecutionContext): string {
  return `${context.getClass().name}.${context.getHandler().name}`;
}

/** The error for a handler that returned what is no stream. */
export function invalidResult(message: string): SseChannelsError {
  return new SseChannelsError('INVALID_HANDLER_RESULT', message);
}

/** Names a value's kind without showing it. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object'
    ? `an instance of ${value.constructor?.name ?? 'nothing'}`
    : `a value of type ${typeof value}`;
}
