/** The program behind `npm run start:cluster`, as a process of a test. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@sse-channels/testing';

/** How long a start may take, in milliseconds. */
const START_MS = 90_000;
/** How long an end may take, in milliseconds. */
const END_MS = 30_000;

/** A node as the program's table tells it. */
export interface ToldNode {
  readonly id: string;
  readonly pid: number;
  readonly port: number;
}

export class ClusterProgram {
  output = '';
  /** Where it keeps its files. */
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess, directory: string) {
    this.#directory = directory;
    this.#child = child;
    this.#exited = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
  }

  /** @param compiled the folder that the sample was compiled to */
  static async start(compiled: string, ...words: readonly string[]): Promise<ClusterProgram> {
    const directory = mkdtempSync(join(tmpdir(), 'cluster-program-'));
    const main = join(compiled, 'apps/sample/src/start-cluster.js');
    const program = new ClusterProgram(
      spawn(process.execPath, [main, ...words], {
        env: { ...process.env, PORT: '0', TMPDIR: directory },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
      directory,
    );
    const isOpen = (): boolean => {
      if (program.#child.exitCode !== null) throw new Error(`The program ended:\n${program.output}`);
      return program.output.includes('Ctrl-C ends all');
    };
    await eventually(isOpen, 'the cluster is open', START_MS).catch((error: unknown) => {
      program.signal('SIGKILL');
      throw new Error(program.output, { cause: error });
    });
    return program;
  }

  get url(): string {
    return `http://127.0.0.1:${/http:\/\/localhost:(\d+)/.exec(this.output)?.[1] ?? ''}`;
  }

  get enginePid(): number {
    return Number([...this.output.matchAll(/server (?:of its own|runs again), pid (\d+)/g)].at(-1)?.[1]);
  }

  /** Nodes by their ids, also those that are gone. */
  get nodes(): ReadonlyMap<string, ToldNode> {
    const told = [
      ...this.output.matchAll(/^ {2}([abc]-\w+) +(\d+) +(\d+)$/gm),
      ...this.output.matchAll(/is back: (\S+), pid (\d+), port (\d+)/g),
    ];
    return new Map(told.map(([, id = '', pid, port]) => [id, { id, pid: Number(pid), port: Number(port) }]));
  }

  /** The files that it has written and not removed. */
  get files(): readonly string[] {
    return readdirSync(this.#directory);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /**
   * Resolves when it is gone.
   * @returns its exit code; null where a signal ended it
   */
  async end(): Promise<number | null> {
    const timer = setTimeout(() => this.signal('SIGKILL'), END_MS);
    await this.#exited;
    clearTimeout(timer);
    return this.#child.exitCode;
  }
}
