/** The engines that clusters run on: how a process opens a backplane on one, and how a test starts and stops one. */
import type { Backplane } from '@sse-channels/engine';
import { NatsBackplane } from '@sse-channels/nats';
import { RedisBackplane } from '@sse-channels/redis';
import { findNatsServer, NatsCluster, NatsServer, type NatsSettings } from '../engines/nats-server.js';
import { findRedisServer, RedisServer, type RedisSettings } from '../engines/redis-server.js';
import type { ServerUnderTest } from '../engines/server-under-test.js';
import { NaiveBackplane } from './naive-backplane.js';

/** `naive` is the control: Redis with a backplane that loses events. */
export type EngineName = 'redis' | 'nats' | 'naive';

/** What a process needs to open a backplane. */
export interface EngineAddress {
  readonly engine: EngineName;
  /** `host:port` of each server. */
  readonly hosts: readonly string[];
  /** How many servers keep what is acknowledged. */
  readonly replicas: number;
}

export interface EngineSettings {
  readonly redis?: RedisSettings;
  readonly nats?: NatsSettings;
  /** Three servers that each keep everything; NATS alone. @default false */
  readonly replicated?: boolean;
}

export interface Engine {
  readonly servers: readonly ServerUnderTest[];
  readonly address: EngineAddress;
  stop(): Promise<void>;
}

export function openBackplane({ engine, hosts, replicas }: EngineAddress): Backplane {
  if (engine === 'naive') return new NaiveBackplane(`redis://${hosts[0]}`);
  if (engine === 'redis') return new RedisBackplane({ url: `redis://${hosts[0]}` });
  return new NatsBackplane({ servers: [...hosts], replicas });
}

/** Whether the engine's server is on this machine; what is left out without it was said. */
export function isThere(engine: EngineName): boolean {
  return (engine === 'nats' ? findNatsServer() : findRedisServer()) !== null;
}

export async function startEngine(engine: EngineName, settings: EngineSettings = {}): Promise<Engine> {
  if (settings.replicated === true) {
    const cluster = await NatsCluster.start(settings.nats);
    return engineOf(engine, cluster.servers, 3);
  }
  const server = engine === 'nats' ? await NatsServer.start(settings.nats) : await RedisServer.start(settings.redis);
  return engineOf(engine, [server], 1);
}

function engineOf(
  engine: EngineName,
  servers: ReadonlyArray<ServerUnderTest & { readonly port: number }>,
  replicas: number,
): Engine {
  return {
    servers,
    address: { engine, hosts: servers.map(({ port }) => `127.0.0.1:${port}`), replicas },
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
