/**
 * Readers that stand level: each was given all there is, is given the same as the others, and takes it. Where they stand is known of
 * all together, so that a delivery touches nothing of a reader but what is written to; most of what it costs beside the kernel's write is
 * waiting for memory.
 */
import type { DirectWay, Sink } from '../connection/sink.js';

/** Seats of those who left stay empty until there are more than this, and more than of those who stayed. */
const MAX_EMPTY = 64;

export interface LevelReader {
  /** Its own while it stands level; -1 when it does not. */
  seat: number;
  /** Its peer does not keep up: it has what was given, and leaves. */
  onFull(): void;
  /** It leaves, and finds its own way, woken by what is new: what the others are given is not for it. */
  goAlone(): void;
}

/** What they are given, from the places where they may stand: a ring's records, or those of several rings. */
export interface LevelPath<Place> {
  /** Whether there is nothing after a place. */
  isAtEnd(place: Place): boolean;
  /** Whether it goes on from a place: what follows there may be for each of them another. */
  leadsOn(place: Place): boolean;
  /** What follows now, of a place from which it leads on; null for nothing. */
  next(place: Place): LevelStep<Place> | null;
}

export interface LevelStep<Place> {
  readonly bytes: Buffer;
  /** Where they stand with them. */
  readonly place: Place;
}

export class LevelReaders<Place> {
  /** When bytes were written to them last, by the clock that is never set; 0: not yet. */
  writtenAt = 0;

  readonly #path: LevelPath<Place>;
  /** What is written to, each at its reader's seat, and the form in which it is; a delivery goes through these alone. */
  #targets: Array<DirectWay['target'] | undefined> = [];
  #encoders: Array<DirectWay['encode']> = [];
  #readers: Array<LevelReader | undefined> = [];
  #empty = 0;
  /** Where they stand. */
  #place: Place;
  /** What is being given, and where those stand who have it already: the ones before a seat. */
  #bytes: Buffer | null = null;
  #next: Place;
  #reached = 0;

  constructor(path: LevelPath<Place>, place: Place) {
    this.#path = path;
    this.#place = this.#next = place;
  }

  /**
   * Takes a reader in that was given all there is.
   * @returns false where the others are not so far, or on their way
   */
  join(reader: LevelReader, place: Place, sink: Sink): boolean {
    const path = this.#path;
    if (this.#bytes !== null || !path.isAtEnd(place)) return false;
    this.#closeRanks();
    if (this.#isEmpty) this.#place = place;
    else if (!path.isAtEnd(this.#place)) return false;
    const { target, encode } = sink.directWay ?? { target: sink, encode: asTheyAre };
    reader.seat = this.#targets.length;
    this.#targets.push(target);
    this.#encoders.push(encode);
    this.#readers.push(reader);
    return true;
  }

  leave(reader: LevelReader): void {
    this.#targets[reader.seat] = this.#readers[reader.seat] = undefined;
    reader.seat = -1;
    this.#empty += 1;
  }

  placeOf({ seat }: LevelReader): Place {
    return this.#bytes !== null && seat < this.#reached ? this.#next : this.#place;
  }

  /** Whether some were given what others still are to be. */
  get areOnTheirWay(): boolean {
    return this.#bytes !== null;
  }

  /** Whether there may be something for them. */
  get areDue(): boolean {
    return this.areOnTheirWay || (!this.#isEmpty && !this.#path.isAtEnd(this.#place));
  }

  /** Has them all leave where that is the only way on. @returns whether it was */
  letGoAstray(): boolean {
    if (this.areOnTheirWay || this.#isEmpty || this.#path.leadsOn(this.#place)) return false;
    for (const reader of this.#readers) reader?.goAlone();
    return true;
  }

  /**
   * Gives some of them what is due.
   * @param most to how many
   * @returns to how many
   */
  give(most: number): number {
    const bytes = this.#bytes ?? this.#begin();
    if (bytes === null) return 0;
    const targets = this.#targets;
    const encoders = this.#encoders;
    this.writtenAt = Math.trunc(performance.now());
    let given = 0;
    while (given < most && this.#reached < targets.length) {
      const seat = this.#reached;
      this.#reached += 1;
      const target = targets[seat];
      if (target === undefined) continue;
      given += 1;
      if (!target.write((encoders[seat] as DirectWay['encode'])(bytes))) this.#readers[seat]?.onFull();
    }
    if (this.#reached === targets.length) {
      this.#bytes = null;
      this.#place = this.#next;
    }
    return given;
  }

  #begin(): Buffer | null {
    if (this.#isEmpty) return null;
    const step = this.#path.next(this.#place);
    if (step === null) return null;
    this.#closeRanks();
    this.#next = step.place;
    this.#reached = 0;
    return (this.#bytes = step.bytes);
  }

  get #isEmpty(): boolean {
    return this.#targets.length === this.#empty;
  }

  #closeRanks(): void {
    if (this.#empty <= Math.max(MAX_EMPTY, this.#targets.length / 2)) return;
    this.#encoders = this.#encoders.filter((_, seat) => this.#targets[seat] !== undefined);
    this.#targets = this.#targets.filter((target) => target !== undefined);
    this.#readers = this.#readers.filter((reader) => reader !== undefined);
    for (const [seat, reader] of this.#readers.entries()) if (reader !== undefined) reader.seat = seat;
    this.#empty = 0;
  }
}

function asTheyAre(bytes: Buffer): Buffer {
  return bytes;
}
