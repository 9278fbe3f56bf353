/** One topic's log in memory: its newest records within the bounds of its retention. */
import { compareOffsets, type Offset, type Retention } from '@sse-channels/protocol';
import type { EventRecord } from './backplane.js';

/** Removed slots are compacted away when they outnumber the kept ones and are more than this. */
const COMPACT_AT = 64;

export class MemoryLog {
  /** The topic's last record, kept or not. */
  head: Offset | null = null;
  /** The last record that retention removed; readers from before it have a gap. */
  trimmed: Offset | null = null;
  lastAppendAt = 0;
  retention: Retention;

  #records: EventRecord[] = [];
  #start = 0;
  #bytes = 0;

  constructor(retention: Retention) {
    this.retention = retention;
  }

  get size(): number {
    return this.#records.length - this.#start;
  }

  /** Bytes of data kept. */
  get bytes(): number {
    return this.#bytes;
  }

  append(record: EventRecord): void {
    this.head = record.offset;
    this.lastAppendAt = record.time;
    this.restore(record);
    this.trim(record.time);
  }

  /** Puts back a record that was kept, after those before it. */
  restore(record: EventRecord): void {
    this.#records.push(record);
    this.#bytes += sizeOf(record);
  }

  /** Removes the records up to this offset; null when nothing was ever removed. */
  dropThrough(trimmed: Offset | null): void {
    this.trimmed = trimmed;
    if (trimmed === null) return;
    const isGone = ({ offset }: EventRecord): boolean => compareOffsets(offset, trimmed) <= 0;
    while (this.size > 0 && isGone(this.#records[this.#start] as EventRecord)) this.#dropOldest();
  }

  /** Removes what the retention no longer covers. */
  trim(now: number): void {
    const { maxEvents, maxAgeMs, maxBytes } = this.retention;
    while (this.size > 0) {
      const oldest = this.#records[this.#start] as EventRecord;
      if (this.size <= maxEvents && this.#bytes <= maxBytes && now - oldest.time <= maxAgeMs) break;
      this.trimmed = oldest.offset;
      this.#dropOldest();
    }
    if (this.#start > COMPACT_AT && this.#start > this.size) {
      this.#records = this.#records.slice(this.#start);
      this.#start = 0;
    }
  }

  #dropOldest(): void {
    this.#bytes -= sizeOf(this.#records[this.#start] as EventRecord);
    // The slot is emptied at once, so that a removed record's memory does not wait for the compaction.
    this.#records[this.#start] = undefined as unknown as EventRecord;
    this.#start += 1;
  }

  /** At most `limit` records after an offset, oldest first. */
  after(offset: Offset, limit: number): EventRecord[] {
    let low = this.#start;
    let high = this.#records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareOffsets((this.#records[middle] as EventRecord).offset, offset) <= 0) low = middle + 1;
      else high = middle;
    }
    return this.#records.slice(low, low + limit);
  }

  /** The newest `count` records, oldest first. */
  last(count: number): EventRecord[] {
    return this.#records.slice(Math.max(this.#start, this.#records.length - count));
  }
}

function sizeOf(record: EventRecord): number {
  return Buffer.byteLength(record.data);
}
