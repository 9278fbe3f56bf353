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
  type EventName,
  type EventOutput,
  type EventType,
  type GapReason,
} from '@sse-channels/protocol';
import { filter, Observable, takeWhile, type OperatorFunction } from 'rxjs';
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
      // What is no cursor, or one of another run, stands before the first item; a client's text is not sent back to it.
      subscriber.next(new Gap('', reason, reason === 'invalid' || reason === 'reset' ? '' : cursor));
    };
    if (wanted === null) tell('invalid');
    return whileOpen(source, subscriber).subscribe({
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
      const subscription = whileOpen(source, subscriber).subscribe({
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
  : T extends { readonly event: infer Event; readonly cursor: Cursor }
    ? T extends { readonly name: infer Name extends string }
      ? IfSame<Name, Event, E, T>
      : IfSame<string, Event, E, T>
    : Extract<T, EventInstance<E>>;

/** `T` where an event is of type `E`: told by the names where the compiler knows both, else by what the events are made of. */
type IfSame<Name extends string, Event, E extends EventType, T> = string extends Name | EventName<E>
  ? [Event] extends [EventOutput<E> | EventInstance<E>]
    ? T
    : never
  : Name extends EventName<E>
    ? T
    : never;

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
  return filter(matches) as OperatorFunction<T, OfEvent<T, E>>;
}

/** The source until its subscriber has enough: one that emits everything inside `subscribe` could not be stopped otherwise. */
function whileOpen<T>(source: Observable<T>, subscriber: { readonly closed: boolean }): Observable<T> {
  return source.pipe(takeWhile(() => !subscriber.closed));
}
