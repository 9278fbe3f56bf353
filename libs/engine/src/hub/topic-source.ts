/** The source of a channel's stream: the subscriptions of one connection, merged in the order of their offsets. */
import { compareOffsets, laterOffset, type Cursor, type Offset, type OpenTopic } from '@sse-channels/protocol';
import type { Source, SourceOutcome } from '../connection/source.js';
import type { FramedRecord } from './frame-ring.js';
import type { Subscription } from './subscription.js';

export class TopicSource implements Source {
  readonly topics: readonly OpenTopic[];
  outcome: SourceOutcome | null = null;

  readonly #subscriptions: readonly Subscription[];
  readonly #leave: (source: TopicSource) => void;
  #wake: () => void = () => undefined;
  #told: Offset;
  /** A record waits until the feeds of the other topics are as far: one of them may bring an earlier one. */
  #held = false;
  #closed = false;

  constructor(subscriptions: readonly Subscription[], leave: (source: TopicSource) => void) {
    this.#subscriptions = subscriptions;
    this.#leave = leave;
    this.topics = subscriptions.map(({ opened }) => opened);
    this.#told = earliest(subscriptions.map(({ offset }) => offset));
  }

  get cursor(): Cursor | null {
    const first = this.#subscriptions[0];
    if (first === undefined) return null;
    if (this.#subscriptions.every(({ atHead }) => atHead)) {
      for (const subscription of this.#subscriptions) subscription.settle();
      this.#told = laterOffset(this.#told, this.#vouched());
    }
    return first.feed.cursorAt(this.#told);
  }

  get pending(): boolean {
    return this.#held || this.#subscriptions.some(({ pending }) => pending);
  }

  start(wake: () => void): void {
    this.#wake = wake;
    for (const { feed } of this.#subscriptions) feed.wakers.add(this.#onNews);
  }

  next(maxBytes: number): Buffer | null {
    // After a failure nobody knows what comes first.
    if (this.outcome !== null) return null;
    const [only] = this.#subscriptions;
    if (this.#subscriptions.length === 1 && only !== undefined) {
      const bytes = only.nextBatch(maxBytes);
      if (bytes !== null) {
        this.#told = only.offset;
        return bytes;
      }
    }
    const frames: Buffer[] = [];
    let bytes = 0;
    const vouched = this.#subscriptions.length > 1 ? this.#vouched() : null;
    this.#held = false;
    while (bytes < maxBytes) {
      let next;
      try {
        next = this.#earliestNext();
      } catch (error) {
        // What comes before the record that a filter failed at is sent first, or a client that comes back never gets past it.
        if (frames.length > 0) break;
        throw error;
      }
      if (next === null) break;
      const [subscription, framed] = next;
      if (vouched !== null && compareOffsets(framed.offset, vouched) > 0) {
        this.#held = true;
        for (const { feed } of this.#subscriptions) feed.reach(framed.offset);
        break;
      }
      frames.push(framed.frame);
      bytes += framed.frame.length;
      subscription.advance(framed);
      this.#told = framed.offset;
    }
    return frames.length === 0 ? null : Buffer.concat(frames, bytes);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const subscription of this.#subscriptions) {
      subscription.feed.wakers.delete(this.#onNews);
      subscription.close();
    }
    this.#leave(this);
  }

  /** Ends the stream as failed. */
  fail(error: unknown): void {
    this.outcome ??= { reason: 'failed', error };
    this.#wake();
  }

  readonly #onNews = (): void => this.#wake();

  /** The first of all subscriptions' next records; none while one of them waits for the log, since its record may come first. */
  #earliestNext(): [Subscription, FramedRecord] | null {
    let first: [Subscription, FramedRecord] | undefined;
    for (const subscription of this.#subscriptions) {
      const framed = subscription.peek(this.#onNews);
      if (framed === null) {
        if (subscription.pending) return null;
      } else if (first === undefined || compareOffsets(framed.offset, first[1].offset) < 0) {
        first = [subscription, framed];
      }
    }
    return first ?? null;
  }

  /** Up to this offset of the log space every topic's records are known. */
  #vouched(): Offset {
    return earliest(this.#subscriptions.map(({ feed }) => feed.position));
  }
}

function earliest(offsets: readonly Offset[]): Offset {
  return offsets.reduce((first, offset) => (compareOffsets(offset, first) < 0 ? offset : first));
}
