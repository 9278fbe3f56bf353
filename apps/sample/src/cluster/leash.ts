/** Ends what this program started and removes what it wrote, however this program itself ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';

/** Reads a process id a line. At the end of its input, which comes with the end of who holds it, it kills the last and removes the rest. */
const SCRIPT = 'pid=; while read -r line; do pid=$line; done; [ -z "$pid" ] || kill -9 "$pid"; rm -rf "$@"';

export class Leash {
  readonly #guard: ChildProcess;

  /** @param directory removed at the end */
  constructor(directory: string) {
    // Of a process group of its own: an interrupt from the keyboard must not end it before it did its work.
    this.#guard = spawn('sh', ['-c', SCRIPT, 'leash', directory], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#guard.stdin?.on('error', () => undefined);
    this.#guard.unref();
    (this.#guard.stdin as Socket).unref();
  }

  /** @param pid the process that must not outlive this one; null: none */
  hold(pid: number | null): void {
    this.#guard.stdin?.write(`${pid ?? ''}\n`);
  }

  /** Ends what is held, removes the directory. */
  async end(): Promise<void> {
    if (this.#guard.exitCode !== null || this.#guard.signalCode !== null) return;
    await new Promise((resolve) => {
      this.#guard.once('exit', resolve);
      this.#guard.ref();
      this.#guard.stdin?.end();
    });
  }
}
