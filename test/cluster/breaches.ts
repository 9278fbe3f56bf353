/** Broken promises, counted by kind, with some examples of each. */

/** How many examples of a kind are named. */
const NAMED = 8;

export class Breaches {
  readonly #kinds = new Map<string, { count: number; readonly examples: string[] }>();

  /** @param examples one for each time; none is no breach */
  add(kind: string, examples: ReadonlyArray<string | number>): void {
    if (examples.length === 0) return;
    const noted = this.#kinds.get(kind) ?? { count: 0, examples: [] };
    noted.count += examples.length;
    noted.examples.push(...examples.slice(0, Math.max(0, NAMED - noted.examples.length)).map(String));
    this.#kinds.set(kind, noted);
  }

  /** A line for each kind. */
  get lines(): readonly string[] {
    return [...this.#kinds].map(
      ([kind, { count, examples }]) => `${count} ${kind}: ${examples.join(', ')}${count > NAMED ? ', …' : ''}`,
    );
  }
}
