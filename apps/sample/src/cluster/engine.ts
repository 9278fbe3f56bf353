/** An engine for the nodes: a Redis or NATS server of this program's own, on a free port, in a directory that goes with it. */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, listens } from './port.js';
import { KeptProcess } from './kept-process.js';
import { Leash } from './leash.js';

export type EngineName = 'redis' | 'nats';

/** How long a start may take, in milliseconds. */
const START_MS = 30_000;
/** How much of what a server said is shown when it does not start, in characters. */
const SHOWN_OUTPUT = 2_000;
/** The first NATS server that the library works with. */
const OLDEST_NATS = [2, 10] as const;

interface EngineKind {
  /** Names the program, where it is not on the PATH. */
  readonly variable: string;
  readonly programs: readonly string[];
  /** Its arguments; files that it needs may be written to the directory. */
  readonly words: (port: number, directory: string) => readonly string[];
  /** Why a program of this version will not do; null where it will. */
  readonly refusal: (version: string) => string | null;
}

const KINDS: Readonly<Record<EngineName, EngineKind>> = {
  redis: {
    variable: 'REDIS_SERVER_PATH',
    programs: ['redis-server', 'valkey-server'],
    // What was acknowledged is on the disk: with less, some is lost even when only the process is killed.
    words: (port, directory) =>
      Object.entries({
        bind: '127.0.0.1',
        port,
        dir: directory,
        appendonly: 'yes',
        appendfsync: 'always',
        save: '',
        'stream-node-max-bytes': 512,
      }).flatMap(([name, value]) => [`--${name}`, String(value)]),
    refusal: () => null,
  },
  nats: {
    variable: 'NATS_SERVER_PATH',
    programs: ['nats-server'],
    words: (port, directory) => {
      const file = join(directory, 'nats.conf');
      const jetstream = `jetstream { store_dir: "${directory}", sync_interval: always }`;
      writeFileSync(file, `listen: 127.0.0.1:${port}\n${jetstream}\n`);
      return ['-c', file];
    },
    refusal: (version) => {
      const [, major = 0, minor = 0] = (/v(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
      const isNewEnough = major > OLDEST_NATS[0] || (major === OLDEST_NATS[0] && minor >= OLDEST_NATS[1]);
      return isNewEnough ? null : `${version}, older than ${OLDEST_NATS.join('.')}`;
    },
  },
};

/** A server that is kept running until it is ended. */
export interface Engine {
  readonly name: EngineName;
  readonly url: string;
  readonly process: KeptProcess;
  end(): Promise<void>;
}

/**
 * Starts a server, and resolves when it takes connections.
 * @param wanted null: Redis where there is one, else NATS
 * @throws Error with the ways out where there is none on this machine, or it does not start
 */
export async function startEngine(wanted: EngineName | null, say: (line: string) => void): Promise<Engine> {
  const [name, program] = findEngine(wanted);
  const directory = mkdtempSync(join(tmpdir(), 'trading-floor-'));
  const leash = new Leash(directory);
  const port = await freePort();
  const words = KINDS[name].words(port, directory);
  const log = join(directory, 'output.log');
  const server = new KeptProcess({
    name: `The ${name} server`,
    launch: () => {
      const output = openSync(log, 'a');
      // Of a process group of its own: an interrupt from the keyboard ends the nodes first.
      const child = spawn(program, words, { cwd: directory, detached: true, stdio: ['ignore', output, output] });
      closeSync(output);
      return child;
    },
    say,
    onPid: (pid, deaths) => {
      leash.hold(pid);
      if (pid !== null && deaths > 0) say(`The ${name} server runs again, pid ${pid}.`);
    },
  });
  const deadline = Date.now() + START_MS;
  while (!(await listens(port))) {
    if (server.deaths === 0 && Date.now() < deadline) continue;
    const said = readFileSync(log, 'utf8').slice(-SHOWN_OUTPUT);
    server.kill();
    await leash.end();
    throw new Error(`${program} does not start:\n${said}`);
  }
  const end = async (): Promise<void> => {
    await server.end();
    await leash.end();
  };
  return { name, url: `${name}://127.0.0.1:${port}`, process: server, end };
}

function findEngine(wanted: EngineName | null): [EngineName, string] {
  const names: readonly EngineName[] = wanted === null ? ['redis', 'nats'] : [wanted];
  const refusals: string[] = [];
  for (const name of names) {
    const { variable, programs, refusal } = KINDS[name];
    const named = process.env[variable] ?? '';
    for (const program of named === '' ? programs : [named]) {
      const { error, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
      if (error !== undefined) {
        if (named !== '') refusals.push(`${variable} names ${named}, which cannot be run.`);
        continue;
      }
      const why = refusal(stdout.trim());
      if (why === null) return [name, program];
      refusals.push(`${program} is ${why}.`);
    }
  }
  const programs = names.map((name) => `${KINDS[name].programs.join(' or ')} (or name it in ${KINDS[name].variable})`);
  throw new Error(
    [
      `There is no server for the logs of three nodes on this machine.`,
      ...refusals,
      `Put one on the PATH: ${programs.join(', ')}.`,
      `Or use one that runs: npm run start:cluster -- --url redis://localhost:6379, or --url nats://localhost:4222.`,
      `Or stay with one node, which needs none: npm start.`,
    ].join('\n'),
  );
}
