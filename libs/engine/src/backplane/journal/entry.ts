/** Entries: what a journal says happened to the logs, one after another; a block holds them as JSON. */
import type { Offset, Retention } from '@sse-channels/protocol';

/** The version of files that this code writes and reads. */
export const JOURNAL_VERSION = 1;

/** maxEvents, maxAgeMs, maxBytes. */
type RetentionEntry = readonly [number, number, number];

/** What a segment begins with. */
export interface SegmentOpening {
  readonly version: number;
  readonly epoch: string;
  /** The number of the segment before; null when there was none. */
  readonly previous: number | null;
  /** The last offset that was given before this segment. */
  readonly last: Offset;
  /** Whether each commit is synced. */
  readonly fsync: boolean;
  /** Identifies the run of the operating system; null where that is not known. */
  readonly boot: string | null;
}

export type Entry =
  | readonly ['open', SegmentOpening]
  | readonly [
      'append',
      topic: string,
      offset: Offset,
      time: number,
      name: string,
      data: string,
      key: string | null,
      retention: RetentionEntry,
      idempotencyKey: string | null,
    ]
  /** An idle topic's log was forgotten, if this is still its head. */
  | readonly ['forget', topic: string, head: Offset]
  // A snapshot: everything that is known, in the place of all segments before the one that it begins in. Appends go on between its
  // entries, so that what it says of a topic holds only once the topic is ended.
  | readonly ['forgotten', newest: ReadonlyArray<readonly [segment: string, offset: Offset]>, newestOfAll: Offset]
  | readonly ['key', topic: string, idempotencyKey: string, offset: Offset, at: number]
  | readonly ['topic', topic: string, head: Offset | null, lastAppendAt: number, retention: RetentionEntry]
  | readonly [
      'record',
      offset: Offset,
      prev: Offset | null,
      time: number,
      name: string,
      data: string,
      key: string | null,
    ]
  | readonly ['topic-end', trimmed: Offset | null]
  | readonly ['snapshot-end', firstSegment: number]
  /** Everything before is on the disk, and nothing follows. */
  | readonly ['close'];

export function formatEntry(entry: Entry): string {
  return JSON.stringify(entry);
}

/** Reads the payload of a block. */
export function parseEntries(payload: string): Entry[] {
  return JSON.parse(payload) as Entry[];
}

export function retentionEntry({ maxEvents, maxAgeMs, maxBytes }: Retention): RetentionEntry {
  return [maxEvents, maxAgeMs, maxBytes];
}

export function retentionOf([maxEvents, maxAgeMs, maxBytes]: RetentionEntry): Retention {
  return { maxEvents, maxAgeMs, maxBytes };
}
