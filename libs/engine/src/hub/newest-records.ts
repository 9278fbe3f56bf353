/** The newest record of each key of a feed: what a reader that was too slow is given instead of all that it missed. */
import type { Retention } from '@sse-channels/protocol';
import type { FramedRecord } from './frame-ring.js';

/** A record and its index in the feed's ring, which may have moved on. */
export interface NewestRecord {
  readonly index: number;
  readonly framed: FramedRecord;
}

export class NewestRecords {
  /** In the order of their indexes: a newer record of a key takes a place at the end. */
  readonly #byKey = new Map<string, NewestRecord>();
  #bytes = 0;

  /** @param bounds the log's: what it would not keep is not kept here */
  constructor(private readonly bounds: Retention) {}

  set(framed: FramedRecord, index: number): void {
    const { record } = framed;
    // A gap is replaced by nothing.
    const key = record === null ? `$gap ${index}` : `${record.name} ${record.key ?? ''}`;
    this.#delete(key);
    this.#byKey.set(key, { index, framed });
    this.#bytes += framed.frame.length;
    for (const oldest of this.#byKey.keys()) {
      const { size } = this.#byKey;
      if (size === 1 || (size <= this.bounds.maxEvents && this.#bytes <= this.bounds.maxBytes)) break;
      this.#delete(oldest);
    }
  }

  /** Those from an index on, in order. */
  since(index: number): NewestRecord[] {
    return [...this.#byKey.values()].filter((newest) => newest.index >= index);
  }

  clear(): void {
    this.#byKey.clear();
    this.#bytes = 0;
  }

  #delete(key: string): void {
    const newest = this.#byKey.get(key);
    if (newest === undefined) return;
    this.#byKey.delete(key);
    this.#bytes -= newest.framed.frame.length;
  }
}
