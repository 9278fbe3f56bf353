/**
 * `npm run chaos`: every fault that a cluster may meet, with real engines, several app processes behind a balancer, and clients that
 * count. Every client got every acknowledged event once and in order, or was told of the gap.
 */
import { readOptions } from '../endurance/command-line.js';
import { milliseconds } from '../endurance/figures.js';
import { isThere, type EngineName } from './engine.js';
import { allInTurn, FAULTS, type Fault } from './faults.js';
import { evidenceOf, runTrial, type Load, type TrialOutcome } from './trial.js';

const options = readOptions({
  /** `redis`, `nats`, `all`; or `naive`, the control, which breaks its word. */
  engine: 'all',
  /** How many runs of each fault, each of a seed of its own. */
  seeds: 1,
  /** The first; `--seed 17 --seeds 1` plays one again, as far as processes allow. */
  seed: 1,
  /** `T1,T5`; all when absent. */
  faults: '',
  /** How long a fault under load lasts. */
  seconds: 10,
  /** How long publishers, and then clients, have to come to their ends afterwards, in seconds. */
  settle: 20,
  clients: 30,
  topics: 200,
  rate: 400,
  /** Runs at a time. */
  concurrency: 1,
  /**
   * Everything once in a minute or so: what can be done to one cluster is done in turn, the rest is smaller. Times are told and not
   * judged, since such a machine does other things meanwhile.
   */
  short: false,
  /** Prints what is tried, and tries nothing. */
  list: false,
});

/** From the engine's return until publishing is back on every node, at most. */
const BACK_MS = 2_000;

interface Run {
  readonly fault: Fault;
  readonly engine: EngineName;
  readonly seed: number;
  readonly load: Load;
}

interface Result extends Run {
  readonly breaches: readonly string[];
  readonly told: string;
  readonly outcome: TrialOutcome | null;
}

const engines = (['redis', 'nats', 'naive'] as const).filter((name) =>
  options.engine === 'all' ? name !== 'naive' : options.engine === name,
);
const named = options.faults === '' ? null : options.faults.split(',');
const unknown = named?.filter((name) => !FAULTS.some((fault) => fault.name === name)) ?? [];
if (unknown.length > 0) throw new Error(`There is no fault ${unknown.join(', ')}; --list tells of all.`);
if (engines.length === 0) throw new Error(`--engine is redis, nats or all, not "${options.engine}".`);
if (options.list) {
  for (const { name, what, engines: of } of FAULTS) console.log(`${name.padEnd(4)}${what} (${of.join(', ')})`);
} else {
  await runAll();
}

async function runAll(): Promise<void> {
  const runs: Run[] = [];
  for (let seed = options.seed; seed < options.seed + options.seeds; seed += 1) {
    for (const engine of engines.filter(isThere)) runs.push(...runsOf(engine, seed));
  }
  const results: Result[] = [];
  const beganAt = Date.now();
  let next = 0;
  const playSome = async (): Promise<void> => {
    for (let run = runs[next]; run !== undefined; run = runs[next]) {
      next += 1;
      const result = await play(run);
      results.push(result);
      console.log(lineOf(result));
      for (const breach of result.breaches) console.log(`    BREACH ${breach}`);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, playSome));
  console.log(`\n${tableOf(results)}\n`);
  const breached = results.filter(({ breaches }) => breaches.length > 0).length;
  const seconds = ((Date.now() - beganAt) / 1_000).toFixed(0);
  console.log(`${results.length} runs in ${seconds} s: ${breached} of them broke a promise`);
  // Everything was stopped by now. Left to end by itself, Node 20 was seen to stay for good after all was done, one run in ten.
  process.exit(breached === 0 && results.length > 0 ? 0 : 1);
}

/** All faults of an engine, or those that were named. */
function runsOf(engine: EngineName, seed: number): Run[] {
  const load: Load = {
    clients: options.clients,
    topics: options.topics,
    perSecond: options.rate,
    seconds: options.seconds,
    settleMs: options.settle * 1_000,
  };
  const faults = FAULTS.filter(
    ({ name, engines: of }) =>
      of.includes(engine === 'naive' ? 'redis' : engine) && (named === null || named.includes(name)),
  );
  if (named !== null || !options.short) return faults.map((fault) => ({ fault, engine, seed, load }));
  const { fault: first, seconds } = allInTurn(engine, load);
  const others = faults.filter((fault) => 'script' in fault || fault.inTurnSeconds === undefined);
  return [
    { fault: first, engine, seed, load: { ...load, seconds } },
    ...others.map((fault) => ({ fault, engine, seed, load })),
  ];
}

async function play(run: Run): Promise<Result> {
  const { fault, engine, seed, load } = run;
  const evidence = evidenceOf(fault.name, engine, seed);
  try {
    if ('script' in fault) {
      const { breaches, told } = await fault.script({ engine, seed, short: options.short, evidence });
      return { ...run, breaches, told, outcome: null };
    }
    const trial = fault.trial(load);
    const outcome = await runTrial({ load, ...trial, engine, seed, evidence });
    const judged = !options.short && trial.allow?.late !== true;
    const late = judged && outcome.backMs !== null && outcome.backMs > BACK_MS;
    const breaches = late
      ? [...outcome.breaches, `publishing was back ${milliseconds(outcome.backMs ?? 0)} after the engine`]
      : outcome.breaches;
    return { ...run, breaches, told: toldOf(outcome), outcome };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { ...run, breaches: [text], told: 'did not come to its end', outcome: null };
  }
}

function toldOf({
  acknowledged,
  delivered,
  closes,
  gaps,
  lost,
  backMs,
  slowestMs,
  longestCursor,
}: TrialOutcome): string {
  return (
    `${acknowledged} acknowledged, ${delivered} delivered, ${closes} reconnects, ${gaps} gaps told, ${lost} lost by the engine; ` +
    (backMs === null ? '' : `publishing back after ${milliseconds(backMs)}, `) +
    `slowest publish ${milliseconds(slowestMs)}, longest cursor ${longestCursor} bytes`
  );
}

function lineOf({ fault, engine, seed, told, breaches }: Result): string {
  return `${breaches.length === 0 ? 'kept  ' : 'BROKEN'} ${fault.name} ${engine} seed ${seed}: ${told}`;
}

/** One line for each fault and engine. */
function tableOf(results: readonly Result[]): string {
  const kinds = new Map(results.map((result) => [`${result.fault.name} ${result.engine}`, result]));
  const rows = [...kinds.values()]
    .sort((one, other) => FAULTS.indexOf(one.fault) - FAULTS.indexOf(other.fault))
    .map(({ fault, engine }) => {
      const of = results.filter((result) => result.fault.name === fault.name && result.engine === engine);
      const sum = (value: (outcome: TrialOutcome) => number): number =>
        of.reduce((total, { outcome }) => total + (outcome === null ? 0 : value(outcome)), 0);
      const back = Math.max(...of.map(({ outcome }) => outcome?.backMs ?? -1));
      return [
        fault.name,
        engine,
        `${of.filter(({ breaches }) => breaches.length === 0).length}/${of.length}`,
        String(sum(({ acknowledged }) => acknowledged)),
        String(sum(({ delivered }) => delivered)),
        String(sum(({ closes }) => closes)),
        String(sum(({ gaps }) => gaps)),
        String(sum(({ lost }) => lost)),
        back < 0 ? '-' : milliseconds(back),
        fault.what,
      ];
    });
  const all = [
    ['fault', 'engine', 'kept', 'acked', 'delivered', 'reconnects', 'gaps', 'lost', 'back within', ''],
    ...rows,
  ];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
