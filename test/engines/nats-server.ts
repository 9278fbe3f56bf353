/** NATS with JetStream, alone and as a cluster of three, as processes that a test starts, freezes, kills and starts again. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@sse-channels/testing';
import { freePort } from '../free-port.js';
import { findProgram, leaveOut } from '../programs.js';
import { ServerUnderTest } from './server-under-test.js';

/** How long three servers may take to find each other and to choose a leader, in milliseconds. */
const START_MS = 15_000;
/** In one start of twenty or so, 2.10 takes a cluster of three for one of two, for good: then another one is started. */
const MAX_TRIES = 3;

/** The first version that tells the time of a record that it republishes. */
const OLDEST = [2, 10] as const;

export interface NatsSettings {
  /** When what is acknowledged reaches the disk. @default 'always' */
  readonly syncInterval?: string;
  /** Added to the configuration file as it is. */
  readonly configuration?: string;
}

/** One server of a cluster as the others reach it. */
interface Member {
  readonly name: string;
  readonly routePort: number;
}

/** What a server's monitoring says of JetStream in the cluster; only the leader knows all replicas to be current. */
interface JetStreamPage {
  readonly meta_cluster?: { readonly replicas?: ReadonlyArray<{ readonly current: boolean }> };
}

/** Known once it was looked for: undefined before. */
let found: string | null | undefined;

/** The program; null where it is missing or too old, after that was said. */
export function findNatsServer(): string | null {
  if (found !== undefined) return found;
  const program = findProgram('The NATS server', 'NATS_SERVER_PATH', ['nats-server']);
  if (program === null) return (found = null);
  const [, version = '0.0', major = '0', minor = '0'] =
    /v((\d+)\.(\d+)\S*)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' })) ?? [];
  if (Number(major) > OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) >= OLDEST[1]))
    return (found = program);
  leaveOut(`${program} is ${version}, older than ${OLDEST.join('.')}: set NATS_SERVER_PATH to a newer one.`);
  return (found = null);
}

export class NatsServer extends ServerUnderTest {
  readonly #monitor: string;

  private constructor(
    program: string,
    readonly port: number,
    monitorPort: number,
    settings: NatsSettings,
    self: Member,
    cluster: readonly Member[],
  ) {
    const directory = ServerUnderTest.makeDirectory();
    const monitor = `http://127.0.0.1:${monitorPort}`;
    super(
      {
        name: `NATS on port ${port}`,
        program,
        words: ['-c', join(directory, 'server.conf')],
        answers: async () => {
          const { ok } = await fetch(`${monitor}/healthz`, { signal: AbortSignal.timeout(2_000) });
          return ok;
        },
      },
      directory,
    );
    this.#monitor = monitor;
    const routes = cluster.map(({ routePort }) => `nats://127.0.0.1:${routePort}`);
    writeFileSync(
      join(directory, 'server.conf'),
      `server_name: ${self.name}
listen: 127.0.0.1:${port}
http: 127.0.0.1:${monitorPort}
jetstream { store_dir: "${directory}", sync_interval: ${settings.syncInterval ?? 'always'} }
${cluster.length === 0 ? '' : `cluster { name: test, listen: 127.0.0.1:${self.routePort}, routes: [${routes.join(', ')}] }`}
${settings.configuration ?? ''}
`,
    );
  }

  /**
   * Resolves when it answers.
   * @throws where there is no NATS server of 2.10 or later on this machine: ask `findNatsServer` before
   */
  static async start(settings: NatsSettings = {}): Promise<NatsServer> {
    const server = await NatsServer.make(settings, { name: 'alone', routePort: 0 }, []);
    await server.start().catch(async (error: unknown) => {
      await server.stop();
      throw error;
    });
    return server;
  }

  /** A server that is not started yet. */
  static async make(settings: NatsSettings, self: Member, cluster: readonly Member[]): Promise<NatsServer> {
    const program = findNatsServer();
    if (program === null) {
      throw new Error('There is no NATS server of 2.10 or later on this machine; ask findNatsServer() before.');
    }
    return new NatsServer(program, await freePort(), await freePort(), settings, self, cluster);
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Whether JetStream's cluster has a leader, as this server sees it. */
  async knowsLeader(): Promise<boolean> {
    const { meta_cluster: cluster } = (await this.monitor('jsz')) as { meta_cluster?: { leader?: string } };
    return (cluster?.leader ?? '') !== '';
  }

  /** What its monitoring says: `monitor('jsz')`. */
  async monitor(page: string): Promise<unknown> {
    return (await fetch(`${this.#monitor}/${page}`)).json();
  }
}

/** Three servers, so that a stream may have three replicas. */
export class NatsCluster {
  private constructor(readonly servers: readonly NatsServer[]) {}

  static async start(settings: NatsSettings = {}): Promise<NatsCluster> {
    for (let tries = 1; ; tries += 1) {
      const cluster = await NatsCluster.#make(settings);
      try {
        await cluster.#begin();
        return cluster;
      } catch (error) {
        await cluster.stop();
        if (tries === MAX_TRIES) throw error;
      }
    }
  }

  static async #make(settings: NatsSettings): Promise<NatsCluster> {
    const members: Member[] = [];
    for (let made = 0; made < 3; made += 1) members.push({ name: `member-${made}`, routePort: await freePort() });
    return new NatsCluster(await Promise.all(members.map((member) => NatsServer.make(settings, member, members))));
  }

  get urls(): readonly string[] {
    return this.servers.map(({ url }) => url);
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async #begin(): Promise<void> {
    // None of them answers before two are there.
    await Promise.all(this.servers.map((server) => server.start()));
    for (const server of this.servers) {
      await eventually(() => server.knowsLeader(), `${server.name} knows who leads`, START_MS);
    }
    await eventually(() => this.#isWhole(), 'all three servers see each other', START_MS);
  }

  /** A server answers before the others have found it, and then no stream can be placed on it. */
  async #isWhole(): Promise<boolean> {
    const pages = await Promise.all(this.servers.map((server) => server.monitor('jsz')));
    return (pages as JetStreamPage[]).some(({ meta_cluster: meta }) => {
      const replicas = meta?.replicas ?? [];
      return replicas.length === this.servers.length - 1 && replicas.every(({ current }) => current);
    });
  }
}
