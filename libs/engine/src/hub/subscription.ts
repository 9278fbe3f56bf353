/** A subscription: one connection's way through one topic, a cursor that moves forward over the ring or, where that does not reach, the log. */
import {
  compareOffsets,
  isUnavailable,
  laterOffset,
  parseCursor,
  type Cursor,
  type GapReason,
  type Offset,
  type OpenTopic,
} from '@sse-channels/protocol';
import type { EventRecord, Page, ReadStart } from '../backplane/backplane.js';
import type { Sink } from '../connection/sink.js';
import type { SinkOwner, Source, SourceOutcome, Waker } from '../connection/source.js';
import type { Feed } from './feed.js';
import { reidentify } from './frame-id.js';
import { gatherFrames, type FramedRecord, type FrameForm, type RingPlace } from './frame-ring.js';
import type { LevelReader } from './level-readers.js';
import type { NewestRecord } from './newest-records.js';

/** Where a subscription begins when the client brings no cursor. */
export type StartPosition = 'latest' | 'earliest' | { readonly last: number };

/** Whether a record is for this connection; what it throws ends the connection. */
export type RecordFilter = (record: EventRecord) => boolean;

/** Where one connection sees a topic differently from all others, who share what they are given. */
export interface SubscriptionView {
  /** Lets some records through; null: all. */
  readonly filter: RecordFilter | null;
  /** Makes cursors its own; null: they are the same for all. */
  readonly seal: ((cursor: Cursor) => Cursor) | null;
  /** How its events name their topic. */
  readonly form: FrameForm;
}

/** After how long a log that could not be reached is asked again, on top of the backplane's own patience. */
const RETRY_MS = 500;

export class Subscription implements Source, LevelReader {
  // What a delivery touches comes first: fields lie in the order in which they are declared.
  readonly feed: Feed;
  outcome: SourceOutcome | null = null;
  /** Where it stands in the ring, or by count of what it was given would stand if the ring reached so far. */
  #index = 0;
  /** What the ring's total of bytes is there. */
  #bytes = 0;
  /** The last offset that was given or passed over. */
  offset: Offset = '';
  /** False while it reads the log. */
  #inRing = false;
  /** The ring may begin with what the log showed already. */
  #joining = false;
  readonly #view: SubscriptionView | null;
  #gap: FramedRecord | undefined;
  /** What a slow reader is given of the records that it missed. */
  #newest: readonly NewestRecord[] | undefined;

  seat = -1;
  #owner: (Waker & Partial<SinkOwner>) | undefined;
  /** How it begins, for `$open`. */
  #opened: OpenTopic;
  /** The index and bytes of the place where live began for it: it is not behind with what it replays. */
  #liveAt = 0;
  #liveBytes = 0;
  /** It reads the log because the ring has moved on without it. */
  #leftRing = false;
  #page: Page | undefined;
  #pageIndex = 0;
  /** The ring's last rewind that it has heard of. */
  #rewoundAt: number | undefined;
  /** The page's next record, framed once however often it is looked at. */
  #framed: FramedRecord | undefined;
  #loading = false;
  #closed = false;

  /**
   * @param feed joined; left with `close()`
   * @param view null where it sees the topic as all do
   */
  constructor(feed: Feed, view: SubscriptionView | null) {
    this.feed = feed;
    this.#view = view;
    this.#opened = feed.opened;
  }

  /**
   * Takes its place; what the log cannot give is known afterwards.
   * @param start where to begin without a cursor
   * @returns null where the ring has all that follows, and nothing is read
   */
  open(lastEventId: Cursor | null, start: StartPosition): Promise<void> | null {
    const { feed } = this;
    this.#index = this.#liveAt = feed.ring.end;
    this.#bytes = this.#liveBytes = feed.ring.totalBytes;
    if (lastEventId === null) {
      if (start !== 'latest') return this.#load(start === 'earliest' ? null : start).then(() => {});
      this.#joinRing(feed.position);
      return null;
    }
    const parts = parseCursor(lastEventId);
    const foreign: GapReason | null = parts === null ? 'invalid' : parts.epoch === feed.epoch ? null : 'reset';
    if (parts === null || foreign !== null) return this.#openElsewhere(foreign ?? 'invalid');
    if (!feed.reaches(parts.offset)) return this.#openFromLog(parts.offset);
    this.#joinRing(parts.offset);
    this.#opened = feed.resumed;
    return null;
  }

