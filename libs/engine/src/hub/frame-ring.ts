/** A ring of framed records: encoded once, shared by all subscriptions of a feed, in batches that they share too. */
import { compareOffsets, type Offset } from '@sse-channels/protocol';
import type { EventRecord } from '../backplane/backplane.js';

/** A record as it goes out, or a gap, which has no record. */
export interface FramedRecord {
  readonly offset: Offset;
  readonly frame: Buffer;
  readonly record: EventRecord | null;
}

/** Bounds of a ring: enough for the readers that are a moment behind; older records are read from the log. */
const MAX_RING_RECORDS = 1_024;
const MAX_RING_BYTES = 262_144;
const COMPACT_AT = 256;

export class FrameRing {
  /** Every record after this offset is in the ring. */
  floor: Offset;
  /** The index of the last gap that led back to an earlier offset; whoever meets it goes back too. */
  rewoundAt = -1;

  #records: FramedRecord[] = [];
  /** The index of the first slot of `#records`; indexes count up for the ring's life. */
  #base = 0;
  #start = 0;
  #bytes = 0;
  /** Batches of this turn by the index they begin at; they end where the ring ends, or at the bound. */
  readonly #batches = new Map<number, { readonly end: number; readonly bytes: Buffer }>();

  constructor(floor: Offset) {
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

  at(index: number): FramedRecord {
    return this.#records[index - this.#base] as FramedRecord;
  }

  push(framed: FramedRecord): void {
    const newest = this.#records.at(-1)?.offset ?? this.floor;
    if (framed.record === null && compareOffsets(framed.offset, newest) < 0) this.#rewind(framed.offset);
    this.#records.push(framed);
    this.#bytes += framed.frame.length;
    this.#batches.clear();
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

  /** The index of the first record after an offset that is not before the floor. */
  indexAfter(offset: Offset): number {
    let low = this.#start;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareOffsets(this.at(middle).offset, offset) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The records from an index on as one piece of around `maxBytes`, made once for all who stand there; and where it ends. */
  batch(from: number, maxBytes: number): { readonly end: number; readonly bytes: Buffer } {
    let batch = this.#batches.get(from);
    if (batch === undefined) {
      const frames: Buffer[] = [];
      let bytes = 0;
      let end = from;
      while (end < this.end && (end === from || bytes < maxBytes)) {
        const { frame } = this.at(end);
        frames.push(frame);
        bytes += frame.length;
        end += 1;
      }
      batch = { end, bytes: frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames, bytes) };
      // After this turn nobody stands where they begin.
      if (this.#batches.size === 0) setImmediate(() => this.#batches.clear());
      this.#batches.set(from, batch);
    }
    return batch;
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
