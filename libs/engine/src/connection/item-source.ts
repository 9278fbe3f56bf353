/** The source of a typed stream of one connection: an Observable or an async iterable of events. */
import {
  encodeFrame,
  eventNameOf,
  Gap,
  Heartbeat,
  SseChannelsError,
  type Cursor,
  type EventInstance,
  type EventOutput,
  type EventType,
  type GapData,
} from '@sse-channels/protocol';
import { isObservable, Subject, takeUntil, type Observable } from 'rxjs';
import type { Draft } from '../backplane/backplane.js';
import { unpackInstance, type EventCodec } from '../codec/event-codec.js';
import type { Source, SourceOutcome, Waker } from './source.js';

/** An async iterable is not asked for more while so much waits to be sent. */
const AHEAD_BYTES = 65_536;
const HEARTBEAT = Buffer.from(':\n\n');

/** An event with a cursor of its own, sent as `id:`: what `bus.stream()` emits, or an application's own. */
export interface PlacedEvent<Event = unknown> {
  readonly event: Event;
  readonly cursor: Cursor;
  /** The event's name, where `event` does not tell it. */
  readonly name?: string;
}

/** What a typed stream may emit: bare event instances, placed events, and control items. */
export type StreamItem<E extends EventType = EventType> =
  EventInstance<E> | PlacedEvent<EventInstance<E> | EventOutput<E>> | Gap | Heartbeat;

/** What a typed stream may be. */
export type StreamInput<E extends EventType = EventType> = Observable<StreamItem<E>> | AsyncIterable<StreamItem<E>>;

export interface ItemSourceOptions {
  readonly codec: EventCodec;
  /** The events that the stream declares. */
  readonly events: readonly EventType[];
  /** An Observable cannot be held back: more bytes than this waiting to be sent end the stream as `slow`. */
  readonly maxBufferedBytes: number;
}

export class ItemSource implements Source {
  readonly topics = [];
  cursor: Cursor | null = null;
  outcome: SourceOutcome | null = null;

  readonly #input: StreamInput;
  readonly #options: ItemSourceOptions;
  readonly #events = new Map<string, EventType>();
  #waker: Waker | undefined;
  #frames: Buffer[] = [];
  #bytes = 0;
  #closed = false;
  /** Ends the subscription, even of an Observable that is still emitting inside `subscribe`. */
  readonly #stop = new Subject<void>();
  #iterator: AsyncIterator<unknown> | undefined;
  #taken: (() => void) | undefined;
  #announcing: NodeJS.Immediate | undefined;
  /** Set while a validator is asynchronous: later items wait their turn. */
  #encoding: Promise<void> | null = null;

  constructor(input: StreamInput, options: ItemSourceOptions) {
    this.#input = input;
    this.#options = options;
    for (const type of options.events) this.#events.set(eventNameOf(type), type);
  }

  get pending(): boolean {
    return this.#encoding !== null;
  }

