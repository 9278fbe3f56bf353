/** A claim: one sentence about what a client gets, which a trial with a seed can break. */
import type { Reader } from './reading.js';
import type { Need } from './target.js';
import type { Trial } from './trial.js';

export interface Claim {
  /** What it is called on the command line. */
  readonly name: string;
  /** What is claimed, as the report says it. */
  readonly sentence: string;
  readonly needs?: readonly Need[];
  /** Which readers it can be tried with; `raw` is the bare socket alone. */
  readonly readers: 'every' | 'raw' | ((reader: Reader) => boolean);
  /** @throws Broken when the claim does not hold; LeftOut when the target shows only now that it cannot be tried */
  prove(trial: Trial): Promise<void>;
}
