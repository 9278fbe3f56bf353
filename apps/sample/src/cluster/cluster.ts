/** The sample on several nodes: their engine, the nodes, the balancer before them, and the order in which all of it ends. */
import { fork, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Balancer, type Target } from './balancer.js';
import { startEngine, type Engine, type EngineName } from './engine.js';
import { KeptProcess } from './kept-process.js';
import { freePort } from './port.js';

const NAMES = ['a', 'b', 'c'];
const NODE_MAIN = fileURLToPath(new URL('node-main.js', import.meta.url));
/** How long all nodes may take to be ready, in milliseconds. */
const START_MS = 60_000;
const PAUSE_MS = 100;

export interface ClusterOptions {
  /** The engine to start; null: the first that this machine has. */
  readonly engine: EngineName | null;
  /** An engine that runs already; null: start one. */
  readonly url: string | null;
  readonly host: string;
  readonly port: number;
  /** Says a line to whoever reads the terminal. */
  readonly say: (line: string) => void;
}

interface ClusterNode {
  readonly name: string;
  readonly port: number;
  readonly process: KeptProcess;
}

export class Cluster {
  readonly #options: ClusterOptions;
  #engine: Engine | null = null;
  #nodes: readonly ClusterNode[] = [];
  #balancer: Balancer | null = null;
  #starting: Promise<void> = Promise.resolve();
  #isOpen = false;
  #isEnding = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /**
   * Starts everything, and resolves when all nodes are ready.
   * @throws Error where something does not start; `end` then ends what did
   */
  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  /** Ends everything in order: no more connections, the nodes with their streams, the engine last. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#balancer?.close();
    // What is being started is known only then.
    await this.#starting.catch(() => undefined);
    await Promise.all(this.#nodes.map(({ process }) => process.end()));
    await this.#engine?.end();
  }

  /** Ends everything at once. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    for (const node of this.#nodes) node.process.kill();
    this.#engine?.process.kill();
    await this.end();
  }

  async #start(): Promise<void> {
    const { engine, url, host, port, say } = this.#options;
    const ports = await Promise.all(NAMES.map(() => freePort()));
    const balancer = new Balancer(ports, (target) => this.#onReady(target));
    this.#balancer = balancer;
    // First, so that a port that is taken is known at once.
    const listening = await balancer.listen(port, host);
    if (url === null) this.#engine = await startEngine(engine, say);
    const backplane = this.#engine?.url ?? url ?? '';
    if (!this.#isEnding) {
      this.#nodes = NAMES.map((name, index) => this.#startNode(name, ports[index] as number, backplane));
    }
    await this.#untilReady(balancer);
    this.#isOpen = true;
    say(this.#describe(listening, backplane));
  }

  #startNode(name: string, port: number, backplane: string): ClusterNode {
    const { say } = this.#options;
    const launch = (): ChildProcess => {
      // Of a process group of its own: an interrupt from the keyboard reaches this program alone, which ends them in order.
      const child = fork(NODE_MAIN, {
        detached: true,
        env: { ...process.env, NODE_NAME: name, PORT: String(port), BACKPLANE: backplane },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      for (const output of [child.stdout, child.stderr]) {
        if (output !== null) createInterface({ input: output }).on('line', (line) => say(`${name} | ${line}`));
      }
      return child;
    };
    return { name, port, process: new KeptProcess({ name: `Node ${name}`, launch, say }) };
  }

  async #untilReady(balancer: Balancer): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (balancer.targets.some(({ takes }) => !takes)) {
      if (this.#isEnding) throw new Error('Ended before all nodes were ready.');
      const dead = this.#nodes.find(({ process }) => process.deaths > 0);
      if (dead !== undefined) throw new Error(`Node ${dead.name} ended while it was started.`);
      if (Date.now() > deadline) throw new Error(`Not all nodes were ready within ${START_MS / 1_000} s.`);
      await sleep(PAUSE_MS);
    }
  }

  #onReady({ port, id }: Target): void {
    const node = this.#nodes.find((one) => one.port === port);
    if (this.#isOpen && node !== undefined) {
      this.#options.say(`Node ${node.name} is back: ${id}, pid ${node.process.pid}, port ${port}.`);
    }
  }

  #describe(port: number, backplane: string): string {
    const { host } = this.#options;
    const engine = this.#engine;
    const rows = [
      ['node', 'pid', 'port'],
      ...this.#nodes.map(({ name, port: own, process }, index) => [
        this.#balancer?.targets[index]?.id ?? name,
        String(process.pid),
        String(own),
      ]),
    ];
    const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    const table = rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`);
    return [
      '',
      `The trading floor is open on ${this.#nodes.length} nodes: http://${host === '127.0.0.1' ? 'localhost' : host}:${port}`,
      `Its logs are in ${engine === null ? '' : `a ${engine.name} server of its own, pid ${engine.process.pid}, `}${backplane}`,
      '',
      ...table.map((line) => line.trimEnd()),
      '',
      `Kill one, and look at the page: kill -9 ${this.#nodes[0]?.process.pid}`,
      'It is started again after a few seconds, as another node. Ctrl-C ends all, the engine last.',
      '',
    ].join('\n');
  }
}