  start(waker: Waker): void {
    this.#waker = waker;
    if (isObservable(this.#input)) {
      this.#input.pipe(takeUntil(this.#stop)).subscribe({
        next: (item) => this.#accept(item),
        error: (error: unknown) => this.#settle({ reason: 'failed', error }),
        complete: () => this.#settle({ reason: 'done' }),
      });
    } else {
      void this.#pull(this.#input);
    }
  }

  next(maxBytes: number): Buffer | null {
    if (this.#frames.length === 0) return null;
    let bytes = 0;
    let count = 0;
    while (count < this.#frames.length && (count === 0 || bytes < maxBytes)) {
      bytes += (this.#frames[count] as Buffer).length;
      count += 1;
    }
    const due = this.#frames.splice(0, count);
    this.#bytes -= bytes;
    if (this.#bytes < AHEAD_BYTES) this.#taken?.();
    return due.length === 1 ? (due[0] as Buffer) : Buffer.concat(due, bytes);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#frames = [];
    clearImmediate(this.#announcing);
    this.#stop.next();
    this.#taken?.();
    void this.#return();
  }

  async #return(): Promise<void> {
    try {
      await this.#iterator?.return?.();
    } catch {
      // A generator that is waiting answers when it wakes up; nobody waits for it, and what it throws then concerns nobody.
    }
  }

  async #pull(iterable: AsyncIterable<unknown>): Promise<void> {
    try {
      this.#iterator = iterable[Symbol.asyncIterator]();
      while (!this.#closed && this.outcome === null) {
        const { done, value } = await this.#iterator.next();
        if (this.#closed) return;
        if (done === true) return this.#settle({ reason: 'done' });
        this.#accept(value);
        if (this.#encoding !== null) await this.#encoding;
        if (this.#bytes >= AHEAD_BYTES) await new Promise<void>((resolve) => (this.#taken = resolve));
        this.#taken = undefined;
      }
    } catch (error) {
      this.#settle({ reason: 'failed', error });
    }
  }

  #accept(item: unknown): void {
    if (this.#closed || this.outcome !== null) return;
    if (this.#encoding !== null) {
      this.#encoding = this.#after(this.#encoding, () => this.#encode(item));
      return;
    }
    try {
      const encoded = this.#encode(item);
      if (encoded instanceof Promise) this.#encoding = this.#after(encoded, () => undefined);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Waits for an item and then for what follows it; the last of a row clears the way for synchronous ones. */
  #after(previous: Promise<void>, then: () => void | Promise<void>): Promise<void> {
    const mine: Promise<void> = previous
      .then(then)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        if (this.#encoding === mine) this.#encoding = null;
        this.#announce();
      });
    return mine;
  }

  #encode(item: unknown): void | Promise<void> {
    if (item instanceof Heartbeat) return this.#push(HEARTBEAT);
    if (item instanceof Gap) {
      const data: GapData = { topic: item.topic, reason: item.reason };
      return this.#push(
        Buffer.from(encodeFrame({ id: item.cursor, event: '$gap', data: JSON.stringify(data) })),
        item.cursor,
      );
    }
    const { type, data, cursor } = this.#unpack(item);
    const name = eventNameOf(type);
    if (this.#events.get(name) !== type) {
      throw notDeclared(name);
    }
    const push = (draft: Draft): void =>
      this.#push(
        Buffer.from(encodeFrame({ ...(cursor === null ? {} : { id: cursor }), event: draft.name, data: draft.data })),
        cursor,
      );
    const draft = this.#options.codec.encode(type, data);
    return draft instanceof Promise ? draft.then(push) : push(draft);
  }

  #unpack(item: unknown): { type: EventType; data: unknown; cursor: Cursor | null } {
    const placed = item as Partial<PlacedEvent> | null;
    if (typeof placed !== 'object' || placed === null || typeof placed.cursor !== 'string' || !('event' in placed)) {
      return { ...unpackInstance(item), cursor: null };
    }
    if (placed.name === undefined) return { ...unpackInstance(placed.event), cursor: placed.cursor };
    const named = this.#events.get(placed.name);
    if (named === undefined) throw notDeclared(placed.name);
    return { type: named, data: placed.event, cursor: placed.cursor };
  }

  #push(frame: Buffer, cursor: Cursor | null = null): void {
    if (this.#closed || this.outcome !== null) return;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (cursor !== null) this.cursor = cursor;
    // So much is a write of its own, and not to be held against a peer that has not been offered it yet.
    if (this.#bytes >= AHEAD_BYTES) this.#waker?.wake();
    if (this.#iterator === undefined && this.#bytes > this.#options.maxBufferedBytes) {
      this.outcome = { reason: 'slow' };
      this.#stop.next();
    }
    this.#announce();
  }

  /** Wakes the connection once for everything that this turn brought. */
  #announce(): void {
    this.#announcing ??= setImmediate(() => {
      this.#announcing = undefined;
      this.#waker?.wake();
    });
  }

  #settle(outcome: SourceOutcome): void {
    if (this.#encoding !== null) {
      // Not before the items that came earlier.
      this.#encoding = this.#after(this.#encoding, () => {
        this.outcome ??= outcome;
      });
      return;
    }
    this.outcome ??= outcome;
    this.#announce();
  }

  #fail(error: unknown): void {
    this.outcome ??= { reason: 'failed', error };
    this.#stop.next();
    this.#announce();
  }
}

function notDeclared(name: string): SseChannelsError {
  return new SseChannelsError(
    'EVENT_NOT_DECLARED',
    `Event "${name}" is not declared on this stream; add it to the "events" of @SseStream.`,
  );
}
