/** A feed: this node's one live tail of a topic, framed once into a ring that its subscriptions share. */
import {
  checkEventName,
  compareOffsets,
  encodeFrame,
  formatCursor,
  laterOffset,
  type Cursor,
  type GapData,
  type GapReason,
  type Offset,
  type OpenTopic,
  type Topic,
} from '@sse-channels/protocol';
import type { Backplane, EventRecord, Page, ReadStart } from '../backplane/backplane.js';
import { ContinuousTail } from '../backplane/continuous-tail.js';
import type { Sink } from '../connection/sink.js';
import type { Waker } from '../connection/source.js';
import type { CursorSeal } from './cursor-seal.js';
import { reidentify } from './frame-id.js';
import { FrameRing, type FramedRecord, type FrameForm, type RingPlace } from './frame-ring.js';
import { LevelReaders, type LevelReader } from './level-readers.js';
import { NewestRecords } from './newest-records.js';

/** Records read from the log at a time. */
const PAGE_LIMIT = 128;

/** So many there have been. */
let feeds = 0;

/** What a feed tells its hub. */
export interface FeedListener {
  /** The ring has something new for the feed's subscriptions. */
  onNews(feed: Feed): void;
  /** One of its subscriptions, or all of them, are told of a gap. */
  onGap(feed: Feed, reason: GapReason): void;
  onError(error: unknown, context: string): void;
  /** The last of those who joined has left. */
  onLeft(feed: Feed): void;
}

export class Feed {
  /** Woken when something new is there, each turn at most once. */
  readonly wakers = new Set<Waker>();
  /** Those who are given what is new without being woken; undefined as long as there was none. */
  level: LevelReaders<RingPlace> | undefined;
  /** The same of sets of topics that this one is part of. */
  setsLevel: Set<LevelReaders<unknown>> | undefined;
  /** Its own among all feeds. */
  readonly number = (feeds += 1);
  /** Resolves when the feed is live; rejects when the backplane did not let it be. */
  readonly ready: Promise<void>;
  /** Whether `ready` has resolved. */
  isLive = false;

  /** How a subscription begins that was not asked to resume, and one that resumes without a gap. */
  readonly opened: OpenTopic;
  readonly resumed: OpenTopic;
  /** Where slow readers skip to the newest records. */
  readonly newest: NewestRecords | undefined;
  /** The most records that a client is replayed; null where the log does not keep more anyway. */
  readonly replayLimit: number | null;

  readonly #backplane: Backplane;
  readonly #tail: ContinuousTail;
  /** Frames of records that a backplane in this process gives to everyone who reads, while the ring or a reader has them. */
  readonly #framed = new WeakMap<EventRecord, WeakRef<FramedRecord>>();
  /** Reads under way, by what they ask for: in a storm of reconnects many ask for the same. */
  readonly #reads = new Map<string, Promise<Page>>();
  #ring: FrameRing | undefined;
  #subscriptions = 0;
  #covered: Offset | undefined;
  /** What was sealed last, for each form: at rest all who follow the feed ask for the same. */
  #sealed: Partial<Record<FrameForm, { readonly plain: Cursor; readonly sealed: Cursor }>> | undefined;

