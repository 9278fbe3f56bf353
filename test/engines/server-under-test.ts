/** A server that a test starts as a process of its own, freezes, kills and starts again on the same port and directory. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { eventually } from '@sse-channels/testing';
import { Leash } from './leash.js';

/** How long a start may take, in milliseconds. */
const START_MS = 30_000;
/** How much of what a server said is shown when it does not start, in characters. */
const SHOWN_OUTPUT = 2_000;

/** The file in its directory that its output is written to. */
const OUTPUT = 'output.log';

/** How a server is started. */
export interface ServerCommand {
  /** In words, for messages. */
  readonly name: string;
  readonly program: string;
  readonly words: readonly string[];
  /** Beside this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Whether it serves now; a rejection is a no. */
  readonly answers: () => Promise<boolean>;
}

export class ServerUnderTest {
  /** Ends that nobody here asked for. */
  readonly deaths: string[] = [];

  readonly #command: ServerCommand;
  readonly #leash: Leash;
  readonly #log: string;
  readonly #saved: string;
  #child: ChildProcess | undefined;
  #ending = false;

  /** @param directory what the server keeps, made by `makeDirectory`; removed by `stop` */
  constructor(
    command: ServerCommand,
    readonly directory: string,
  ) {
    this.#command = command;
    this.#saved = `${directory}.saved`;
    this.#leash = new Leash([directory, this.#saved]);
    this.#log = join(directory, OUTPUT);
  }

  static makeDirectory(): string {
    return mkdtempSync(join(tmpdir(), 'sse-channels-'));
  }

  get name(): string {
    return this.#command.name;
  }

  /** Null while it is not running. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Everything that it wrote to its output, over all its lives. */
  get output(): string {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : '';
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    await this.launch();
    await this.answers();
  }

  /** Starts it, without waiting until it answers. */
  async launch(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already.`);
    const log = openSync(this.#log, 'a');
    const child = spawn(this.#command.program, this.#command.words, {
      cwd: this.directory,
      env: { ...process.env, ...this.#command.environment },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#ending = false;
    this.#child = child;
    child.once('exit', (code, signal) => {
      if (!this.#ending) this.deaths.push(`${this.name} ended with ${code ?? signal}`);
      if (this.#child === child) this.#child = undefined;
      this.#leash.hold(null);
    });
    await once(child, 'spawn');
    this.#leash.hold(child.pid as number);
  }

  /** Resolves when it answers; rejects where it ended instead, with what it said. */
  async answers(): Promise<void> {
    const { answers } = this.#command;
    await eventually(
      async () => {
        if (this.#child === undefined) {
          throw new Error(`${this.name} ended while it was started:\n${this.output.slice(-SHOWN_OUTPUT)}`);
        }
        return answers().catch(() => false);
      },
      `${this.name} answers`,
      START_MS,
    );
  }

  /** Ends it by a signal, and resolves when it is gone; what it keeps stays. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#ending = true;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** Kills it and starts it again. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Stops it where it is: its connections stay, nothing is answered. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  /** Lets it go on. */
  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Copies what it keeps, as it is now; it is not to be running. */
  save(): void {
    const { directory } = this;
    rmSync(this.#saved, { recursive: true, force: true });
    cpSync(directory, this.#saved, { recursive: true });
  }

  /** Puts back what was saved; it is not to be running. What it wrote to its output stays. */
  restore(): void {
    for (const name of readdirSync(this.directory)) {
      if (name !== OUTPUT) rmSync(join(this.directory, name), { recursive: true });
    }
    cpSync(this.#saved, this.directory, { recursive: true, filter: (path) => basename(path) !== OUTPUT });
  }

  /** Kills it and removes what it kept. */
  async stop(): Promise<void> {
    await this.kill();
    await this.#leash.end();
  }
}
