/** Several nodes on one engine, each behind a link of its own that can fail, all behind a balancer. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../free-port.js';
import { FaultyLink } from '../faulty-link.js';
import { ServerUnderTest } from '../engines/server-under-test.js';
import type { NodeSettings } from './app-node.js';
import { startEngine, type Engine, type EngineName, type EngineSettings } from './engine.js';
import { RoundRobin } from './round-robin.js';

export interface ClusterSettings {
  readonly engine: EngineName;
  readonly engineSettings?: EngineSettings;
  /** @default 3 */
  readonly nodes?: number;
  /** How much of each topic the log keeps. @default 100_000 */
  readonly keepEvents?: number;
  /** How many nodes are not started at first, the last ones. @default 0 */
  readonly late?: number;
}

export const HEARTBEAT_MS = 1_000;
const RETRY_MS = 100;
/** A node that says so little is not asked for more. */
const LOOK_MS = 1_000;
/** What a process says when something in it went wrong that nobody expected. */
const ALARMING = /unhandled|uncaught|MaxListenersExceeded|TypeError|ReferenceError|RangeError|AssertionError/i;

/** An app process and its link to the engine; none where the engine is reached directly. */
export interface ClusterNode {
  readonly server: ServerUnderTest;
  readonly port: number;
  readonly link: FaultyLink | null;
}

/** While the engine did not answer, in milliseconds of `performance.now()`. */
export interface Outage {
  readonly from: number;
  to: number;
}

export class Cluster {
  readonly outages: Outage[] = [];
  readonly #roundRobin: RoundRobin;

  private constructor(
    readonly settings: ClusterSettings,
    readonly engine: Engine,
    readonly nodes: readonly ClusterNode[],
    roundRobin: RoundRobin,
    /** Where clients connect, and publishers that try again; their connections can fail here. */
    readonly balancer: FaultyLink,
    private readonly calmBalancer: FaultyLink,
  ) {
    this.#roundRobin = roundRobin;
  }

  /** Resolves when every node that is not late is up. */
  static async start(settings: ClusterSettings): Promise<Cluster> {
    const engine = await startEngine(settings.engine, settings.engineSettings);
    const nodes: ClusterNode[] = [];
    const count = settings.nodes ?? 3;
    for (let made = 0; made < count; made += 1) nodes.push(await makeNode(`node ${made + 1}`, engine, settings));
    const roundRobin = new RoundRobin(
      nodes.map(({ port }) => port),
      isUp,
    );
    const balancer = await FaultyLink.listen(() => roundRobin.connect());
    const calmBalancer = await FaultyLink.listen(() => roundRobin.connect());
    const cluster = new Cluster(settings, engine, nodes, roundRobin, balancer, calmBalancer);
    try {
      const first = nodes.slice(0, count - (settings.late ?? 0));
      await Promise.all(first.map(({ server }) => server.start()));
      await roundRobin.settled(first.length);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get port(): number {
    return this.balancer.port;
  }

  /** Of a balancer whose connections fail only with the node: for publishers that must know whether it goes on. */
  get calmPort(): number {
    return this.calmBalancer.port;
  }

  /** Kills one of the engine's servers, waits, and starts it again; the outage is noted. */
  async killEngine(waitMs: number, server = this.engine.servers[0]): Promise<void> {
    await this.outage(async () => {
      await server?.kill();
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await server?.start();
    });
  }

  /** Notes an outage of the engine while something is done to it. */
  async outage(during: () => Promise<void>): Promise<void> {
    const noted = { from: performance.now(), to: Infinity };
    this.outages.push(noted);
    await during();
    noted.to = performance.now();
  }

  /** Whatever was frozen, stalled or killed goes on, but for what is late. */
  async heal(): Promise<void> {
    for (const server of this.engine.servers) server.thaw();
    for (const { server, link } of this.nodes) {
      server.thaw();
      link?.heal();
      link?.delay(0);
    }
    this.balancer.heal();
    await Promise.all(
      [...this.engine.servers, ...this.nodes.map(({ server }) => server)]
        .filter(({ pid }) => pid === null)
        .map((server) => server.start()),
    );
  }

  /** What no process should do: to end by itself, or to say that something went wrong that nobody expected. */
  get alarms(): readonly string[] {
    const servers = [...this.engine.servers, ...this.nodes.map(({ server }) => server)];
    return servers.flatMap(({ name, deaths, output }) => [
      ...deaths,
      ...output
        .split('\n')
        .filter((line) => ALARMING.test(line))
        .map((line) => `${name} said: ${line.slice(0, 300)}`),
    ]);
  }

  /** Writes what every process said to a directory. */
  keepOutput(directory: string): void {
    mkdirSync(directory, { recursive: true });
    for (const server of [...this.engine.servers, ...this.nodes.map(({ server: node }) => node)]) {
      writeFileSync(join(directory, `${server.name.replaceAll(' ', '-')}.log`), server.output);
    }
  }

  async stop(): Promise<void> {
    this.#roundRobin.close();
    await this.balancer.close();
    await this.calmBalancer.close();
    await Promise.all(this.nodes.map(({ server }) => server.stop()));
    for (const { link } of this.nodes) await link?.close();
    await this.engine.stop();
  }
}

async function makeNode(name: string, engine: Engine, settings: ClusterSettings): Promise<ClusterNode> {
  const port = await freePort();
  const { hosts } = engine.address;
  // Of several servers each tells of the others, past any link.
  const link = hosts.length === 1 ? await FaultyLink.listen(`tcp://${hosts[0]}`) : null;
  const given: NodeSettings = {
    name,
    port,
    engine: link === null ? engine.address : { ...engine.address, hosts: [`127.0.0.1:${link.port}`] },
    keepEvents: settings.keepEvents ?? 100_000,
    heartbeatMs: HEARTBEAT_MS,
    retryMs: RETRY_MS,
  };
  const server = new ServerUnderTest(
    {
      name,
      program: process.execPath,
      words: [fileURLToPath(new URL('app-node.js', import.meta.url)), JSON.stringify(given)],
      environment: { NODE_ENV: 'production', NO_COLOR: '1' },
      answers: () => isUp(port),
    },
    ServerUnderTest.makeDirectory(),
  );
  return { server, port, link };
}

async function isUp(port: number): Promise<boolean> {
  const { ok } = await fetch(`http://127.0.0.1:${port}/up`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(LOOK_MS),
  });
  return ok;
}
