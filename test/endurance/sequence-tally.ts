/** Checks that a reader got each event of a topic once and in order. */

export class SequenceTally {
  /** The last sequence in order. */
  last: number;
  received = 0;
  doubled = 0;
  reordered = 0;
  readonly #missing = new Set<number>();

  /** @param after the sequence before the first that is expected; null to begin with whatever comes first */
  constructor(after: number | null = 0) {
    this.last = after ?? -1;
  }

  take(sequence: number): void {
    this.received += 1;
    if (this.last === -1) this.last = sequence - 1;
    if (sequence > this.last) {
      for (let skipped = this.last + 1; skipped < sequence; skipped += 1) this.#missing.add(skipped);
      this.last = sequence;
    } else if (this.#missing.delete(sequence)) {
      this.reordered += 1;
    } else {
      this.doubled += 1;
    }
  }

  /** How many are missing of those up to `end`. */
  lost(end = this.last): number {
    return this.#missing.size + Math.max(0, end - this.last);
  }
}

export interface Totals {
  readonly received: number;
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
}

/** @param end the last sequence that each should have had */
export function totalsOf(tallies: readonly SequenceTally[], end?: number): Totals {
  const sum = (of: (tally: SequenceTally) => number) => tallies.reduce((total, tally) => total + of(tally), 0);
  return {
    received: sum(({ received }) => received),
    lost: sum((tally) => tally.lost(end)),
    doubled: sum(({ doubled }) => doubled),
    reordered: sum(({ reordered }) => reordered),
  };
}
