/** `npm run bench:backplanes`: runs the scenarios, round by round and backplane by backplane, and shows what they come to. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsServer } from '../../test/engines/nats-server.js';
import { findRedisServer } from '../../test/engines/redis-server.js';
import { readCommandLine } from '../command-line.js';
import { describeProfile } from '../cpu-profile.js';
import { failuresOf, lineOf, playRounds, type Contender } from '../interleaving.js';
import { Machine } from '../machine.js';
import { installPeers } from '../peer-packages.js';
import type { Size } from '../scenario.js';
import { failures, textTable } from '../table.js';
import { Engine } from './engine.js';
import { ENTRIES, FLOOR, type Entry } from './entry.js';
import { Proxy } from './proxy.js';
import { reached } from './reach.js';
import { report } from './report.js';
import { columnsOf, isWhole, rowOf, type Result } from './result.js';
import { Round, type NodeProcess, type Outcome } from './round.js';
import { SCENARIOS, type Scenario } from './scenario.js';

/** The bench's sources, seen from its compiled files. */
const FOLDER = new URL('../../../', import.meta.url);

/** A backplane in a scenario, and what its rounds found so far. */
class BackplaneContender implements Contender {
  readonly outcomes: Outcome[] = [];
  failure: string | undefined;
  readonly #directory = mkdtempSync(join(tmpdir(), 'bench-backplanes-'));
  readonly #entry: Entry;
  #engine: Engine | undefined;
  #proxy: Proxy | undefined;
  #nodes: NodeProcess[] = [];

  constructor(
    readonly backplane: string,
    private readonly scenario: Scenario,
    private readonly size: Size,
    /** One of the scenario's counts. */
    readonly count: number,
  ) {
    this.#entry = ENTRIES[backplane] as Entry;
  }

  get name(): string {
    return nameOf(this.scenario, this.backplane, this.count);
  }

  async play(): Promise<void> {
    try {
      if (this.#nodes.length === 0) await this.#start();
      const [publisher, follower = publisher] = this.#nodes;
      const round = new Round({
        publisher: publisher as NodeProcess,
        follower: follower as NodeProcess,
        engine: this.#engine,
        proxy: this.#proxy,
        whole: this.#entry.whole ?? true,
        profiled: commandLine.profile,
      });
      this.outcomes.push(await this.scenario.run(round, this.size, this.count));
    } catch (error) {
      this.failure = lineOf(error);
      await this.leave();
    }
  }

  async leave(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.end()));
    this.#nodes = [];
    await this.#proxy?.close();
    this.#proxy = undefined;
    await this.#engine?.stop();
    this.#engine = undefined;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Whether it lost what it promises to keep, or what nobody may lose: events of a node whose connections were not cut. */
  get lost(): boolean {
    const mayLose = this.#entry.whole === false && this.scenario.cuts === true;
    return !mayLose && this.outcomes.length > 0 && !isWhole(rowOf(this.name, this.outcomes, undefined));
  }

  async #start(): Promise<void> {
    const { engine: kind } = this.#entry;
    if (kind === null) {
      this.#nodes = [await this.#node('node', '')];
      return;
    }
    const engine = await Engine.start(kind, machine);
    this.#engine = engine;
    engines.add(engine.version);
    if (this.scenario.cuts === true) this.#proxy = new Proxy(engine.port);
    this.#nodes = [await this.#node('publisher', engine.url())];
    if (this.scenario.follows) this.#nodes.push(await this.#node('follower', engine.url(await this.#proxy?.open())));
  }

  async #node(role: string, url: string): Promise<NodeProcess> {
    const node: NodeProcess = await machine.start('backplanes/node.js', `${role} of ${this.name}`, 'load');
    await node.call('open', { opener: this.#entry.opener, url, directory: this.#directory });
    return node;
  }
}

