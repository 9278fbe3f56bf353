/** Says what became of each claim, a line each, and how to see a break again. */
import type { Outcome } from './suite.js';

const STATE_WIDTH = 9;

/** `held`, `BROKEN` or `left out`, and why. */
export function reportLines(outcome: Outcome, replay: string): string[] {
  const { claim, held, breaks, leftOut, ms } = outcome;
  const tried = [...held].map(([reader, trials]) => `${reader}${trials === 1 ? '' : ` ×${trials}`}`);
  const state = breaks.length > 0 ? 'BROKEN' : held.size > 0 ? 'held' : 'left out';
  return [
    `${state.padEnd(STATE_WIDTH)}${claim.name}: ${claim.sentence}`,
    ...(tried.length === 0 ? [] : [indent(`${tried.join(', ')}; ${(ms / 1_000).toFixed(1)} s`)]),
    ...leftOut.map((why) => indent(`left out: ${why}`)),
    ...breaks.flatMap(({ reader, seed, finding }) => [
      indent(`with ${reader}, seed ${seed}: ${finding}`),
      indent(`again: ${replay} --only ${claim.name} --seed ${seed} --seeds 1`),
    ]),
  ];
}

/** The last line. */
export function summary(outcomes: readonly Outcome[]): string {
  const broken = outcomes.filter(({ breaks }) => breaks.length > 0).length;
  const held = outcomes.filter(({ held: by, breaks }) => by.size > 0 && breaks.length === 0).length;
  return `${held} held, ${broken} broken, ${outcomes.length - held - broken} left out`;
}

function indent(line: string): string {
  return ' '.repeat(STATE_WIDTH) + line;
}
