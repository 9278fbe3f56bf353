/** A tail that keeps its word: each record after its start once and in order, or a gap; holes are filled from the log. */
import {
  compareOffsets,
  earlierOffset,
  isUnavailable,
  laterOffset,
  type GapReason,
  type Offset,
} from '@sse-channels/protocol';
import type { Backplane, EventRecord, Tail, TopicFilter } from './backplane.js';

/** Records read at a time while catching up. */
const PAGE_LIMIT = 256;
/** First and longest wait before a read that failed, or that did not yet show an announced record, is tried again. */
const RETRY_MS = 50;
const MAX_RETRY_MS = 2_000;
/**
 * How long an announced record may stay out of the log's sight before it counts as lost by the engine. While the log cannot be read,
 * as when a leader is being elected, no time passes.
 */
const STALE_MS = 5_000;

/** What a continuous tail calls. */
export interface ContinuousTailListener {
  /** The next record. */
  onRecord(record: EventRecord): void;
  /** Records up to `from` may be missing. */
  onGap(reason: GapReason, from: Offset): void;
  /** A read failed, not because the log cannot be reached, which the backplane tells by itself; it is tried again. */
  onError(error: unknown): void;
  /** The records handed over so far reach the live position. */
  onLive?(): void;
}

/**
 * Follows a topic or a filter. Whole is told by `prev`: a record is next exactly if its `prev` is not after the last offset
 * handed over. Anything else is a hole, and the log is read until it reaches what the tail announced; meanwhile the tail's
 * records are not kept, since the log has them.
 */
export class ContinuousTail {
  /** The last offset that was handed over or passed; empty while it is not known. */
  #head: Offset = '';
  #tail: Tail | undefined;
  #announced: Offset | undefined;
  /** The later of the head and the tail's position, and of which ones it is. */
  #later: Offset = '';
  #placed: Offset = '';
  #placedHead: Offset = '';
  /** The tail suspects a loss that no read has looked for yet. */
  #suspected = false;
  /** Up to here nothing is in doubt, as long as no read has answered since the tail suspected a loss: the log may have gone back. */
  #undoubted: Offset | undefined;
  #filling = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(
    private readonly backplane: Backplane,
    private readonly filter: TopicFilter,
    private readonly listener: ContinuousTailListener,
  ) {}

  /**
   * Starts; resolves when the tail is attached.
   * @param after follow from this offset on: undefined is from now, null from the earliest record
   */
  async open(after?: Offset | null): Promise<void> {
    // From now on: whatever the tail hands over lies after its start, so it is taken even before the attachment is told.
    this.#filling = after !== undefined;
    const tail = await this.backplane.tail(
      this.filter,
      (record) => this.#arrived(record),
      () => this.#suspect(),
    );
    if (this.#ended) return tail.end();
    this.#tail = tail;
    const position = tail.position;
    if (after === undefined) {
      if (this.#head === '') this.#head = position;
      if (this.#suspected && !this.#filling) void this.#fill(this.#head);
      return;
    }
    if (after !== null) this.#head = after;
    this.#announced = this.#announced === undefined ? position : laterOffset(this.#announced, position);
    void this.#fill(after);
  }

  /** Every record up to this offset of the log space has been handed over. */
  get position(): Offset {
    if (this.#tail === undefined) return this.#head;
    if (this.#filling) return this.#undoubted ?? this.#head;
    const { position } = this.#tail;
    // Asked by every connection that is given an event: nearly always nothing has moved since the last.
    if (position !== this.#placed || this.#head !== this.#placedHead) {
      this.#later = laterOffset(this.#head, position);
      this.#placed = position;
      this.#placedHead = this.#head;
    }
    return this.#later;
  }

  /** Whether what was handed over may be gone from the log; whoever is told of it goes on from there. */
  get doubtful(): boolean {
    return this.#undoubted !== undefined;
  }

  /** Sees to it that every record up to this offset is handed over: where the tail does not vouch for it, the log is read. */
  reach(offset: Offset): void {
    if (this.#ended || this.#tail === undefined || compareOffsets(this.position, offset) >= 0) return;
    this.#announced = this.#announced === undefined ? offset : laterOffset(this.#announced, offset);
    if (!this.#filling) void this.#fill(this.#head);
  }

  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
    this.#tail?.end();
    this.#wake?.();
  }

  #arrived(record: EventRecord): void {
    if (this.#ended) return;
    if (this.#filling) {
      this.#announced = this.#announced === undefined ? record.offset : laterOffset(this.#announced, record.offset);
      return;
    }
    if (compareOffsets(record.offset, this.#head) <= 0) return;
    if (this.#head !== '' && record.prev !== null && compareOffsets(record.prev, this.#head) > 0) {
      this.#announced = record.offset;
      void this.#fill(this.#head);
      return;
    }
    this.#deliver(record);
  }

  #suspect(): void {
    if (this.#ended) return;
    // A read that is under way may have looked before the loss, so one more follows it.
    this.#suspected = true;
    const vouched = this.#tail === undefined ? this.#head : earlierOffset(this.#head, this.#tail.position);
    this.#undoubted = this.#undoubted === undefined ? vouched : earlierOffset(this.#undoubted, vouched);
    if (!this.#filling && this.#head !== '') void this.#fill(this.#head);
  }

  #deliver(record: EventRecord): void {
    this.#head = record.offset;
    this.listener.onRecord(record);
  }

  async #fill(start: Offset | null): Promise<void> {
    this.#filling = true;
    let after = start;
    let retryMs = RETRY_MS;
    let awaited: Offset | undefined;
    let awaitedMs = 0;
    while (!this.#ended) {
      this.#suspected = false;
      let page;
      try {
        page = await this.backplane.read(this.filter, after, PAGE_LIMIT);
      } catch (error) {
        if (this.#ended) return;
        if (!isUnavailable(error)) this.listener.onError(error);
        if (this.#ended) return;
        await this.#pause(retryMs);
        retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
        continue;
      }
      if (this.#ended) return;
      retryMs = RETRY_MS;
      if (!this.#suspected) this.#undoubted = undefined;
      if (after === null) this.#head = page.from;
      if (!page.intact) {
        this.#head = page.from;
        // What was announced before the engine lost it, or under offsets that are given again, is not to be waited for.
        if (page.reason !== 'trimmed' && this.#announced !== undefined) this.#announced = this.#tail?.position;
        this.listener.onGap(page.reason ?? 'reset', page.from);
        if (this.#ended) return;
      }
      for (const record of page.records) {
        this.#deliver(record);
        if (this.#ended) return;
      }
      if (!page.more) this.#head = laterOffset(this.#head, page.head);
      after = this.#head;
      if (page.more || this.#suspected) continue;
      if (this.#announced === undefined || compareOffsets(this.#announced, this.#head) <= 0) break;
      // A replica may answer before it has what the tail announced.
      if (awaited === undefined || compareOffsets(awaited, this.#head) <= 0) {
        awaited = this.#announced;
        awaitedMs = 0;
      } else if (awaitedMs >= STALE_MS) {
        this.#head = this.#announced;
        this.listener.onGap('rewound', this.#head);
        break;
      }
      await this.#pause(RETRY_MS);
      awaitedMs += RETRY_MS;
    }
    if (this.#ended) return;
    this.#announced = undefined;
    this.#filling = false;
    this.listener.onLive?.();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
