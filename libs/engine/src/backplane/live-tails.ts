/** The live tails of this process on an engine outside of it: what the engine is asked to send, and who is given it. */
import {
  compareOffsets,
  earlierOffset,
  FIRST_OFFSET,
  laterOffset,
  SseChannelsError,
  type Offset,
} from '@sse-channels/protocol';
import type { EventRecord, Tail, TopicFilter } from './backplane.js';
import { guarded, HandOver, type HandOverTo } from './hand-over.js';

/** How long a topic is followed on after its last tail ended, so that a client that comes back finds it followed. */
const LINGER_MS = 15_000;

/** What live tails ask of the engine. Each filter is wanted once, however many tails it has. */
export interface LiveSource {
  /**
   * Has the engine send the live records of a topic or filter; resolves when it has confirmed that it will. From then on, and over
   * lost connections, it stays wanted until `unwant`.
   * @throws rejects when the engine cannot be asked now; then it is not wanted
   */
  want(filter: TopicFilter): Promise<void>;
  unwant(filter: TopicFilter): void;
  /** A place of the log space, or of the topic, that is not before any record of the filter that was appended when this was called. */
  place(filter: TopicFilter): Promise<Offset>;
}

export interface LiveTailsOptions {
  /** As in the backplane's capabilities: with `space`, a record moves the position of every tail. */
  readonly order: 'space' | 'topic';
  /** How long a topic is followed on after its last tail ended, in milliseconds; 0 for not at all. @default 15000 */
  readonly lingerMs?: number | undefined;
}

/** A topic or filter that the engine is asked for. */
interface Interest {
  readonly filter: TopicFilter;
  readonly tails: Set<LiveTail>;
  readonly confirmed: Promise<void>;
  /** Every record up to here has come, or precedes the interest; empty while that is not known. */
  reached: Offset;
  releasedAt: number;
}

interface LiveTail {
  readonly onLoss: () => void;
  /** Empty until it is attached. */
  last: Offset;
}

/**
 * Demultiplexes what comes from the engine, and keeps the promise of a tail's position: records at or before it are never handed
 * over, each one after it is, or `onLoss` is called.
 *
 * When the connection is lost: `freeze()`. When the engine sends again, compare the heads of `followed()` with what has come, and
 * `thaw()` with those topics that may have missed something. Between the two no shared position moves, and filters are handed
 * nothing; of a topic's records `prev` shows the hole.
 */
