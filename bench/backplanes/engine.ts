/** The engines below the backplanes: real servers that the bench starts, each with a directory of its own. */
import { readdirSync, readFileSync } from 'node:fs';
import { NatsServer } from '../../test/engines/nats-server.js';
import { RedisServer } from '../../test/engines/redis-server.js';
import type { Machine } from '../machine.js';

export type EngineKind = 'redis-always' | 'redis-everysec' | 'nats-always' | 'nats-default';

/** NATS's own: it writes to the disk every two minutes. */
const NATS_SYNC_DEFAULT = '2m';

export class Engine {
  private constructor(
    private readonly server: RedisServer | NatsServer,
    /** Its name and version. */
    readonly version: string,
  ) {}

  static async start(kind: EngineKind, machine: Machine): Promise<Engine> {
    const engine = kind.startsWith('redis') ? await redis(kind) : await nats(kind);
    machine.pin(engine.pid as number, 'server');
    return new Engine(engine, await versionOf(engine));
  }

  get port(): number {
    return this.server.port;
  }

  /** @param port another one, on which it is reached through a proxy */
  url(port = this.server.port): string {
    return `${this.server instanceof RedisServer ? 'redis' : 'nats'}://127.0.0.1:${port}`;
  }

  /** User and system time of all its threads. */
  get cpuMicros(): number {
    const tasks = `/proc/${this.server.pid}/task`;
    const nanos = readdirSync(tasks).map((task) => {
      try {
        return Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0]);
      } catch {
        // It ended between the two looks.
        return 0;
      }
    });
    return nanos.reduce((sum, one) => sum + one, 0) / 1000;
  }

  stop(): Promise<void> {
    return this.server.stop();
  }
}

/** A rewrite of the append-only file would fall into one backplane's round and not into another's. */
function redis(kind: EngineKind): Promise<RedisServer> {
  return RedisServer.start({
    appendfsync: kind === 'redis-always' ? 'always' : 'everysec',
    'auto-aof-rewrite-percentage': 0,
  });
}

function nats(kind: EngineKind): Promise<NatsServer> {
  return NatsServer.start({ syncInterval: kind === 'nats-always' ? 'always' : NATS_SYNC_DEFAULT });
}

async function versionOf(server: RedisServer | NatsServer): Promise<string> {
  if (server instanceof NatsServer)
    return `nats-server ${((await server.monitor('varz')) as { version: string }).version}`;
  const [, version = ''] = /redis_version:(\S+)/.exec(String(await server.send('INFO', 'server'))) ?? [];
  return `redis-server ${version}`;
}
