/** `npm run bench`: runs the scenarios, round by round and server by server, and shows what they come to. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCommandLine, type CommandLine } from './command-line.js';
import { describeProfile } from './cpu-profile.js';
import { failuresOf, lineOf, playRounds, type Contender } from './interleaving.js';
import { Machine } from './machine.js';
import { installPeers } from './peer-packages.js';
import { picture } from './picture.js';
import { reachOf } from './reach.js';
import { report } from './report.js';
import { ratiosOf, rowOf, type Result } from './result.js';
import { Round, type LoadProcess, type Outcome, type ServerProcess } from './round.js';
import { ALL_SERVERS, HUB, OWN_HUB, SCENARIOS, STREAM, type Scenario, type Size } from './scenario.js';
import { nchanMissing } from './servers/nchan.js';
import { columnsOf, failures, textTable } from './table.js';

/** This folder's sources, seen from its compiled files. */
const FOLDER = new URL('../../', import.meta.url);
/** How long a server has to notice that its connections are gone. */
const CLOSING_MS = 200;

/** A server of a scenario, and what its rounds found so far. */
class ServerContender implements Contender {
  readonly outcomes: Outcome[] = [];
  failure: string | undefined;
  #process: ServerProcess | undefined;
  #address = { port: 0, path: '' };

  constructor(
    readonly name: string,
    private readonly scenario: Scenario,
    private readonly size: Size,
    private readonly load: LoadProcess,
  ) {}

  async play(): Promise<void> {
    try {
      const server = await this.#started();
      const round = new Round(server, this.load, this.#address, commandLine.profile && this.name !== 'nchan');
      this.outcomes.push(await this.scenario.run(round, this.size));
    } catch (error) {
      this.failure = lineOf(error);
    } finally {
      await this.load.call('close');
      await sleep(CLOSING_MS);
      if (this.scenario.fresh === true || this.failure !== undefined) await this.leave();
    }
  }

  async leave(): Promise<void> {
    await this.#process?.end();
    this.#process = undefined;
  }

  async #started(): Promise<ServerProcess> {
    if (this.#process === undefined) {
      const server: ServerProcess = await machine.start(
        'server.js',
        this.name,
        this.name === 'nchan' ? 'load' : 'server',
      );
      this.#process = server;
      this.#address = await server.call('start', {
        name: this.name,
        heartbeatMs: this.scenario.heartbeatMs?.(this.size) ?? null,
      });
    }
    return this.#process;
  }
}

const commandLine = readCommandLine({
  program: 'npm run bench',
  scenarios: SCENARIOS.map(({ name }) => name),
  kind: 'servers',
  contenders: ALL_SERVERS,
  others: [HUB, OWN_HUB, STREAM, 'validator'],
  files: 'bench/RESULTS.md and bench/results.svg',
});
const machine = new Machine();
try {
  await run(commandLine);
} finally {
  await machine.end();
}

async function run({ quick, json, write, command }: CommandLine): Promise<void> {
  const size: Size = quick ? 'quick' : 'full';
  const beginMs = performance.now();
  installPeers(console.log);
  console.log(machine.describe());
  if (!machine.pins)
    console.log('taskset or a second core is missing: server and load share the cores, figures are noisy');
  const missing = nchanMissing();
  if (missing !== undefined) console.log(missing);

  const load: LoadProcess = await machine.start('load.js', 'the load generator', 'load');
  const results: Result[] = [];
  for (const scenario of SCENARIOS) {
    const names = serversOf(scenario, size).filter((name) => name !== 'nchan' || missing === undefined);
    if (names.length === 0) continue;
    if (scenario.connections[size] > machine.maxConnections) {
      console.log(
        `\n${scenario.name} is left out: it opens ${scenario.connections[size]} connections; raise "ulimit -n"`,
      );
      continue;
    }
    results.push(await runScenario(scenario, size, names, load));
  }
  const ratios = Object.fromEntries(results.flatMap((result) => Object.entries(ratiosOf(result, results))));
  const tookS = Math.round((performance.now() - beginMs) / 1000);
  const listed = Object.entries(ratios).map(([name, ratio]) => `${name} ${ratio}`);
  const reached = Object.entries(ratios).flatMap(([name, ratio]) => {
    const reach = reachOf(name, ratio);
    return reach === '' ? [] : [`  ${name} ${ratio}, ${reach}`];
  });
  console.log(`\nOurs over theirs: ${listed.join(', ')}\n${reached.join('\n')}\n${tookS} s`);
  if (write) {
    const file = new URL('RESULTS.md', FOLDER);
    const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
    writeFileSync(file, report({ results, command, machine: machine.describe(), before }));
    const drawn = picture(results);
    if (drawn !== null) writeFileSync(new URL('results.svg', FOLDER), drawn);
    console.log(`Written: bench/RESULTS.md${drawn === null ? '' : ' and bench/results.svg'}`);
  }
  if (json) console.log(JSON.stringify({ results: asJson(results), ratios }));
}

async function runScenario(
  scenario: Scenario,
  size: Size,
  names: readonly string[],
  load: LoadProcess,
): Promise<Result> {
  console.log(`\n${scenario.name}: ${scenario.title(size)}\n  ${scenario.figure}`);
  const contenders = names.map((name) => new ServerContender(name, scenario, size, load));
  await playRounds(contenders, commandLine.profile ? 1 : scenario.rounds[size]);
  const result: Result = {
    scenario,
    size,
    rows: contenders.flatMap(({ name, outcomes }) => (outcomes.length === 0 ? [] : [rowOf(name, outcomes)])),
    failures: failuresOf(contenders),
  };
  console.log(textTable(columnsOf(result), result.rows, failures(result)));
  for (const { name, outcomes } of contenders) {
    const profile = outcomes[0]?.spent.profile;
    if (profile !== undefined) console.log(`\n  profile of ${name}, ${describeProfile(profile)}`);
  }
  return result;
}

/** The servers of a scenario, as far as the command line wants them. */
function serversOf(scenario: Scenario, size: Size): readonly string[] {
  const { only, contenders: servers } = commandLine;
  if (only.length > 0 && !only.includes(scenario.name)) return [];
  const { full, quick } = scenario.servers;
  if (servers.length > 0) {
    // Quick runs leave scenarios out, unless asked for.
    return size === 'quick' && only.length === 0 && quick.length === 0
      ? []
      : full.filter((name) => servers.includes(name));
  }
  return size === 'full' || (quick.length === 0 && only.length > 0) ? full : quick;
}

function asJson(results: readonly Result[]): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    results.map(({ scenario, rows, failures: failed }) => [
      scenario.name,
      { ...Object.fromEntries(rows.map(({ server, ...row }) => [server, row])), ...failed },
    ]),
  );
}
