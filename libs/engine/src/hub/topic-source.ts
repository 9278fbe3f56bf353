/** The source of a stream of several topics: the subscriptions of one connection, merged in the order of their offsets. */
import { compareOffsets, laterOffset, type Cursor, type Offset, type OpenTopic } from '@sse-channels/protocol';
import type { Source, SourceOutcome, Waker } from '../connection/source.js';
import { gatherFrames, type FramedRecord } from './frame-ring.js';
import type { Subscription } from './subscription.js';

export class TopicSource implements Source, Waker {
  readonly #subscriptions: readonly Subscription[];
  #waker: Waker | undefined;
  #told: Offset;
  /** A record waits until the feeds of the other topics are as far: one of them may bring an earlier one. */
  #held = false;

  constructor(subscriptions: readonly Subscription[]) {
    this.#subscriptions = subscriptions;
    this.#told = earliest(subscriptions.map(({ offset }) => offset));
  }

  get topics(): readonly OpenTopic[] {
    return this.#subscriptions.flatMap(({ topics }) => topics);
  }

  get cursor(): Cursor | null {
    const first = this.#subscriptions[0];
    if (first === undefined) return null;
    if (this.#subscriptions.every(({ atHead }) => atHead)) {
      for (const subscription of this.#subscriptions) subscription.settle();
      this.#told = laterOffset(this.#told, this.#vouched());
    }
    return first.cursorAt(this.#told);
  }

  get pending(): boolean {
    return this.#held || this.#subscriptions.some(({ pending }) => pending);
  }

  get lagEvents(): number {
    return this.#subscriptions.reduce((sum, { lagEvents }) => sum + lagEvents, 0);
  }

  get outcome(): SourceOutcome | null {
    for (const { outcome } of this.#subscriptions) if (outcome !== null) return outcome;
    return null;
  }

  start(waker: Waker): void {
    this.#waker = waker;
    for (const subscription of this.#subscriptions) subscription.start(this);
  }

  wake(): void {
    this.#waker?.wake();
  }

  next(maxBytes: number): Buffer | null {
    // After a failure nobody knows what comes first.
    if (this.outcome !== null) return null;
    const vouched = this.#vouched();
    this.#held = false;
    return gatherFrames(maxBytes, () => {
      const next = this.#earliestNext();
      if (next === null) return null;
      const [subscription, framed] = next;
      if (compareOffsets(framed.offset, vouched) > 0) {
        this.#held = true;
        for (const { feed } of this.#subscriptions) feed.reach(framed.offset);
        return null;
      }
      subscription.advance(framed);
      this.#told = framed.offset;
      return subscription.frameOf(framed);
    });
  }

  hold(): void {
    for (const subscription of this.#subscriptions) subscription.hold();
  }

  resume(): void {
    for (const subscription of this.#subscriptions) subscription.resume();
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
  }

  /** The first of all subscriptions' next records; none while one of them waits for the log, since its record may come first. */
  #earliestNext(): [Subscription, FramedRecord] | null {
    let first: [Subscription, FramedRecord] | undefined;
    for (const subscription of this.#subscriptions) {
      const framed = subscription.peek();
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
