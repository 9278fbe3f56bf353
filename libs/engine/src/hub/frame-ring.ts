/** A ring of framed records: encoded once, shared by all subscriptions of a feed, in batches that they share too. */
import { compareOffsets, type Offset } from '@sse-channels/protocol';
import type { EventRecord } from '../backplane/backplane.js';
import { BATCH_BYTES } from '../connection/source.js';
import type { LevelPath, LevelStep } from './level-readers.js';

/**
 * How an event names its topic: `plain`, not at all, in a stream of one; `topic`, in a line of its own, which EventSource ignores;
 * `envelope`, in its data, `{"topic":…,"data":…}`.
 */
export type FrameForm = 'plain' | 'topic' | 'envelope';

/** A record as it goes out, or a gap, which has no record. */
export interface FramedRecord {
  readonly offset: Offset;
  readonly frame: Buffer;
  readonly record: EventRecord | null;
  /** The frame in other forms, as far as somebody has asked for them. */
  formed?: Partial<Record<FrameForm, Buffer>>;
}

/** Batches of one form. */
class Batches {
  /** By the index they begin at; they end where the ring ends, or at the bound. Kept while something else keeps them. */
  readonly #batches = new Map<number, WeakRef<Batch>>();
  /** The batch that was asked for last: in a fan-out nearly all ask for the same. */
  #lastFrom: number | undefined;
  #last: Batch | undefined;

