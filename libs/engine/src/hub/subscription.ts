/** A subscription: one connection's way through one topic, a cursor that moves forward over the ring or, where that does not reach, the log. */
import {
  compareOffsets,
  laterOffset,
  parseCursor,
  type Cursor,
  type GapReason,
  type Offset,
  type OpenTopic,
} from '@sse-channels/protocol';
import type { EventRecord, Page, ReadStart } from '../backplane/backplane.js';
import type { Feed } from './feed.js';
import type { FramedRecord } from './frame-ring.js';

/** Records read from the log at a time; they are framed when their turn comes. */
const PAGE_LIMIT = 128;

/** Where a subscription begins when the client brings no cursor. */
export type StartPosition = 'latest' | 'earliest' | { readonly last: number };

export interface SubscriptionOptions {
  readonly feed: Feed;
  /** Where to begin without a cursor. */
  readonly start: StartPosition;
  /** Whether a record is for this connection; what it throws ends the connection. */
  readonly filter: ((record: EventRecord) => boolean) | null;
  /** The client is told of a gap after it was opened. */
  readonly onGap: (reason: GapReason) => void;
  /** A read failed; the connection ends. */
  readonly onError: (error: unknown) => void;
}

export class Subscription {
  readonly feed: Feed;
  /** How it begins, for `$open`. */
  opened: OpenTopic;
  /** The last offset that was given or passed over. */
  offset: Offset = '';

  readonly #options: SubscriptionOptions;
  /** Where it stands in the ring; undefined while it reads the log. */
  #index: number | undefined;
  #page: Page | undefined;
  #pageIndex = 0;
  #gap: FramedRecord | undefined;
  /** The page's next record, framed once however often it is looked at. */
  #framed: FramedRecord | undefined;
  #loading = false;
  #closed = false;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.feed = options.feed;
    this.opened = { topic: options.feed.topic.name, resumed: false, gap: null };
  }

  /** Takes its place; what the log cannot give is known afterwards. */
  async open(lastEventId: Cursor | null): Promise<void> {
    const { feed, start } = this.#options;
    const topic = feed.topic.name;
    if (lastEventId === null) {
      if (start === 'latest') this.#joinRing(feed.position);
      else await this.#load(start === 'earliest' ? null : start);
      return;
    }
    const parts = parseCursor(lastEventId);
    const foreign: GapReason | null = parts === null ? 'invalid' : parts.epoch === feed.epoch ? null : 'reset';
    if (parts === null || foreign !== null) {
      await this.#load(null);
      this.#gap = feed.frameGap(foreign ?? 'invalid', this.offset);
      this.opened = { topic, resumed: false, gap: foreign };
      return;
    }
    const index = feed.indexForReplay(parts.offset);
    if (index !== undefined) {
      this.#index = index;
      this.offset = parts.offset;
    } else {
      await this.#load(parts.offset);
    }
    const gap = this.#page?.reason ?? null;
    this.opened = { topic, resumed: gap === null, gap };
  }

  /** Whether it waits for the log. */
  get pending(): boolean {
    return this.#loading;
  }

  /** Whether everything that its feed has was given. */
  get atHead(): boolean {
    return this.#index !== undefined && this.#index === this.feed.ring.end;
  }

  /**
   * The next record for this connection, without moving on; null when there is none now, or none yet.
   * @param wake called when a read that was begun here has come back
   */
  peek(wake: () => void): FramedRecord | null {
    for (;;) {
      const next = this.#following(wake);
      if (next === null || next.record === null) return next;
      const { filter } = this.#options;
      if (filter === null || filter(next.record)) return next;
      this.advance(next);
    }
  }

  /** Moves past the record that `peek` gave. */
  advance(framed: FramedRecord): void {
    this.offset = framed.offset;
    if (this.#index !== undefined) this.#index += 1;
    else if (this.#gap !== undefined) this.#gap = undefined;
    else {
      this.#pageIndex += 1;
      this.#framed = undefined;
    }
  }

  /** Standing at the head, it has passed whatever lies before its feed's position. */
  settle(): void {
    if (this.atHead) this.offset = laterOffset(this.offset, this.feed.position);
  }

  /** Where everything goes to the connection as it is, the bytes that are shared with all who stand at the same place. */
  nextBatch(maxBytes: number): Buffer | null {
    const { ring } = this.feed;
    if (this.#options.filter !== null || this.#index === undefined || this.#index < ring.start) return null;
    this.#passGiven(this.#index);
    if (this.#index === ring.end) return null;
    const { end, bytes } = ring.batch(this.#index, maxBytes);
    this.#index = end;
    this.offset = ring.at(end - 1).offset;
    return bytes;
  }

  close(): void {
    this.#closed = true;
    this.#page = undefined;
  }

  #following(wake: () => void): FramedRecord | null {
    if (this.#loading) return null;
    const { ring } = this.feed;
    if (this.#index !== undefined) {
      if (this.#index >= ring.start) {
        this.#passGiven(this.#index);
        return this.#index < ring.end ? ring.at(this.#index) : null;
      }
      // The ring has moved on without this reader: the log goes on where it stands.
      this.#index = undefined;
      this.#page = undefined;
    }
    if (this.#gap !== undefined) return this.#gap;
    const record = this.#page?.records[this.#pageIndex];
    if (record !== undefined) return (this.#framed ??= this.feed.frame(record));
    if (this.#page !== undefined && !this.#page.more) this.offset = laterOffset(this.offset, this.#page.head);
    if (this.#page !== undefined && compareOffsets(this.offset, ring.floor) >= 0) {
      this.#joinRing(this.offset);
      return this.#following(wake);
    }
    void this.#load(this.offset).then(
      (page) => {
        if (this.#closed) return;
        if (page.reason !== null) this.#options.onGap(page.reason);
        wake();
      },
      (error: unknown) => {
        if (!this.#closed) this.#options.onError(error);
      },
    );
    return null;
  }

  /** The tail may hand a record over after the log showed it to this reader. */
  #passGiven(index: number): void {
    const { ring } = this.feed;
    let next = index;
    while (next < ring.end && next !== ring.rewoundAt && compareOffsets(ring.at(next).offset, this.offset) <= 0) {
      next += 1;
    }
    this.#index = next;
  }

  #joinRing(offset: Offset): void {
    this.offset = offset;
    this.#page = undefined;
    this.#index = this.feed.ring.indexAfter(offset);
  }

  async #load(start: ReadStart): Promise<Page> {
    this.#loading = true;
    try {
      const page = await this.feed.read(start, PAGE_LIMIT);
      this.#page = page;
      this.#pageIndex = 0;
      this.offset = page.from;
      if (!page.intact) this.#gap = this.feed.frameGap(page.reason ?? 'reset', page.from);
      return page;
    } finally {
      this.#loading = false;
    }
  }
}