const commandLine = readCommandLine({
  program: 'npm run bench:backplanes',
  scenarios: SCENARIOS.map(({ name }) => name),
  kind: 'backplanes',
  contenders: Object.keys(ENTRIES),
  files: 'bench/BACKPLANES.md',
});
const machine = new Machine();
const engines = new Set<string>();
try {
  await run();
} finally {
  await machine.end();
}

async function run(): Promise<void> {
  const { quick, json, write, command, only } = commandLine;
  const size: Size = quick ? 'quick' : 'full';
  const beginMs = performance.now();
  installPeers(console.log);
  const described = machine.describe('the engine', 'the nodes');
  console.log(described);
  if (!machine.pins) console.log('taskset or a second core is missing: engine and nodes share the cores');
  const missing = [...(findRedisServer() === null ? ['redis'] : []), ...(findNatsServer() === null ? ['nats'] : [])];
  const results: Result[] = [];
  for (const scenario of SCENARIOS) {
    if (only.length > 0 && !only.includes(scenario.name)) continue;
    const names = scenario.backplanes[size].filter(
      (name) =>
        !missing.some((kind) => ENTRIES[name]?.engine?.startsWith(kind) === true) &&
        (commandLine.contenders.length === 0 || commandLine.contenders.includes(name)),
    );
    if (names.length > 0) results.push(await runScenario(scenario, size, names));
  }
  const tookS = Math.round((performance.now() - beginMs) / 1000);
  console.log(`\n${reached(results).join('\n')}\n${tookS} s`);
  if (write) {
    const file = new URL('BACKPLANES.md', FOLDER);
    const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
    writeFileSync(file, report({ results, before, command, machine: described, engines: [...engines].sort() }));
    console.log('Written: bench/BACKPLANES.md');
  }
  if (json) console.log(JSON.stringify(asJson(results)));
}

async function runScenario(scenario: Scenario, size: Size, names: readonly string[]): Promise<Result> {
  console.log(`\n${scenario.name}: ${scenario.title(size)}\n  ${scenario.figure}`);
  const contenders = names.flatMap((name) =>
    scenario.counts.map((count) => new BackplaneContender(name, scenario, size, count)),
  );
  await playRounds(contenders, commandLine.profile ? 1 : scenario.rounds[size]);
  for (const contender of contenders) {
    if (contender.lost) contender.failure ??= 'it lost something, see "counted / expected"';
    if (contender.failure !== undefined) process.exitCode = 1;
  }
  const outcomesOf = new Map(contenders.map(({ name, outcomes }) => [name, outcomes]));
  const result: Result = {
    scenario,
    size,
    rows: contenders.flatMap(({ name, backplane, count, outcomes }) => {
      if (outcomes.length === 0) return [];
      const reference = referenceOf(scenario, backplane, count);
      return [rowOf(name, outcomes, reference === name ? undefined : outcomesOf.get(reference))];
    }),
    failures: failuresOf(contenders),
  };
  console.log(textTable(columnsOf(result), result.rows, failures(result)));
  for (const { node, profile } of contenders.flatMap(({ outcomes }) => outcomes[0]?.profiles ?? [])) {
    console.log(`\n  profile of the ${node}, ${describeProfile(profile)}`);
  }
  return result;
}

/** What a backplane is called in a scenario. */
function nameOf({ counts }: Scenario, backplane: string, count: number): string {
  return counts.length === 1 ? backplane : `${backplane}, ${count.toLocaleString('en')}`;
}

/** The name that it is compared with; empty: none. */
function referenceOf(scenario: Scenario, backplane: string, count: number): string {
  if (scenario.reference === null) return '';
  return scenario.reference === 'floor'
    ? nameOf(scenario, FLOOR, count)
    : nameOf(scenario, backplane, scenario.counts[0] as number);
}

function asJson(results: readonly Result[]): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    results.map(({ scenario, rows, failures: failed }) => [
      scenario.name,
      { ...Object.fromEntries(rows.map(({ name, ...row }) => [name, row])), ...failed },
    ]),
  );
}
