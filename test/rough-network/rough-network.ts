/** `npm run rough-network -- --seeds 50`: the client's hardest case once a seed, as a table; it ends non-zero where anything was lost, doubled, reordered or falsely told. */
import { readOptions } from '../endurance/command-line.js';
import { playTrial, type TrialResult } from './trial.js';

const options = readOptions({
  seeds: 50,
  /** The first; `--seed 17 --seeds 1` plays one again. */
  seed: 1,
  /** On one connection, each with a handler; some more come and go. */
  topics: 20,
  events: 5_000,
});

const COLUMNS = [
  'seed',
  'adapter',
  'transport',
  'connections',
  'cuts',
  'stalls',
  'received',
  'lost',
  'doubled',
  'reordered',
  'visitors',
  'visitorsWrong',
  'falselyTold',
  'seconds',
] as const satisfies ReadonlyArray<keyof TrialResult>;

const row = (cells: readonly unknown[]): string =>
  cells.map((cell, index) => String(cell).padStart(COLUMNS[index]?.length ?? 0)).join('  ');

console.log(row(COLUMNS));
const sums = { received: 0, lost: 0, doubled: 0, reordered: 0, visitorsWrong: 0, falselyTold: 0, cuts: 0, stalls: 0 };
for (let seed = options.seed; seed < options.seed + options.seeds; seed += 1) {
  const result = await playTrial({ seed, topics: options.topics, events: options.events });
  console.log(row(COLUMNS.map((name) => result[name])));
  for (const name of Object.keys(sums) as Array<keyof typeof sums>) sums[name] += result[name];
}
const { received, cuts, stalls, ...wrong } = sums;
console.log(
  `${options.seeds} seeds, ${cuts} cuts, ${stalls} stalls: ${received} events delivered, ${wrong.lost} lost, ${wrong.doubled} doubled, ` +
    `${wrong.reordered} reordered, ${wrong.visitorsWrong} wrong for visitors, ${wrong.falselyTold} falsely told`,
);
process.exitCode = Object.values(wrong).every((count) => count === 0) ? 0 : 1;
