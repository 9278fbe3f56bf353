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
let wrong = 0;
let received = 0;
for (let seed = options.seed; seed < options.seed + options.seeds; seed += 1) {
  const result = await playTrial({ seed, topics: options.topics, events: options.events });
  console.log(row(COLUMNS.map((name) => result[name])));
  wrong += result.lost + result.doubled + result.reordered + result.visitorsWrong + result.falselyTold;
  received += result.received;
}
console.log(`${options.seeds} seeds, ${received} events handled, ${wrong} wrong`);
process.exitCode = wrong === 0 ? 0 : 1;
