import { createConnection } from 'node:net';
import { existsSync } from 'node:fs';
import { connect } from '@nats-io/transport-node';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { eventually } from '@sse-channels/testing';
import { findNatsServer, NatsCluster, NatsServer } from '../engines/nats-server.js';
import { findRedisServer, RedisCluster, RedisServer } from '../engines/redis-server.js';

const ifRedis = findRedisServer() === null ? it.skip : it;
const ifNats = findNatsServer() === null ? it.skip : it;

/** The engines that backplanes run on can be started by tests: a process of their own, a free port, a directory that goes. */
describe('a server for the tests of a backplane', () => {
  const started: Array<{ stop(): Promise<void> }> = [];

  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.stop()));
  });

  function stopped<S extends { stop(): Promise<void> }>(server: S): S {
    started.push(server);
    return server;
  }

  ifRedis(
    'Redis keeps what it acknowledged over a kill, and its port',
    async () => {
      const redis = stopped(await RedisServer.start());
      const { port, pid } = redis;
      await redis.send('SET', 'key', 'kept');
      await redis.kill();
      await expect(redis.send('GET', 'key')).rejects.toThrow('ECONNREFUSED');
      await redis.start();
      expect([await redis.send('GET', 'key'), redis.port, redis.pid === pid, redis.deaths]).toEqual([
        'kept',
        port,
        false,
        [],
      ]);
      await redis.stop();
      expect([redis.pid, existsSync(redis.directory)]).toEqual([null, false]);
    },
    30_000,
  );

  ifRedis(
    'Redis is silent while it is frozen',
    async () => {
      const redis = stopped(await RedisServer.start());
      redis.freeze();
      const answered: string[] = [];
      const socket = createConnection(redis.port, '127.0.0.1', () => socket.write('PING\r\n'));
      socket.on('data', (data) => answered.push(data.toString()));
      await eventually(() => socket.bytesWritten > 0);
      expect(answered).toEqual([]);
      redis.thaw();
      await eventually(() => answered.length > 0);
      expect(answered).toEqual(['+PONG\r\n']);
      socket.destroy();
    },
    30_000,
  );

  ifRedis(
    'three Redis masters are a cluster, also after one was killed',
    async () => {
      const cluster = stopped(await RedisCluster.start());
      await cluster.masters[1]?.restart();
      await cluster.whole();
      expect(String(await cluster.masters[0]?.send('CLUSTER', 'INFO'))).toContain('cluster_size:3');
    },
    60_000,
  );

  ifNats(
    'NATS keeps a stream over a kill, and its port',
    async () => {
      const nats = stopped(await NatsServer.start());
      const { port } = nats;
      await withJetStream([nats.url], (streams) => streams.add({ name: 'kept', subjects: ['kept.>'] }));
      await nats.restart();
      const { config } = await withJetStream([nats.url], (streams) => streams.info('kept'));
      expect([config.subjects, nats.port, nats.deaths]).toEqual([['kept.>'], port, []]);
    },
    30_000,
  );

  ifNats(
    'three NATS servers keep a stream of three replicas while one is away',
    async () => {
      const cluster = stopped(await NatsCluster.start());
      await withJetStream(cluster.urls, (streams) =>
        streams.add({ name: 'kept', subjects: ['kept.>'], num_replicas: 3 }),
      );
      await cluster.servers[2]?.restart();
      // The two that stayed may be choosing a new leader, and leave a question unanswered meanwhile.
      await eventually(
        () =>
          withJetStream(cluster.urls, async (streams) => (await streams.info('kept')).config.num_replicas === 3).catch(
            () => false,
          ),
        'the stream tells its three replicas again',
        30_000,
      );
    },
    60_000,
  );
});

async function withJetStream<T>(
  servers: readonly string[],
  use: (streams: Awaited<ReturnType<typeof jetstreamManager>>['streams']) => Promise<T>,
): Promise<T> {
  const connection = await connect({ servers: [...servers] });
  try {
    return await use((await jetstreamManager(connection)).streams);
  } finally {
    await connection.close();
  }
}
