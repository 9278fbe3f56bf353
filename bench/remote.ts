/** Calls between the runner and its processes: methods by name over the IPC channel of `child_process`. */
import type { ChildProcess } from 'node:child_process';

interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (value: any) => void;
  readonly reject: (error: Error) => void;
}

/** The methods of a process: one argument, one result, both JSON. */
export type Methods = Record<string, (argument: never) => unknown>;

/** Serves methods to the process that started this one, and ends with it. */
export function serve(methods: Methods): void {
  const answer = async ({ id, method, argument }: Call): Promise<void> => {
    try {
      const result = await methods[method]?.(argument as never);
      process.send?.({ id, result } satisfies Answer);
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  };
  process.on('message', (call: Call) => void answer(call));
  process.on('disconnect', () => process.exit());
  process.send?.({ id: 0 } satisfies Answer);
}

/** A process's methods as its parent sees them. */
export class Remote<M extends Methods> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  /** Resolves when the process serves; rejects when it ended before. */
  readonly ready: Promise<unknown>;

  constructor(
    readonly name: string,
    child: ChildProcess,
  ) {
    this.#child = child;
    this.ready = new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    child.on('message', (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error === undefined) waiting?.resolve(answer.result);
      else waiting?.reject(new Error(`${name}: ${answer.error}`));
    });
    child.once('error', (error) => this.#fail(error));
    child.once('exit', (code, signal) => this.#fail(new Error(`${name} ended with ${code ?? signal}`)));
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  call<K extends keyof M & string>(method: K, ...[argument]: Parameters<M[K]>): Promise<Awaited<ReturnType<M[K]>>> {
    this.#calls += 1;
    const id = this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, method, argument } satisfies Call, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  /** Ends the process, by its id. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), 2_000);
    this.#child.disconnect();
    await gone;
    clearTimeout(kill);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
