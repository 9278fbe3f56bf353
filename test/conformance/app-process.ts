/** An application as a process that is ended and started again on the same port. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import type { TargetProcess } from './target.js';

/** How long a start may take. */
const START_MS = 60_000;
/** How long an end may take; then it is a hung process, and is killed. */
const END_MS = 30_000;
const LOOK_MS = 20;
/** How much is kept of what it says, in characters and in lines. */
const KEPT_OUTPUT = 4_000;
const KEPT_COMPLAINTS = 20;

export class AppProcess implements TargetProcess {
  /** Lines that speak of an error, over all its lives. */
  readonly complaints: string[] = [];

  #child: ChildProcess | undefined;
  #output = '';

  /**
   * @param command a line for the shell; the program must end with the signal that it gets, as node does and npm does not
   * @param url is asked until it answers, whatever the status
   */
  constructor(
    private readonly command: string,
    private readonly url: string,
  ) {}

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  async start(): Promise<void> {
    this.#output = '';
    // With `exec`, after what is set for it, the shell becomes the program: signals and the process id are the program's.
    const command = this.command.replace(/^(?:[A-Za-z_]\w*=\S*\s+)*/, '$&exec ');
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-KEPT_OUTPUT)));
      createInterface(stream).on('line', (line) => {
        if (/error/i.test(line) && this.complaints.length < KEPT_COMPLAINTS) this.complaints.push(line);
      });
    }
    const deadline = Date.now() + START_MS;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`"${this.command}" does not answer at ${this.url}:\n${this.#output}`);
      }
      await wait(LOOK_MS);
    }
  }

  terminate(): Promise<void> {
    return this.#end('SIGTERM');
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const hung = setTimeout(() => child.kill('SIGKILL'), END_MS);
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    clearTimeout(hung);
  }

  async #answers(): Promise<boolean> {
    const abort = new AbortController();
    try {
      await fetch(this.url, { signal: abort.signal });
      return true;
    } catch {
      return false;
    } finally {
      abort.abort();
    }
  }
}
