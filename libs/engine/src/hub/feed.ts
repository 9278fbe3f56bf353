/** A feed: this node's one live tail of a topic, framed once into a ring that its subscriptions share. */
import {
  compareOffsets,
  encodeFrame,
  formatCursor,
  type Cursor,
  type GapData,
  type GapReason,
  type Offset,
  type Topic,
} from '@sse-channels/protocol';
import type { Backplane, EventRecord, Page, ReadStart } from '../backplane/backplane.js';
import { ContinuousTail } from '../backplane/continuous-tail.js';
import { FrameRing, type FramedRecord } from './frame-ring.js';

/** What a feed tells its hub. */
export interface FeedListener {
  /** The ring has something new for the feed's subscriptions. */
  onNews(feed: Feed): void;
  /** All its subscriptions are told of a gap. */
  onGap(feed: Feed, reason: GapReason): void;
  onError(error: unknown, context: string): void;
}

export class Feed {
  /** Called when something new is there, each turn at most once. */
  readonly wakers = new Set<() => void>();
  /** Resolves when the feed is live; rejects when the backplane did not let it be. */
  readonly ready: Promise<void>;

  readonly #backplane: Backplane;
  readonly #tail: ContinuousTail;
  /** Frames of records that a backplane in this process gives to everyone who reads; they go when the record goes. */
  readonly #framed = new WeakMap<EventRecord, FramedRecord>();
  #ring: FrameRing | undefined;

  constructor(
    readonly topic: Topic,
    backplane: Backplane,
    private readonly listener: FeedListener,
  ) {
    this.#backplane = backplane;
    this.#tail = new ContinuousTail(backplane, topic.name, {
      onRecord: (record) => this.#push(this.frame(record)),
      onGap: (reason, from) => {
        this.#push(this.frameGap(reason, from));
        listener.onGap(this, reason);
      },
      onError: (error) => listener.onError(error, `reading the log of "${topic.name}"`),
      // Who waits for the feed to be as far as another one hears of it, records or none.
      onLive: () => {
        if (this.#ring !== undefined) listener.onNews(this);
      },
    });
    this.ready = this.#tail.open().then(() => {
      this.#ring ??= new FrameRing(this.#tail.position);
    });
  }

  get ring(): FrameRing {
    return this.#ring as FrameRing;
  }

  /** Every record up to this offset of the log space is in the ring, or was. */
  get position(): Offset {
    return this.#tail.position;
  }

  /** Sees to it that the position gets to this offset; `onNews` follows. */
  reach(offset: Offset): void {
    this.#tail.reach(offset);
  }

  cursorAt(offset: Offset): Cursor {
    return formatCursor(this.#backplane.epoch, offset);
  }

  get epoch(): string {
    return this.#backplane.epoch;
  }

  /**
   * The ring index after an offset, for one who joins: undefined when the ring does not reach back so far, or when the log by
   * its `maxEvents` or `maxAgeMs` no longer does, so that a reconnect is told the same whether others are connected or not.
   */
  indexForReplay(offset: Offset): number | undefined {
    const { ring } = this;
    if (compareOffsets(offset, ring.floor) < 0 || compareOffsets(offset, this.position) > 0) return undefined;
    const index = ring.indexAfter(offset);
    if (index === ring.end) return index;
    const { maxEvents, maxAgeMs } = this.topic.channel.retention;
    const oldest = ring.at(index).record;
    const kept = ring.end - index <= maxEvents && oldest !== null && Date.now() - oldest.time <= maxAgeMs;
    return kept ? index : undefined;
  }

  read(start: ReadStart, limit: number): Promise<Page> {
    return this.#backplane.read(this.topic.name, start, limit);
  }

  /** Frames a record, once for the ring and for all who read it from the log. */
  frame(record: EventRecord): FramedRecord {
    const known = this.#framed.get(record);
    if (known !== undefined) return known;
    const block = encodeFrame({ id: this.cursorAt(record.offset), event: record.name, data: record.data });
    const framed = { offset: record.offset, frame: Buffer.from(block), record };
    this.#framed.set(record, framed);
    return framed;
  }

  frameGap(reason: GapReason, from: Offset): FramedRecord {
    const data: GapData = { topic: this.topic.name, reason };
    const block = encodeFrame({ id: this.cursorAt(from), event: '$gap', data: JSON.stringify(data) });
    return { offset: from, frame: Buffer.from(block), record: null };
  }

  end(): void {
    this.#tail.end();
  }

  #push(framed: FramedRecord): void {
    this.#ring ??= new FrameRing(this.#tail.position);
    this.#ring.push(framed);
    this.listener.onNews(this);
  }
}
