/** What a decorated controller method is, kept as metadata: the responder and the explorer read it. */
import type { StartPosition } from '@sse-channels/engine';
import { MAX_TIMER_MS, SseChannelsError, type Channel, type EventType, type Topic } from '@sse-channels/protocol';

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
  /**
   * Asked for each topic that the handler returned, after the guards and the handler: whether the request may have it, and until
   * when. False is answered 403. With `reauthorizeMs` it is asked again while the stream is open.
   * @default everything that the handler returns
   */
  readonly authorize?: (request: any, topic: Topic<any, any>) => Authorization | Promise<Authorization>;
  /** How often the guards, and `authorize`, are asked again while a stream is open; null for never. @default the module's */
  readonly reauthorizeMs?: number | null;
}

/** What `authorize` answers: whether a request may have a topic, and until when. */
export type Authorization = boolean | { readonly expiresAt: Date | number };

/** A route of `@SseChannel`. */
export interface ChannelRoute {
  readonly kind: 'channel';
  readonly channel: Channel<any, any>;
  readonly options: SseChannelOptions;
}

/** A route of `@SseStream`. */
export interface StreamRoute {
  readonly kind: 'stream';
  readonly events: readonly EventType[];
  readonly options: { readonly reauthorizeMs?: number | null };
}

/** What `@SseHub` takes besides the path. */
export interface SseHubOptions {
  /** The channels whose topics the stream may carry; each is served by a route of its own, which says who may have them. */
  readonly channels: ReadonlyArray<Channel<any, any>>;
  /** The most topics of one stream; each beyond is refused alone. @default limits.topicsPerConnection, which is the most in any case */
  readonly maxTopics?: number;
  /** Whether topics may be added to, and removed from, a stream that is open, by `POST <path>/<connection>`. @default true */
  readonly dynamic?: boolean;
  /** How often the guards of the hub itself are asked again while a stream is open; null for never. @default the module's */
  readonly reauthorizeMs?: number | null;
}

/** A route of `@SseHub`. */
export interface HubRouteOptions {
  readonly kind: 'hub';
  readonly options: SseHubOptions;
}

export type SseRoute = ChannelRoute | StreamRoute | HubRouteOptions;

/** A method decorator that also checks what the method returns. */
export type HandlerDecorator<Result> = <Handler extends (...args: any[]) => Result | Promise<Result>>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<Handler>,
) => void;

/** @throws SseChannelsError `INVALID_OPTION` */
export function checkReauthorizeMs(value: unknown, route: string): void {
  if (value === undefined || value === null) return;
  if (Number.isSafeInteger(value) && (value as number) >= 100 && (value as number) <= MAX_TIMER_MS) return;
  throw new SseChannelsError(
    'INVALID_OPTION',
    `${route}: reauthorizeMs must be a whole number from 100 to ${MAX_TIMER_MS}, or null, not ${JSON.stringify(value)}.`,
  );
}

/** Makes a function that stands for a handler look like it: its name, and what decorators noted on it. */
export function standFor<Stand extends object>(handler: { readonly name: string }, stand: Stand): Stand {
  Object.defineProperty(stand, 'name', { value: handler.name, configurable: true });
  for (const key of Reflect.getMetadataKeys(handler) as unknown[]) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), stand);
  }
  return stand;
}