  /** Its cursor is none of this log's: it begins at the earliest record, with a gap. */
  async #openElsewhere(gap: GapReason): Promise<void> {
    await this.#replay(null);
    this.#gap = this.feed.frameGap(gap, this.offset);
    this.#opened = { topic: this.feed.topic.name, resumed: false, gap };
  }

  async #openFromLog(offset: Offset): Promise<void> {
    const gap = await this.#replay(offset);
    this.#opened = gap === null ? this.feed.resumed : { topic: this.feed.topic.name, resumed: false, gap };
  }

  get topics(): readonly [OpenTopic] {
    return [this.#opened];
  }

  get cursor(): Cursor {
    this.#lookUp();
    this.settle();
    return this.cursorAt(this.offset);
  }

  /** The cursor of an offset, as this connection is told it. */
  cursorAt(offset: Offset): Cursor {
    const cursor = this.feed.cursorAt(offset, this.#view?.form);
    return this.#view?.seal?.(cursor) ?? cursor;
  }

  /** A record's frame, as this connection is given it. */
  frameOf(framed: FramedRecord): Buffer {
    const view = this.#view;
    if (view === null) return framed.frame;
    const frame = this.feed.frameAs(view.form, framed);
    return view.seal === null ? frame : reidentify(frame, view.seal);
  }

  /** Whether it waits for the log. */
  get pending(): boolean {
    return this.#loading;
  }

  /** Whether everything that its feed has was given. */
  get atHead(): boolean {
    return this.#inRing && this.#newest === undefined && this.#index === this.feed.ring.end;
  }

  /** @param owner one that `serve` is called by, or one that is woken */
  start(owner: Waker & Partial<SinkOwner>): void {
    this.#owner = owner;
    this.feed.wakers.add(owner);
  }

  get servedAt(): number | undefined {
    return this.seat < 0 ? undefined : this.feed.level?.writtenAt;
  }

  serve(sink: Sink): void {
    const place = this.#view === null && !this.#joining ? this.levelPlace : null;
    if (place === null || this.#owner === undefined) return;
    if (this.feed.joinLevel(this, place, sink)) this.feed.wakers.delete(this.#owner);
  }

  /** Whether it is given what the ring has as all are who see the topic in one form. */
  get isAlike(): boolean {
    const view = this.#view;
    return view === null || (view.filter === null && view.seal === null);
  }

  /** How its events name their topic. */
  get form(): FrameForm {
    return this.#view?.form ?? 'plain';
  }

  /** Where it stands with all that the ring has; null where it has not, or may be given what follows in another way than others. */
  get levelPlace(): RingPlace | null {
    if (this.outcome !== null || !this.#takesBatches || this.#index !== this.feed.ring.end) return null;
    // What the log showed it already would come as well.
    if (this.#joining && !this.feed.covers(this.offset)) return null;
    return { offset: this.offset, index: this.#index, bytes: this.#bytes };
  }

  /** It was given all up to a place, together with others. */
  standAt({ offset, index, bytes }: RingPlace): void {
    if (index !== this.#index) this.#joining = false;
    this.#index = index;
    this.#bytes = bytes;
    this.offset = laterOffset(this.offset, offset);
  }

  letGo(): void {
    if (this.seat < 0) return;
    this.#lookUp();
    this.feed.level?.leave(this);
    if (this.#owner !== undefined) this.feed.wakers.add(this.#owner);
  }

  goAlone(): void {
    this.letGo();
  }

  onFull(): void {
    this.#owner?.onFull?.();
  }

  /** Where it stands among those who stand level. */
  #lookUp(): void {
    const place = this.seat < 0 ? undefined : this.feed.level?.placeOf(this);
    if (place !== undefined) this.standAt(place);
  }

  next(maxBytes: number): Buffer | null {
    // After a failure nobody knows what follows.
    if (this.outcome !== null) return null;
    const { ring } = this.feed;
    if (!this.#takesBatches) return gatherFrames(maxBytes, () => this.#take());
    if (this.#joining) this.#passGiven();
    if (this.#index === ring.end) return null;
    const { end, offset, bytes, ringBytes } = ring.batch(this.#index, maxBytes, this.#view?.form);
    this.#index = end;
    this.#bytes += ringBytes;
    this.offset = offset;
    return bytes;
  }

  /** The offset of the last record that `next` could give as it lies in the ring, for all alike; null where there is none such. */
  get lastInRing(): Offset | null {
    const { ring } = this.feed;
    if (this.outcome !== null || !this.#takesBatches || this.#index === ring.end) return null;
    return ring.newest;
  }

  /** Whether it is given the ring's records as they are, together with all who stand where it does. */
  get #takesBatches(): boolean {
    if (!this.#inRing || this.#index < this.feed.ring.start || this.#gap !== undefined || this.#newest !== undefined)
      return false;
    return this.isAlike;
  }

  /**
   * The next record for this connection, without moving on; null when there is none now, or none yet: a read that is begun here
   * wakes the waker.
   */
  peek(): FramedRecord | null {
    for (;;) {
      const next = this.#following();
      if (next === null || next.record === null) return next;
      if (this.#view?.filter == null || this.#view.filter(next.record)) return next;
      this.advance(next);
    }
  }

  /** Moves past the record that `peek` gave. */
  advance(framed: FramedRecord): void {
    this.offset = framed.offset;
    if (framed === this.#gap) {
      this.#gap = undefined;
    } else if (this.#newest !== undefined) {
      this.#newest = this.#newest.length > 1 ? this.#newest.slice(1) : undefined;
    } else {
      this.#index += 1;
      this.#bytes += framed.frame.length;
      if (this.#inRing) return;
      this.#pageIndex += 1;
      this.#framed = undefined;
    }
  }

  /** Standing at the head, it has passed whatever lies before its feed's position. */
  settle(): void {
    if (this.atHead) this.offset = laterOffset(this.offset, this.feed.position);
  }

  hold(): void {
    const { slowReaders, lagLimit } = this.feed.topic.channel;
    const { events } = this.#lag;
    if (events > 0 && (slowReaders === 'disconnect' || (lagLimit?.exceeded === 'disconnect' && this.#lagsTooFar))) {
      this.outcome ??= { reason: 'slow' };
    }
  }

  resume(): void {
    const { slowReaders, lagLimit } = this.feed.topic.channel;
    if (slowReaders === 'latest') this.#skipToNewest();
    else if (lagLimit?.exceeded === 'gap' && this.#lagsTooFar) this.#skipToHead();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#page = undefined;
    this.letGo();
    if (this.#owner !== undefined) this.feed.wakers.delete(this.#owner);
    this.feed.leave();
  }

  get lagEvents(): number {
    this.#lookUp();
    return Math.max(0, this.#lag.events) + (this.#newest?.length ?? 0);
  }

  get #lag(): { readonly events: number; readonly bytes: number } {
    const { end, totalBytes } = this.feed.ring;
    return {
      events: end - Math.max(this.#index, this.#liveAt),
      bytes: totalBytes - Math.max(this.#bytes, this.#liveBytes),
    };
  }

  get #lagsTooFar(): boolean {
    const { maxEvents = Infinity, maxBytes = Infinity } = this.feed.topic.channel.lagLimit ?? {};
    const { events, bytes } = this.#lag;
    return events > maxEvents || bytes > maxBytes;
  }

  /** Leaves out all that a newer record of the same key has replaced; what is read from the log at first is not yet a lag. */
  #skipToNewest(): void {
    const { ring, newest } = this.feed;
    const from = this.#newest?.[0]?.index ?? this.#index;
    if (newest === undefined || (!this.#inRing && !this.#leftRing) || from >= ring.end) return;
    const waiting = (this.#newest?.length ?? 0) + ring.end - this.#index;
    const kept = newest.since(from);
    if (kept.length === waiting) return;
    this.#gap = this.feed.frameGap('skipped', this.offset, waiting - kept.length);
    this.feed.gapTold('skipped');
    this.#standAtEnd();
    this.#newest = kept.length === 0 ? undefined : kept;
  }

  #skipToHead(): void {
    const { position } = this.feed;
    const skipped = this.#lag.events;
    this.#standAtEnd();
    this.#gap = this.feed.frameGap('skipped', position, skipped);
    this.feed.gapTold('skipped');
  }

  #standAtEnd(): void {
    const { ring } = this.feed;
    this.#index = ring.end;
    this.#bytes = ring.totalBytes;
    this.#inRing = true;
    this.#leftRing = false;
    this.#page = undefined;
    this.#framed = undefined;
  }

  #take(): Buffer | null {
    const framed = this.peek();
    if (framed === null) return null;
    this.advance(framed);
    return this.frameOf(framed);
  }

  #following(): FramedRecord | null {
    if (this.#loading) return null;
    if (this.#rewoundAt !== this.feed.ring.rewoundAt) this.#goBack();
    if (this.#gap !== undefined) return this.#gap;
    if (this.#newest !== undefined) return (this.#newest[0] as NewestRecord).framed;
    const { ring } = this.feed;
    if (this.#inRing) {
      if (this.#index >= ring.start) {
        if (this.#joining) this.#passGiven();
        return this.#index < ring.end ? ring.at(this.#index) : null;
      }
      // The log goes on where it stands.
      this.#inRing = false;
      this.#leftRing = true;
      this.#page = undefined;
    }
    const record = this.#page?.records[this.#pageIndex];
    if (record !== undefined) return (this.#framed ??= this.feed.frame(record));
    if (this.#page !== undefined && !this.#page.more) this.offset = laterOffset(this.offset, this.#page.head);
    if (this.#page !== undefined && compareOffsets(this.offset, ring.floor) >= 0) {
      this.#joinRing(this.offset);
      return this.#following();
    }
    void this.#readOn();
    return null;
  }

  /** The log went back: what was read, or kept, before may be gone, and a gap that is not told yet has no place there any more. */
  #goBack(): void {
    const { ring } = this.feed;
    this.#rewoundAt = ring.rewoundAt;
    this.#page = this.#framed = undefined;
    if (this.#newest !== undefined) {
      this.#newest = undefined;
      this.#inRing = false;
      this.#leftRing = true;
    }
    if (this.#gap === undefined || !ring.isRewound) return;
    const back = ring.at(ring.rewoundAt as number);
    if (compareOffsets(back.offset, this.#gap.offset) < 0) this.#gap = back;
  }

  /** Reads the next page; while the log cannot be reached it is tried again and again, and the stream stays open. */
  async #readOn(): Promise<void> {
    this.#loading = true;
    let page: Page | undefined;
    while (page === undefined && this.outcome === null && !this.#closed) {
      try {
        page = await this.#load(this.offset);
      } catch (error) {
        if (isUnavailable(error)) await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
        else this.outcome ??= { reason: 'failed', error };
      }
    }
    this.#loading = false;
    if (this.#closed) return;
    if (page !== undefined && page.reason !== null) this.feed.gapTold(page.reason);
    this.#owner?.wake();
  }

  /** The tail may hand a record over after the log showed it to this reader. */
  #passGiven(): void {
    const { ring } = this.feed;
    let next = this.#index;
    while (next < ring.end && next !== ring.rewoundAt && compareOffsets(ring.at(next).offset, this.offset) <= 0) {
      this.#bytes += ring.at(next).frame.length;
      next += 1;
    }
    this.#index = next;
    this.#joining = next === ring.end;
  }

  #joinRing(offset: Offset): void {
    const { ring } = this.feed;
    this.offset = offset;
    this.#page = undefined;
    const place = ring.placeAfter(offset);
    this.#index = place.index;
    this.#bytes = place.bytes;
    this.#inRing = this.#joining = true;
    this.#leftRing = false;
  }

  /** Begins after an offset, or at the earliest record; at the last so many where a client is not replayed more. */
  async #replay(start: Offset | null): Promise<GapReason | null> {
    const page = await this.#load(start);
    const { replayLimit } = this.feed;
    if (replayLimit === null || (!page.more && page.records.length <= replayLimit)) return page.reason;
    const last = await this.feed.read({ last: replayLimit });
    if (compareOffsets(last.from, page.from) <= 0) return page.reason;
    this.#begin(last);
    this.#gap = this.feed.frameGap('trimmed', last.from);
    return 'trimmed';
  }

  async #load(start: ReadStart): Promise<Page> {
    const { ring } = this.feed;
    let page: Page;
    do {
      this.#rewoundAt = ring.rewoundAt;
      page = await this.feed.read(start);
    } while (this.#rewoundAt !== ring.rewoundAt);
    if (!page.intact) this.#gap = this.feed.frameGap(page.reason ?? 'reset', page.from);
    this.#begin(page);
    return page;
  }

  #begin(page: Page): void {
    // The ring may reach so far by now, by this very page.
    if (compareOffsets(page.from, this.feed.ring.floor) >= 0) return this.#joinRing(page.from);
    this.offset = page.from;
    this.#inRing = false;
    this.#page = page;
    this.#pageIndex = 0;
  }
}
