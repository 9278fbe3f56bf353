/** What a trial finds: that a claim does not hold, or that it cannot be tried. */

/** The claim does not hold. */
export class Broken extends Error {
  override readonly name = 'Broken';
}

/** The claim cannot be tried with this target. */
export class LeftOut extends Error {
  override readonly name = 'LeftOut';
}

/** @throws Broken with these words unless it holds */
export function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Broken(otherwise);
}
