/** `npm run bench`: runs the scenarios, round by round and server by server, and shows what they come to. */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCommandLine, USAGE, type CommandLine } from './command-line.js';
import { describeProfile } from './cpu-profile.js';
import { Machine } from './machine.js';
import { installPeers } from './peer-packages.js';
import { picture } from './picture.js';
import { report } from './report.js';
import { ratiosOf, rowOf, type Result } from './result.js';
import { Round, type LoadProcess, type Outcome, type ServerProcess } from './round.js';
import { SCENARIOS, type Scenario, type Size } from './scenario.js';
import { nchanMissing } from './servers/nchan.js';
import { textTable } from './table.js';

/** This folder's sources, seen from its compiled files. */
const FOLDER = new URL('../../', import.meta.url);
/** How long a server has to notice that its connections are gone. */
const CLOSING_MS = 200;

/** A server of a scenario, and what its rounds found so far. */
class Contender {
  readonly outcomes: Outcome[] = [];
  failure: string | undefined;
  #process: ServerProcess | undefined;
  #address = { port: 0, path: '' };

  constructor(
    readonly name: string,
    private readonly scenario: Scenario,
    private readonly size: Size,
  ) {}

  async play(load: LoadProcess): Promise<void> {
    try {
      const server = await this.#started();
      const round = new Round(server, load, this.#address, commandLine.profile && this.name !== 'nchan');
      this.outcomes.push(await this.scenario.run(round, this.size));
    } catch (error) {
      this.failure = error instanceof Error ? (error.message.split('\n', 1)[0] as string) : String(error);
    } finally {
      await load.call('close');
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
      const server: ServerProcess = await machine.start('server.js', this.name);
      this.#process = server;
      this.#address = await server.call('start', {
        name: this.name,
        heartbeatMs: this.scenario.heartbeatMs?.(this.size) ?? null,
      });
    }
    return this.#process;
  }
}

const words = process.argv.slice(2);
const commandLine = readCommandLine();
const machine = new Machine();
try {
  await run(commandLine);
} finally {
  await machine.end();
}

async function run({ quick, json, write }: CommandLine): Promise<void> {
  const size: Size = quick ? 'quick' : 'full';
  const beginMs = performance.now();
  installPeers(console.log);
  console.log(machine.description);
  if (!machine.pins)
    console.log('taskset or a second core is missing: server and load share the cores, figures are noisy');
  const missing = nchanMissing();
  if (missing !== undefined) console.log(missing);

  const load: LoadProcess = await machine.start('load.js', 'the load generator');
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
  const ratios = ratiosOf(results);
  const tookS = Math.round((performance.now() - beginMs) / 1000);
  const listed = Object.entries(ratios).map(([name, ratio]) => `${name} ${ratio}`);
  console.log(`\nOurs over theirs: ${listed.join(', ')}\n${tookS} s`);
  if (write) {
    const command = ['npm run bench', ...(words.length > 0 ? ['--', ...words] : [])].join(' ');
    const page = report({ results, ratios, command, machine: machine.description, tookS });
    writeFileSync(new URL('RESULTS.md', FOLDER), page);
    writeFileSync(new URL('results.svg', FOLDER), picture(results));
    console.log('Written: bench/RESULTS.md and bench/results.svg');
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
  const contenders = names.map((name) => new Contender(name, scenario, size));
  const rounds = commandLine.profile ? 1 : scenario.rounds[size];
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of contenders.filter(({ failure }) => failure === undefined)) {
      progress(`  round ${round} of ${rounds}: ${contender.name}`);
      await contender.play(load);
    }
  }
  progress('');
  await Promise.all(contenders.map((contender) => contender.leave()));
  const result: Result = {
    scenario,
    size,
    rows: contenders.flatMap(({ name, outcomes }) => (outcomes.length === 0 ? [] : [rowOf(name, outcomes)])),
    failures: Object.fromEntries(
      contenders.flatMap(({ name, failure }) => (failure === undefined ? [] : [[name, failure] as const])),
    ),
  };
  console.log(textTable(result));
  for (const { name, outcomes } of contenders) {
    const profile = outcomes[0]?.spent.profile;
    if (profile !== undefined) console.log(`\n  profile of ${name}, ${describeProfile(profile)}`);
  }
  return result;
}

/** The servers of a scenario, as far as the command line wants them. */
function serversOf(scenario: Scenario, size: Size): readonly string[] {
  const { only, servers } = commandLine;
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
    results.map(({ scenario, rows, failures }) => [
      scenario.name,
      { ...Object.fromEntries(rows.map(({ server, ...row }) => [server, row])), ...failures },
    ]),
  );
}

/** One line that is written over; for people only. */
function progress(line: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K${line}`);
}

function readCommandLine(): CommandLine {
  try {
    const read = parseCommandLine(words);
    if (read !== 'help') return read;
    console.log(USAGE);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exitCode = 1;
  }
  return process.exit();
}
