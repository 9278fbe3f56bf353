/**
 * Readers of a feed that stand level: each was given all that the ring has, is given the same as the others, and takes it. Where they
 * stand is known of all together, so that a delivery touches nothing of a reader but its sink; most of what a delivery costs beside the
 * kernel's write is waiting for memory.
 */
import type { Sink } from '../connection/sink.js';
import { BATCH_BYTES } from '../connection/source.js';
import type { FrameRing, RingPlace } from './frame-ring.js';

/** Seats of those who left stay empty until there are more than this, and more than of those who stayed. */
const MAX_EMPTY = 64;

export interface LevelReader {
  /** Its own while it stands level; -1 when it does not. */
  seat: number;
  /** Its peer does not keep up: it has what was given, and leaves. */
  onFull(): void;
  /** It leaves, and finds its own way: the ring has gone on without them all. */
  letGo(): void;
}

export class LevelReaders {
  /** When bytes were written to them last, by the clock that is never set; 0: not yet. */
  writtenAt = 0;

  readonly #ring: FrameRing;
  /** Each at its reader's seat; a delivery goes through these alone. */
  #sinks: Array<Sink | undefined> = [];
  #readers: Array<LevelReader | undefined> = [];
  #empty = 0;
  /** Where they stand. */
  #place: RingPlace;
  #rewoundAt: number | undefined;
  /** What is being given, and where those stand who have it already: the ones before a seat. */
  #bytes: Buffer | null = null;
  #next: RingPlace;
  #reached = 0;

  constructor(ring: FrameRing, place: RingPlace) {
    this.#ring = ring;
    this.#place = this.#next = place;
  }

  /**
   * Takes a reader in that was given all there is.
   * @returns false where the others are not so far, or on their way
   */
  join(reader: LevelReader, place: RingPlace, sink: Sink): boolean {
    const ring = this.#ring;
    if (this.#bytes !== null || place.index !== ring.end) return false;
    this.#closeRanks();
    if (this.#sinks.length === this.#empty) {
      this.#place = place;
      this.#rewoundAt = ring.rewoundAt;
    } else if (this.#place.index !== place.index) return false;
    reader.seat = this.#sinks.length;
    this.#sinks.push(sink);
    this.#readers.push(reader);
    return true;
  }

  leave(reader: LevelReader): void {
    this.#sinks[reader.seat] = this.#readers[reader.seat] = undefined;
    reader.seat = -1;
    this.#empty += 1;
  }

  placeOf({ seat }: LevelReader): RingPlace {
    return this.#bytes !== null && seat < this.#reached ? this.#next : this.#place;
  }

  /** Whether some were given what others still are to be. */
  get isGiving(): boolean {
    return this.#bytes !== null;
  }

  /** Whether there is something for them. */
  get areDue(): boolean {
    return this.isGiving || (this.#sinks.length > this.#empty && this.#place.index !== this.#ring.end);
  }

  /**
   * Gives some of them what is due.
   * @param most to how many
   * @returns to how many; none when they had to leave
   */
  give(most: number): number {
    const bytes = this.#bytes ?? this.#begin();
    if (bytes === null) return 0;
    const sinks = this.#sinks;
    this.writtenAt = Math.trunc(performance.now());
    let given = 0;
    while (given < most && this.#reached < sinks.length) {
      const seat = this.#reached;
      this.#reached += 1;
      const sink = sinks[seat];
      if (sink === undefined) continue;
      given += 1;
      if (!sink.write(bytes)) this.#readers[seat]?.onFull();
    }
    if (this.#reached === sinks.length) {
      this.#bytes = null;
      this.#place = this.#next;
    }
    return given;
  }

  #begin(): Buffer | null {
    const ring = this.#ring;
    if (this.#place.index < ring.start || this.#rewoundAt !== ring.rewoundAt) {
      for (const reader of this.#readers) reader?.letGo();
      return null;
    }
    this.#closeRanks();
    const { index, bytes: before } = this.#place;
    const { end, offset, bytes, ringBytes } = ring.batch(index, BATCH_BYTES);
    this.#next = { offset, index: end, bytes: before + ringBytes };
    this.#reached = 0;
    return (this.#bytes = bytes);
  }

  #closeRanks(): void {
    if (this.#empty <= Math.max(MAX_EMPTY, this.#sinks.length / 2)) return;
    this.#sinks = this.#sinks.filter((sink) => sink !== undefined);
    this.#readers = this.#readers.filter((reader) => reader !== undefined);
    for (const [seat, reader] of this.#readers.entries()) if (reader !== undefined) reader.seat = seat;
    this.#empty = 0;
  }
}