  get(from: number, make: () => Batch): Batch {
    if (from === this.#lastFrom && this.#last !== undefined) return this.#last;
    let batch = this.#batches.get(from)?.deref();
    if (batch === undefined) {
      batch = make();
      this.#batches.set(from, new WeakRef(batch));
    }
    // Not held when the turn is over: nobody may ever stand there again.
    if (this.#last === undefined) setImmediate(() => (this.#last = undefined));
    this.#lastFrom = from;
    this.#last = batch;
    return batch;
  }

  forget(): void {
    this.#last = undefined;
    if (this.#batches.size > 0) this.#batches.clear();
  }
}

/** Records of a ring as one piece of bytes, made once for all who stand where it begins. */
export interface Batch {
  /** The index after its last record. */
  readonly end: number;
  /** The offset of its last record. */
  readonly offset: Offset;
  readonly bytes: Buffer;
  /** By how much they move on in the ring's own count of bytes, which is that of plain frames. */
  readonly ringBytes: number;
}

/** Where a reader stands in a ring that was given everything up to an offset. */
export interface RingPlace {
  readonly offset: Offset;
  readonly index: number;
  /** What `totalBytes` is there. */
  readonly bytes: number;
}

/** Bounds of a ring: enough for the readers that are a moment behind; older records are read from the log. */
const MAX_RING_RECORDS = 1_024;
const MAX_RING_BYTES = 262_144;
const COMPACT_AT = 256;

export class FrameRing implements LevelPath<RingPlace> {
  /** Every record after this offset is in the ring. */
  floor: Offset;
  /** The index of the last gap that led back to an earlier offset; whoever meets it goes back too. */
  rewoundAt: number | undefined;
  /** Bytes of all frames up to the end, whether they are still in the ring or not. */
  totalBytes = 0;

  #records: FramedRecord[] = [];
  /** The index of the first slot of `#records`; an index stands for its record for the ring's life. */
  #base = 0;
  #start = 0;
  #bytes = 0;
  readonly #plain = new Batches();
  readonly #formed = new Map<FrameForm, Batches>();
  /** The place that was looked for last. */
  #found: RingPlace | undefined;

  /** @param frameAs makes a frame of another form */
  constructor(
    floor: Offset,
    private readonly frameAs: (form: FrameForm, framed: FramedRecord) => Buffer = (_, { frame }) => frame,
  ) {
    this.floor = floor;
  }

  /** The index of the oldest record. */
  get start(): number {
    return this.#start;
  }

  /** The index after the newest record. */
  get end(): number {
    return this.#base + this.#records.length;
  }

  /** The offset of the newest record, or where the ring begins as long as there is none. */
  get newest(): Offset {
    return this.#records.at(-1)?.offset ?? this.floor;
  }

  /** Whether it holds a gap that led back. */
  get isRewound(): boolean {
    return this.rewoundAt !== undefined && this.rewoundAt >= this.#start;
  }

  at(index: number): FramedRecord {
    return this.#records[index - this.#base] as FramedRecord;
  }

  /** @param goesBack for a gap: what was known so far says nothing of what comes, whatever its offset */
  push(framed: FramedRecord, goesBack = false): void {
    if (goesBack || (framed.record === null && compareOffsets(framed.offset, this.newest) < 0))
      this.#rewind(framed.offset);
    this.#records.push(framed);
    this.#bytes += framed.frame.length;
    this.totalBytes += framed.frame.length;
    this.#forget();
    while (this.end - this.#start > 1 && (this.end - this.#start > MAX_RING_RECORDS || this.#bytes > MAX_RING_BYTES)) {
      const oldest = this.at(this.#start);
      this.floor = oldest.offset;
      this.#bytes -= oldest.frame.length;
      this.#records[this.#start - this.#base] = undefined as unknown as FramedRecord;
      this.#start += 1;
    }
    const removed = this.#start - this.#base;
    if (removed > COMPACT_AT && removed > this.#records.length / 2) {
      this.#records = this.#records.slice(removed);
      this.#base = this.#start;
    }
  }

  /**
   * Takes in older records, which end where the ring begins: who replays them later shares them.
   * @param floor the offset after which they are whole
   * @returns false where the ring has no room for them
   */
  prepend(older: readonly FramedRecord[], floor: Offset): boolean {
    const bytes = older.reduce((sum, { frame }) => sum + frame.length, 0);
    // The gap of a rewind leads to the log's other past.
    if (this.isRewound) return false;
    if (this.end - this.#start + older.length > MAX_RING_RECORDS || this.#bytes + bytes > MAX_RING_BYTES) return false;
    this.#records = [...older, ...this.#records.slice(this.#start - this.#base)];
    this.#base = this.#start -= older.length;
    this.#bytes += bytes;
    this.floor = floor;
    this.#found = undefined;
    return true;
  }

  /** The index of the first record after an offset that is not before the floor, and the ring's total of bytes there. */
  placeAfter(offset: Offset): RingPlace {
    // In a storm of reconnects nearly all come back with the same cursor.
    if (this.#found?.offset === offset) return this.#found;
    const index = this.#indexAfter(offset);
    let bytes = this.totalBytes;
    for (let next = index; next < this.end; next += 1) bytes -= this.at(next).frame.length;
    return (this.#found = { offset, index, bytes });
  }

  #indexAfter(offset: Offset): number {
    let low = this.#start;
    let high = this.end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (compareOffsets(this.at(middle).offset, offset) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The records from an index on as one piece of around `maxBytes`. */
  batch(from: number, maxBytes: number, form: FrameForm = 'plain'): Batch {
    let batches = form === 'plain' ? this.#plain : this.#formed.get(form);
    if (batches === undefined) this.#formed.set(form, (batches = new Batches()));
    return batches.get(from, () => this.#join(from, maxBytes, form));
  }

  isAtEnd({ index }: RingPlace): boolean {
    return index === this.end;
  }

  leadsOn({ index }: RingPlace): boolean {
    return index >= this.#start && (this.rewoundAt === undefined || index > this.rewoundAt);
  }

  next(place: RingPlace, form?: FrameForm): LevelStep<RingPlace> | null {
    if (this.isAtEnd(place)) return null;
    const { end, offset, bytes, ringBytes } = this.batch(place.index, BATCH_BYTES, form);
    return { bytes, place: { offset, index: end, bytes: place.bytes + ringBytes } };
  }

  #join(from: number, maxBytes: number, form: FrameForm): Batch {
    const frames: Buffer[] = [];
    let bytes = 0;
    let ringBytes = 0;
    let end = from;
    while (end < this.end && (end === from || bytes < maxBytes)) {
      const framed = this.at(end);
      const frame = form === 'plain' ? framed.frame : this.frameAs(form, framed);
      frames.push(frame);
      bytes += frame.length;
      ringBytes += framed.frame.length;
      end += 1;
    }
    return {
      end,
      ringBytes,
      offset: this.at(end - 1).offset,
      bytes: frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames, bytes),
    };
  }

  /** What is known of the records so far is no longer so when there are others. */
  #forget(): void {
    this.#found = undefined;
    this.#plain.forget();
    for (const batches of this.#formed.values()) batches.forget();
  }

  /** The log went back: what is in the ring would stand in no order with what comes. */
  #rewind(to: Offset): void {
    this.rewoundAt = this.end;
    this.#base = this.#start = this.end;
    this.#records = [];
    this.#bytes = 0;
    this.floor = to;
  }
}

/**
 * Takes frames one by one, as one piece of around `maxBytes`; null when there is none. What comes before a record at which
 * taking fails is given first, or a client that comes back would never get past it.
 */
export function gatherFrames(maxBytes: number, take: () => Buffer | null): Buffer | null {
  const frames: Buffer[] = [];
  let bytes = 0;
  while (bytes < maxBytes) {
    let frame;
    try {
      frame = take();
    } catch (error) {
      if (frames.length > 0) break;
      throw error;
    }
    if (frame === null) break;
    frames.push(frame);
    bytes += frame.length;
  }
  if (frames.length === 0) return null;
  return frames.length === 1 ? (frames[0] as Buffer) : joined(frames, bytes);
}

/** What was joined last: in a fan-out to streams of the same topics each asks for the same. */
let lastFrames: readonly Buffer[] = [];
let lastJoined = Buffer.alloc(0);

function joined(frames: readonly Buffer[], bytes: number): Buffer {
  if (frames.length === lastFrames.length && frames.every((frame, index) => frame === lastFrames[index]))
    return lastJoined;
  // Not held when the turn is over: nobody may ever be due the same again.
  if (lastFrames.length === 0) setImmediate(() => ((lastFrames = []), (lastJoined = Buffer.alloc(0))));
  lastFrames = frames;
  return (lastJoined = Buffer.concat(frames, bytes));
}
