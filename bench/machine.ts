/** The machine that the bench runs on: its cores, its limits, the processes that are started on it. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Remote, type Methods } from './remote.js';

/** The server's core, or the engine's; the load generator, the nodes and the runner have the other. */
const CORES = { server: 0, load: 1 } as const;
/** Files that a process needs besides its connections. */
const OTHER_FILES = 200;

export class Machine {
  /** Whether processes can be kept on a core of their own. */
  readonly pins = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;
  /** The most connections that a process may hold. */
  readonly maxConnections = openFiles() - OTHER_FILES;
  readonly #started: Array<{ end(): Promise<void> }> = [];

  constructor() {
    if (this.pins) this.pin(process.pid, 'load');
  }

  /** What the figures were taken on, and what had which core. */
  describe(server = 'the server', load = 'the load generator'): string {
    const cores = cpus();
    const pinned = this.pins ? `${server} on core ${CORES.server}, ${load} on core ${CORES.load}` : 'not pinned';
    return `${cores.length} × ${cores[0]?.model ?? 'unknown'}, Node.js ${process.version}, ${pinned}`;
  }

  /** Keeps a process that runs, with all its threads, on a core. */
  pin(pid: number, core: keyof typeof CORES): void {
    if (this.pins) spawnSync('taskset', ['-acp', String(CORES[core]), String(pid)]);
  }

  /** Starts a process of this folder and waits until it serves. */
  async start<M extends Methods>(file: string, name: string, core: keyof typeof CORES): Promise<Remote<M>> {
    const pin = this.pins ? ['taskset', '-c', String(CORES[core])] : [];
    const node = [process.execPath, '--expose-gc', fileURLToPath(new URL(file, import.meta.url))];
    const [program = '', ...words] = [...pin, ...node];
    const child = spawn(program, words, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production' },
    });
    const remote = new Remote<M>(name, child);
    this.#started.push(remote);
    await remote.ready;
    return remote;
  }

  /** Ends every process that was started. */
  async end(): Promise<void> {
    await Promise.all(this.#started.map((remote) => remote.end()));
  }
}

function openFiles(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 1_024);
  } catch {
    return 1_024;
  }
}
