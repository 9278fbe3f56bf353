/** Counts what is missing and what came twice, from numbers that each producer counts up by one, from one on. */

/** The last number of each producer. */
export type SequenceTally = ReadonlyMap<string, number>;

export interface Verdict {
  readonly tally: SequenceTally;
  readonly missed: number;
  readonly doubled: boolean;
}

/** Producers that are remembered; a new one pushes out the one that was heard of first. */
const LIMIT = 200;

/**
 * Judges the next event; a producer's first one has nothing before it to miss.
 * @param producer one that is started again is another
 */
export function judge(tally: SequenceTally, producer: string, sequence: number): Verdict {
  const last = tally.get(producer) ?? sequence - 1;
  if (sequence <= last) return { tally, missed: 0, doubled: true };
  const next = new Map(tally).set(producer, sequence);
  if (next.size > LIMIT) next.delete(next.keys().next().value as string);
  return { tally: next, missed: sequence - last - 1, doubled: false };
}
