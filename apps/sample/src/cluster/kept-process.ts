/** A process that is started again when it ends, as an orchestrator would. */
import type { ChildProcess } from 'node:child_process';

/** How long it stays away, so that a reader of the terminal sees that it is gone; in milliseconds. */
const AWAY_MS = 3_000;
/** How long it may take to end when it is asked to, in milliseconds; then it is killed. */
const END_MS = 10_000;

export interface KeptProcessOptions {
  readonly name: string;
  /** Starts the process. */
  readonly launch: () => ChildProcess;
  /** Says a line to whoever reads the terminal. */
  readonly say: (line: string) => void;
  /** The process's id changed; null: it is not running. */
  readonly onPid?: (pid: number | null, deaths: number) => void;
}

export class KeptProcess {
  readonly name: string;
  /** How often it ended without being asked to. */
  deaths = 0;

  readonly #options: KeptProcessOptions;
  #child: ChildProcess | null = null;
  #gone: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #ending = false;

  constructor(options: KeptProcessOptions) {
    this.name = options.name;
    this.#options = options;
    this.#start();
  }

  /** Null while it is not running. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Asks it to end, and resolves when it is gone. */
  async end(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    child?.kill('SIGTERM');
    const timer = setTimeout(() => child?.kill('SIGKILL'), END_MS);
    await this.#gone;
    clearTimeout(timer);
  }

  /** Ends it at once. */
  kill(): void {
    this.#ending = true;
    clearTimeout(this.#timer);
    this.#child?.kill('SIGKILL');
  }

  #start(): void {
    const { launch, say, onPid } = this.#options;
    const child = launch();
    this.#child = child;
    onPid?.(this.pid, this.deaths);
    this.#gone = new Promise((resolve) => {
      const onEnd = (how: string): void => {
        if (this.#child !== child) return;
        this.#child = null;
        onPid?.(null, this.deaths);
        if (!this.#ending) {
          this.deaths += 1;
          say(`${this.name} ended (${how}); it is started again in ${AWAY_MS / 1_000} s.`);
          this.#timer = setTimeout(() => this.#start(), AWAY_MS);
        }
        resolve();
      };
      child.once('error', (error) => onEnd(error.message));
      child.once('exit', (code, signal) => onEnd(signal ?? `code ${code}`));
    });
  }
}
