/** The RxJS face of the log: an Observable of a topic's or a channel's events, from all nodes. */
import {
  formatCursor,
  Gap,
  parseCursor,
  SseChannelsError,
  Topic,
  type Channel,
  type Cursor,
  type EventType,
  type Offset,
} from '@sse-channels/protocol';
import { Observable, type Subscriber } from 'rxjs';
import type { Backplane, EventRecord } from '../backplane/backplane.js';
import { ContinuousTail } from '../backplane/continuous-tail.js';
import type { EventCodec } from '../codec/event-codec.js';
import type { Observer } from '../observer/observer.js';
import type { Delivery } from './delivery.js';

/** What a stream reads from. */
export interface EventStreamSource {
  readonly backplane: Backplane;
  readonly codec: EventCodec;
  readonly observer: Observer;
  /** Streams that are open; the bus completes them when it closes. */
  readonly open: Set<Subscriber<never>>;
}

/**
 * Live events of a topic or a channel; cold, each subscriber follows the log by itself. Errors with `LOG_GAP` when the log
 * could not give every event; `replayFrom(cursor)` tells it with a `Gap` item instead and goes on.
 */
export class EventStream<E extends EventType, Pattern extends string> extends Observable<Delivery<E, Pattern>> {
  readonly #source: EventStreamSource;
  readonly #of: Channel<Pattern, E> | Topic<Pattern, E>;

  constructor(source: EventStreamSource, of: Channel<Pattern, E> | Topic<Pattern, E>) {
    super((subscriber) =>
      this.#follow(subscriber, undefined, (gap) => {
        subscriber.error(
          new SseChannelsError(
            'LOG_GAP',
            `The log of "${gap.topic}" could not give every event (${gap.reason}); subscribe with replayFrom(cursor) to be told and go on.`,
          ),
        );
      }),
    );
    this.#source = source;
    this.#of = of;
  }

  /** The same events, beginning after `cursor` (null: at the earliest kept one); a cursor the log cannot vouch for gives a `Gap` first. */
  replayFrom(cursor: Cursor | null): Observable<Delivery<E, Pattern> | Gap> {
    return new Observable((subscriber) => {
      const onGap = (gap: Gap): void => subscriber.next(gap);
      if (cursor === null) return this.#follow(subscriber, null, onGap);
      const parts = parseCursor(cursor);
      if (parts !== null && parts.epoch === this.#source.backplane.epoch) {
        return this.#follow(subscriber, parts.offset, onGap);
      }
      return this.#follow(subscriber, null, onGap, parts === null ? 'invalid' : 'reset');
    });
  }

  #follow(
    subscriber: Subscriber<Delivery<E, Pattern>>,
    after: Offset | null | undefined,
    onGap: (gap: Gap) => void,
    foreign?: 'invalid' | 'reset',
  ): () => void {
    const { backplane, codec, observer, open } = this.#source;
    const of = this.#of;
    const filter = of instanceof Topic ? of.name : of.topicPattern.filter;
    const label = of instanceof Topic ? of.name : of.pattern;
    const cursorAt = (offset: Offset): Cursor => formatCursor(backplane.epoch, offset);
    const tail = new ContinuousTail(backplane, filter, {
      onRecord: (record) => {
        let delivery;
        try {
          delivery = deliver(of, codec, record, cursorAt(record.offset));
        } catch (error) {
          // An event that this process cannot read concerns this stream, not the backplane that hands it over.
          return subscriber.error(error);
        }
        if (delivery !== null) subscriber.next(delivery);
      },
      onGap: (reason, from) => onGap(new Gap(label, reason, cursorAt(from))),
      onError: (error) => observer.failed?.(error, `reading the log of "${label}"`),
    });
    open.add(subscriber);
    if (foreign !== undefined) onGap(new Gap(label, foreign, cursorAt('0-0')));
    tail.open(after).catch((error: unknown) => subscriber.error(error));
    return () => {
      open.delete(subscriber);
      tail.end();
    };
  }
}

/** Makes the delivery of a record; null for an event that this process's channel does not declare. */
export function deliver<E extends EventType, Pattern extends string>(
  of: Channel<Pattern, E> | Topic<Pattern, E>,
  codec: EventCodec,
  record: EventRecord,
  cursor: Cursor,
): Delivery<E, Pattern> | null {
  const topic = of instanceof Topic ? of : of.topicNamed(record.topic);
  // Another node may run a newer version of the contract.
  const type = topic?.channel.eventNamed(record.name);
  if (topic == null || type === undefined) return null;
  return { topic, name: record.name, event: codec.decode(type, record), cursor } as Delivery<E, Pattern>;
}