export class LiveTails {
  readonly #interests = new Map<TopicFilter, Interest>();
  /** Without a tail, in the order in which they were released. */
  readonly #released = new Set<Interest>();
  readonly #handOver = new HandOver();
  readonly #lingerMs: number;
  /** With the order `space`: every record up to here, of everything followed, has been handed over. */
  #watermark: Offset = FIRST_OFFSET;
  #frozen = false;
  #closed = false;
  #lingerTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly source: LiveSource,
    private readonly options: LiveTailsOptions,
  ) {
    this.#lingerMs = options.lingerMs ?? LINGER_MS;
  }

  /** How many topics and filters the engine is asked for. */
  get size(): number {
    return this.#interests.size;
  }

  /** Whether the engine is asked for a topic or filter. */
  follows(filter: TopicFilter): boolean {
    return this.#interests.has(filter);
  }

  /** Between `freeze()` and `thaw()`. */
  get frozen(): boolean {
    return this.#frozen;
  }

  /** With the order `space`: what all tails have reached. */
  get watermark(): Offset {
    return this.#watermark;
  }

  /** What is followed, and up to where its records are known to have come; empty where that is not known. */
  *followed(): IterableIterator<readonly [filter: TopicFilter, reached: Offset]> {
    const shared = this.options.order === 'space' ? this.#watermark : FIRST_OFFSET;
    for (const { filter, reached } of this.#interests.values())
      yield [filter, reached === '' ? '' : laterOffset(reached, shared)];
  }

  /**
   * Attaches a tail; as `Backplane.tail`.
   * @throws rejects when the engine cannot be asked
   */
  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    const interest = this.#interest(filter);
    const tail: LiveTail = { onLoss, last: '' };
    interest.tails.add(tail);
    this.#released.delete(interest);
    let newest: Offset = FIRST_OFFSET;
    const remove = this.#handOver.add(filter, (record) => {
      // Until it is attached, what comes precedes it.
      if (tail.last === '') newest = laterOffset(newest, record.offset);
      else if (compareOffsets(record.offset, tail.last) > 0) {
        tail.last = record.offset;
        onRecord(record);
      }
    });
    const end = (): void => {
      remove();
      if (interest.tails.delete(tail) && interest.tails.size === 0) this.#release(interest);
    };
    try {
      await interest.confirmed;
      const place = await this.source.place(filter);
      if (this.#closed) throw new SseChannelsError('CLOSED', 'The backplane was closed.');
      tail.last = laterOffset(place, newest);
    } catch (error) {
      end();
      throw error;
    }
    if (interest.reached === '') interest.reached = tail.last;
    const position = (): Offset => this.#positionOf(tail);
    return {
      get position() {
        return position();
      },
      end,
    };
  }

  /** A record has come from the engine. */
  handOver(record: EventRecord, to: HandOverTo = 'all'): void {
    if (to !== 'filters') {
      const interest = this.#interests.get(record.topic);
      if (interest !== undefined && interest.reached !== '')
        interest.reached = laterOffset(interest.reached, record.offset);
    }
    if (this.#frozen && to === 'filters') return;
    this.#handOver.handOver(record, this.#watermark, this.#frozen ? 'topic' : to);
    this.pass(record.offset);
  }

  /** With the order `space`: whatever follows from the engine comes after this offset. */
  pass(offset: Offset): void {
    if (!this.#frozen) this.#watermark = laterOffset(this.#watermark, offset);
  }

  /** The tails of a topic or filter may have missed something. */
  lose(filter: TopicFilter): void {
    for (const tail of this.#interests.get(filter)?.tails ?? []) if (tail.last !== '') guarded(tail.onLoss);
  }

  /** All tails may have missed something. */
  loseAll(): void {
    for (const filter of this.#interests.keys()) this.lose(filter);
  }

  /** The log space was set back: what lay after this place is no more, and offsets from there on are given again. All may have missed something. */
  rewind(place: Offset): void {
    this.#watermark = earlierOffset(this.#watermark, place);
    for (const interest of this.#interests.values()) {
      // Where nothing is known yet, nothing is to be set back.
      if (interest.reached !== '') interest.reached = earlierOffset(interest.reached, place);
      for (const tail of interest.tails) if (tail.last !== '') tail.last = earlierOffset(tail.last, place);
    }
    this.loseAll();
  }

  /** The engine no longer sends: shared positions stay where they are. */
  freeze(): void {
    this.#frozen = true;
  }

  /** The engine sends again. @param lost the topics that may have missed something; filters always may */
  thaw(lost: Iterable<string>): void {
    for (const topic of lost) this.lose(topic);
    for (const filter of this.#interests.keys()) if (filter.includes('*')) this.lose(filter);
    this.#frozen = false;
  }

  /** Ends all tails; nothing is handed over any more. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#lingerTimer);
    this.#handOver.clear();
    this.#interests.clear();
    this.#released.clear();
  }

  #positionOf(tail: LiveTail): Offset {
    if (this.options.order === 'topic') return tail.last;
    return laterOffset(tail.last, this.#handOver.handedOver ?? this.#watermark);
  }

  #interest(filter: TopicFilter): Interest {
    if (this.#closed) throw new SseChannelsError('CLOSED', 'The backplane is closed; the application has shut down.');
    const known = this.#interests.get(filter);
    if (known !== undefined) return known;
    const confirmed = this.source.want(filter);
    const interest: Interest = { filter, tails: new Set(), confirmed, reached: '', releasedAt: 0 };
    this.#interests.set(filter, interest);
    confirmed.catch(() => {
      if (this.#interests.get(filter) === interest) this.#interests.delete(filter);
    });
    return interest;
  }

  #release(interest: Interest): void {
    if (this.#interests.get(interest.filter) !== interest) return;
    interest.releasedAt = performance.now();
    this.#released.add(interest);
    if (this.#lingerMs === 0) return this.#letGo();
    this.#lingerTimer ??= setInterval(() => this.#letGo(), Math.min(this.#lingerMs, 1_000)).unref();
  }

  #letGo(): void {
    const due = performance.now() - this.#lingerMs;
    for (const interest of this.#released) {
      if (interest.releasedAt > due) return;
      this.#released.delete(interest);
      this.#interests.delete(interest.filter);
      this.source.unwant(interest.filter);
    }
    clearInterval(this.#lingerTimer);
    this.#lingerTimer = undefined;
  }
}
