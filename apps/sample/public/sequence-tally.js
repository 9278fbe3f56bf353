/** Counts what is missing and what came twice, from a number that its producer counts up by one. */

/** @typedef {{ missed: number, doubled: boolean }} Verdict */

export class SequenceTally {
  #last = 0;
  #lastAtMs = -Infinity;

  /**
   * Judges the next event; the first one has nothing before it to miss.
   * @param {number} sequence
   * @param {number} atMs when it happened
   * @returns {Verdict}
   */
  take(sequence, atMs) {
    const isFirst = this.#last === 0;
    // A lower number that is newer: the producer was restarted and counts from one again.
    const isRestart = sequence <= this.#last && atMs > this.#lastAtMs;
    if (sequence <= this.#last && !isRestart) return { missed: 0, doubled: true };
    const missed = isFirst ? 0 : sequence - (isRestart ? 0 : this.#last) - 1;
    this.#last = sequence;
    this.#lastAtMs = atMs;
    return { missed, doubled: false };
  }
}
