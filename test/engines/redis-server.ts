/** Redis, and three masters of a Redis Cluster, as processes that a test starts, freezes, kills and starts again. */
import { createClient } from '@redis/client';
import { eventually } from '@sse-channels/testing';
import { freePort } from '../free-port.js';
import { findProgram } from '../programs.js';
import { ServerUnderTest } from './server-under-test.js';

/** Without the save points of a default Redis, and with an append-only file that keeps what was acknowledged. */
const SETTINGS = { save: '', appendonly: 'yes', appendfsync: 'always' } as const;
const CLUSTER_BUS = 10_000;
const SLOTS = 16_384;

/** Redis's settings by their names: `{ appendfsync: 'everysec' }`. */
export type RedisSettings = Readonly<Record<string, string | number>>;

/** The program; null where it is missing, after that was said. */
export function findRedisServer(): string | null {
  return findProgram('The Redis server', 'REDIS_SERVER_PATH', ['redis-server', 'valkey-server']);
}

export class RedisServer extends ServerUnderTest {
  private constructor(
    program: string,
    readonly port: number,
    settings: RedisSettings,
  ) {
    const directory = ServerUnderTest.makeDirectory();
    const all = { ...SETTINGS, ...settings, port, bind: '127.0.0.1', dir: directory };
    super(
      {
        name: `Redis on port ${port}`,
        program,
        words: Object.entries(all).flatMap(([name, value]) => [`--${name}`, ...String(value).split(' ')]),
        answers: async () => (await this.send('PING')) === 'PONG',
      },
      directory,
    );
  }

  /**
   * Resolves when it answers.
   * @throws where there is no Redis server on this machine: ask `findRedisServer` before
   */
  static async start(settings: RedisSettings = {}): Promise<RedisServer> {
    const server = new RedisServer(programOrThrow(), await freePort(), settings);
    await server.start().catch(async (error: unknown) => {
      await server.stop();
      throw error;
    });
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Sends a command over a connection of its own: `send('CLIENT', 'KILL', 'TYPE', 'pubsub')`. */
  async send(...words: readonly string[]): Promise<unknown> {
    const client = createClient({
      url: this.url,
      disableOfflineQueue: true,
      socket: { reconnectStrategy: false, connectTimeout: 1_000, socketTimeout: 2_000 },
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.sendCommand(words);
    } finally {
      client.destroy();
    }
  }
}

/** Three masters that share all slots, without replicas. */
export class RedisCluster {
  private constructor(readonly masters: readonly RedisServer[]) {}

  static async start(settings: RedisSettings = {}): Promise<RedisCluster> {
    const masters: RedisServer[] = [];
    const cluster = new RedisCluster(masters);
    try {
      for (let made = 0; made < 3; made += 1) {
        masters.push(await RedisServer.start({ 'cluster-enabled': 'yes', 'cluster-node-timeout': 2_000, ...settings }));
      }
      await cluster.#join();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get urls(): readonly string[] {
    return this.masters.map(({ url }) => url);
  }

  /** Resolves when all masters know that every slot is served. */
  async whole(): Promise<void> {
    for (const master of this.masters) {
      await eventually(
        async () => String(await master.send('CLUSTER', 'INFO').catch(() => '')).includes('cluster_state:ok'),
        `${master.name} sees a whole cluster`,
        30_000,
      );
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.masters.map((master) => master.stop()));
  }

  async #join(): Promise<void> {
    const share = Math.ceil(SLOTS / this.masters.length);
    for (const [index, master] of this.masters.entries()) {
      const slots = Array.from({ length: Math.min(share, SLOTS - index * share) }, (_, slot) =>
        String(index * share + slot),
      );
      await master.send('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      await master.send('CLUSTER', 'ADDSLOTS', ...slots);
    }
    const [first, ...others] = this.masters;
    for (const { port } of others) {
      await first?.send('CLUSTER', 'MEET', '127.0.0.1', String(port), String(port + CLUSTER_BUS));
    }
    await this.whole();
  }
}

function programOrThrow(): string {
  const program = findRedisServer();
  if (program === null) throw new Error('There is no Redis server on this machine; ask findRedisServer() before.');
  return program;
}
