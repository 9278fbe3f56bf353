/** Puts the records of several partitions into the order of their offsets, for those who follow filters. */
import type { EventRecord } from '@sse-channels/engine';
import { compareOffsets, earlierOffset, FIRST_OFFSET, laterOffset, type Offset } from '@sse-channels/protocol';

/** How long a record waits for those of other partitions before their clocks are pulled along. */
const PULL_MS = 3;
/** How many records wait at most. */
const MAX_WAITING = 10_000;

export interface PartitionMergeListener {
  hand(record: EventRecord): void;
  /** Asks a partition to say that its clock has passed an offset. */
  pull(partition: number, offset: Offset): void;
  /** Too many waited; they were let go. */
  overflow(): void;
}

/** A record is handed over once every partition has said that nothing of it comes before that record any more. */
export class PartitionMerge {
  /** In the order of their offsets. */
  readonly #waiting: EventRecord[] = [];
  readonly #passed: Offset[];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    count: number,
    private readonly listener: PartitionMergeListener,
  ) {
    this.#passed = Array.from({ length: count }, () => FIRST_OFFSET);
  }

  add(partition: number, record: EventRecord): void {
    let place = this.#waiting.length;
    while (place > 0 && compareOffsets((this.#waiting[place - 1] as EventRecord).offset, record.offset) > 0) place -= 1;
    this.#waiting.splice(place, 0, record);
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.length = 0;
      this.listener.overflow();
    }
    this.pass(partition, record.offset);
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => this.#pull(), PULL_MS);
  }

  /** Nothing of a partition comes at or before this offset any more. */
  pass(partition: number, offset: Offset): void {
    this.#passed[partition] = laterOffset(this.#passed[partition] as Offset, offset);
    const all = this.#passed.reduce(earlierOffset);
    while (this.#waiting[0] !== undefined && compareOffsets(this.#waiting[0].offset, all) <= 0)
      this.listener.hand(this.#waiting.shift() as EventRecord);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = 0;
  }

  #pull(): void {
    this.#timer = undefined;
    const newest = this.#waiting.at(-1);
    if (newest === undefined) return;
    for (const [partition, passed] of this.#passed.entries())
      if (compareOffsets(passed, newest.offset) < 0) this.listener.pull(partition, newest.offset);
    // Should an answer be lost.
    this.#timer = setTimeout(() => this.#pull(), 50);
  }
}
