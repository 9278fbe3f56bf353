/** RxJS operators for streams of events: `replayFrom`, `heartbeat`, `ofEvent`. */
import {
  compareOffsets,
  eventNameOf,
  Gap,
  Heartbeat,
  parseCursor,
  SseChannelsError,
  TypedEvent,
  MAX_TIMER_MS,
  type Cursor,
  type EventInstance,
  type EventOutput,
  type EventType,
  type GapReason,
} from '@sse-channels/protocol';
import { Observable, type OperatorFunction } from 'rxjs';
import { EventStream } from './event-stream.js';

/**
 * Begins after a cursor.
 *
 * On `bus.stream(…)`, where it comes first in the pipe, the log is read from there (null: from the earliest record) and joined
 * with what is live, nothing lost or doubled. What the log cannot give is told by a `Gap` item.
 *
 * On an Observable of your own, whose items carry a `cursor` made by `formatCursor`, and which gives its items from their
 * beginning to each subscriber, items up to and including the one at `cursor` are left out. When that item does not come,
 * a `Gap` item is emitted, then everything after its place. Null leaves nothing out.
 * @throws errors the stream with SseChannelsError `INVALID_CURSOR` for an item of your own without a cursor
 */
export function replayFrom<T>(cursor: Cursor | null | undefined): OperatorFunction<T, T | Gap> {
  return (source) =>
    source instanceof EventStream
      ? (source.replayFrom(cursor ?? null) as Observable<T | Gap>)
      : cursor == null
        ? source
        : skipThrough(source, cursor);
}

function skipThrough<T>(source: Observable<T>, cursor: Cursor): Observable<T | Gap> {
  const wanted = parseCursor(cursor);
  return new Observable((subscriber) => {
    let reached = false;
    const tell = (reason: GapReason): void => {
      reached = true;
      subscriber.next(new Gap('', reason, cursor));
    };
    if (wanted === null) tell('invalid');
    return source.subscribe({
      next: (item) => {
        if (!reached && wanted !== null && !(item instanceof Heartbeat) && !(item instanceof Gap)) {
          const own = (item as { cursor?: unknown } | null)?.cursor;
          const parts = typeof own === 'string' ? parseCursor(own) : null;
          if (parts === null) {
            subscriber.error(
              new SseChannelsError(
                'INVALID_CURSOR',
                'replayFrom(cursor) needs items with a cursor: emit { event, cursor: formatCursor(epoch, formatOffset(n, 0)) }, or use it first on bus.stream().',
              ),
            );
            return;
          }
          if (parts.epoch !== wanted.epoch) tell('reset');
          else {
            const order = compareOffsets(parts.offset, wanted.offset);
            if (order === 0) reached = true;
            if (order <= 0) return;
            tell('trimmed');
          }
        }
        subscriber.next(item);
      },
      error: (error: unknown) => subscriber.error(error),
      complete: () => {
        if (!reached) tell('rewound');
        subscriber.complete();
      },
    });
  });
}

/**
 * Emits a `Heartbeat` item whenever nothing else was emitted for `ms` milliseconds. Streams of `@SseChannel` and `@SseStream`
 * have heartbeats of their own; this is for consumers that are not.
 * @throws SseChannelsError `INVALID_OPTION` unless `ms` is a whole number from 1 to 2,147,483,647
 */
export function heartbeat<T>(ms: number): OperatorFunction<T, T | Heartbeat> {
  if (!Number.isSafeInteger(ms) || ms < 1 || ms > MAX_TIMER_MS) {
    throw new SseChannelsError(
      'INVALID_OPTION',
      `heartbeat(ms) takes a whole number from 1 to ${MAX_TIMER_MS}, not ${ms}.`,
    );
  }
  return (source) =>
    new Observable((subscriber) => {
      const timer = setInterval(() => subscriber.next(new Heartbeat()), ms);
      const subscription = source.subscribe({
        next: (item) => {
          timer.refresh();
          subscriber.next(item);
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
      return () => {
        clearInterval(timer);
        subscription.unsubscribe();
      };
    });
}

/** The items of `T` that `ofEvent(type)` lets through: deliveries and instances of that event, and control items. */
type OfEvent<T, E extends EventType> = T extends Gap | Heartbeat
  ? T
  : T extends { readonly topic: { readonly channel: unknown }; readonly event: infer Event }
    ? [Event] extends [EventOutput<E>]
      ? T
      : never
    : Extract<T, EventInstance<E>>;

/**
 * Lets through the events of one type: deliveries of `bus.stream()` and bare event instances alike. `Gap` and `Heartbeat` items
 * pass too, since dropping a gap would hide a loss.
 */
export function ofEvent<T, E extends EventType>(type: E): OperatorFunction<T, OfEvent<T, E>> {
  const name = eventNameOf(type);
  const matches = (item: unknown): boolean => {
    if (item instanceof Gap || item instanceof Heartbeat) return true;
    if (item instanceof TypedEvent) return item.type === type;
    if (typeof type === 'function' && item instanceof type) return true;
    if (typeof item !== 'object' || item === null || !('event' in item)) return false;
    const delivery = item as { readonly event: unknown; readonly name?: unknown };
    return delivery.name === undefined ? matches(delivery.event) : delivery.name === name;
  };
  return (source) =>
    new Observable((subscriber) =>
      source.subscribe({
        next: (item) => {
          if (matches(item)) subscriber.next(item as OfEvent<T, E>);
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      }),
    );
}
