/** Counts what is missing and what came twice, from numbers that each producer counts up by one, from one on. */

/** @typedef {{ missed: number, doubled: boolean }} Verdict */

/** Producers that are remembered; a new one pushes out the one that was heard of first. */
const LIMIT = 200;

export class SequenceTally {
  /** @type {Map<string, number>} */
  #last = new Map();

  /**
   * Judges the next event; a producer's first one has nothing before it to miss.
   * @param {string} producer one that is started again is another
   * @param {number} sequence
   * @returns {Verdict}
   */
  take(producer, sequence) {
    const last = this.#last.get(producer) ?? sequence - 1;
    if (sequence <= last) return { missed: 0, doubled: true };
    this.#last.set(producer, sequence);
    if (this.#last.size > LIMIT) this.#last.delete(/** @type {string} */ (this.#last.keys().next().value));
    return { missed: sequence - last - 1, doubled: false };
  }
}