  constructor(
    readonly topic: Topic,
    backplane: Backplane,
    private readonly listener: FeedListener,
    /** Signs its cursors, where that is the same for all who follow it. */
    private readonly seal: CursorSeal | null,
    maxReplay: number,
  ) {
    this.opened = { topic: topic.name, resumed: false, gap: null };
    this.resumed = { topic: topic.name, resumed: true, gap: null };
    const { slowReaders, retention } = topic.channel;
    this.newest = slowReaders === 'latest' ? new NewestRecords(retention) : undefined;
    this.replayLimit = maxReplay < retention.maxEvents ? maxReplay : null;
    this.#backplane = backplane;
    this.#tail = new ContinuousTail(backplane, topic.name, {
      onRecord: (record) => this.#push(this.frame(record)),
      onGap: (reason, from) => {
        this.#covered = undefined;
        this.#push(this.frameGap(reason, from), reason !== 'trimmed');
        listener.onGap(this, reason);
      },
      onError: (error) => listener.onError(error, `reading the log of "${topic.name}"`),
      // Who waits for the feed to be as far as another one hears of it, records or none.
      onLive: () => {
        if (this.#ring !== undefined) listener.onNews(this);
      },
    });
    this.ready = this.#tail.open().then(() => {
      this.#ring ??= this.#newRing();
      this.isLive = true;
    });
  }

  get ring(): FrameRing {
    return this.#ring as FrameRing;
  }

  /** Takes a reader in among those who stand level, if it does. */
  joinLevel(reader: LevelReader, place: RingPlace, sink: Sink): boolean {
    return (this.level ??= new LevelReaders(this.ring, place)).join(reader, place, sink);
  }

  /** Every record up to this offset of the log space is in the ring, or was. */
  get position(): Offset {
    return this.#tail.position;
  }

  /** Whether the position has got to this offset. */
  covers(offset: Offset): boolean {
    // In a fan-out all who follow several topics ask for the same.
    if (offset === this.#covered && !this.#tail.doubtful) return true;
    const covers = compareOffsets(this.position, offset) >= 0;
    if (covers) this.#covered = offset;
    return covers;
  }

  /** Sees to it that the position gets to this offset; `onNews` follows. */
  reach(offset: Offset): void {
    this.#tail.reach(offset);
  }

  /** @param form a stream of several topics goes on with whichever it has the next time: its cursors are signed for none of them */
  cursorAt(offset: Offset, form: FrameForm = 'plain'): Cursor {
    const plain = formatCursor(this.#backplane.epoch, offset);
    if (this.seal === null) return plain;
    const last = this.#sealed?.[form];
    if (last?.plain === plain) return last.sealed;
    const sealed = this.seal.seal(plain, form === 'plain' ? this.topic : null);
    (this.#sealed ??= {})[form] = { plain, sealed };
    return sealed;
  }

  get epoch(): string {
    return this.#backplane.epoch;
  }

  /**
   * Whether the ring has all that follows an offset, for one who joins: false when it does not reach back so far, or when the log
   * by its `maxEvents` or `maxAgeMs` no longer does, or it is more than a client is replayed, so that a reconnect is told the same
   * whether others are connected or not.
   */
  reaches(offset: Offset): boolean {
    const { ring } = this;
    if (compareOffsets(offset, ring.floor) < 0 || compareOffsets(offset, this.position) > 0) return false;
    const { index } = ring.placeAfter(offset);
    // Where the log went back, what is in the order is not in the log for that.
    if (ring.isRewound && (index <= ring.start || ring.at(index - 1).offset !== offset)) return false;
    if (index === ring.end) return true;
    const { maxEvents, maxAgeMs } = this.topic.channel.retention;
    const oldest = ring.at(index).record;
    return (
      ring.end - index <= (this.replayLimit ?? maxEvents) && oldest !== null && Date.now() - oldest.time <= maxAgeMs
    );
  }

  get subscriptions(): number {
    return this.#subscriptions;
  }

  join(): void {
    this.#subscriptions += 1;
  }

  leave(): void {
    this.#subscriptions -= 1;
    if (this.#subscriptions === 0) this.listener.onLeft(this);
  }

  /** Reads a page of the log, once for all who ask for it at the same time, and keeps it in the ring where it leads there and fits. */
  read(start: ReadStart): Promise<Page> {
    const asked = JSON.stringify(start);
    let reading = this.#reads.get(asked);
    if (reading === undefined) {
      reading = this.#read(start).finally(() => this.#reads.delete(asked));
      this.#reads.set(asked, reading);
    }
    return reading;
  }

  async #read(start: ReadStart): Promise<Page> {
    const page = await this.#backplane.read(this.topic.name, start, PAGE_LIMIT);
    const { ring } = this;
    const last = page.records.at(-1)?.offset ?? page.from;
    const end = page.more ? last : laterOffset(last, page.head);
    if (compareOffsets(page.from, ring.floor) < 0 && compareOffsets(end, ring.floor) >= 0) {
      const older = page.records.filter(({ offset }) => compareOffsets(offset, ring.floor) <= 0);
      ring.prepend(
        older.map((record) => this.frame(record)),
        page.from,
      );
    }
    return page;
  }

  /** A subscription is told of a gap after it was opened. */
  gapTold(reason: GapReason): void {
    this.listener.onGap(this, reason);
  }

  /** Frames a record, once for the ring and for all who read it from the log. */
  frame(record: EventRecord): FramedRecord {
    const known = this.#framed.get(record)?.deref();
    if (known !== undefined) return known;
    const framed = { offset: record.offset, frame: this.#encode(record), record };
    this.#framed.set(record, new WeakRef(framed));
    return framed;
  }

  /** A frame in another form, made once for all who are given it. What is the library's own names its topic in any form. */
  frameAs(form: FrameForm, framed: FramedRecord): Buffer {
    const { record, frame, offset } = framed;
    if (form === 'plain' || (record === null && this.seal === null)) return frame;
    return ((framed.formed ??= {})[form] ??=
      record === null ? reidentify(frame, () => this.cursorAt(offset, form)) : this.#encode(record, form));
  }

  /** @param skipped how many records a reader that was too slow is not given */
  frameGap(reason: GapReason, from: Offset, skipped?: number): FramedRecord {
    const data: GapData = { topic: this.topic.name, reason, ...(skipped === undefined ? {} : { skipped }) };
    const block = encodeFrame({ id: this.cursorAt(from), event: '$gap', data: JSON.stringify(data) });
    return { offset: from, frame: Buffer.from(block), record: null };
  }

  end(): void {
    this.#tail.end();
  }

  #encode(record: EventRecord, form: FrameForm = 'plain'): Buffer {
    const topic = this.topic.name;
    try {
      checkEventName(record.name);
      return Buffer.from(
        encodeFrame({
          id: this.cursorAt(record.offset, form),
          ...(form === 'topic' ? { topic } : {}),
          event: record.name,
          data: form === 'envelope' ? `{"topic":${JSON.stringify(topic)},"data":${record.data}}` : record.data,
        }),
      );
    } catch (error) {
      // Written past the bus, which lets no such name through. It ends neither the process nor the topic: a gap stands for it.
      this.listener.onError(error, `framing a record of "${this.topic.name}"`);
      this.listener.onGap(this, 'trimmed');
      return this.frameAs(form, this.frameGap('trimmed', record.offset));
    }
  }

  #newRing(): FrameRing {
    return new FrameRing(this.#tail.position, (form, framed) => this.frameAs(form, framed));
  }

  #push(framed: FramedRecord, goesBack = false): void {
    this.#ring ??= this.#newRing();
    this.#ring.push(framed, goesBack);
    const index = this.#ring.end - 1;
    if (index === this.#ring.rewoundAt) {
      this.newest?.clear();
      // What they answer may be from before.
      this.#reads.clear();
    }
    this.newest?.set(framed, index);
    this.listener.onNews(this);
  }
}
