import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from '@redis/client';
import { ContinuousTail } from '@sse-channels/engine';
import { RedisBackplane } from '@sse-channels/redis';
import { backplaneContract, eventually } from '@sse-channels/testing';
import { findRedisServer, RedisCluster, RedisServer } from '../engines/redis-server.js';
import { ServerUnderTest } from '../engines/server-under-test.js';
import { freePort } from '../free-port.js';
import { selfSigned } from '../proxies/self-signed.js';

const found = findRedisServer() !== null;
const DEADLINE_MS = 60_000;
const KEEP = { maxEvents: 10_000, maxAgeMs: 3_600_000, maxBytes: 10_485_760 };

(found ? describe : describe.skip)('RedisBackplane on a cluster of three masters', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await RedisCluster.start();
  }, DEADLINE_MS);
  afterAll(() => cluster.stop());

  const nodes = (): Array<{ host: string; port: number }> =>
    cluster.masters.map(({ port }) => ({ host: '127.0.0.1', port }));
  const capabilities = { durable: true, sharedAcrossNodes: true, order: 'topic' } as const;
  const open = (space: string): RedisBackplane => new RedisBackplane({ cluster: { nodes: nodes() }, prefix: space });
  for (const { name, run } of backplaneContract({ open, capabilities })) it(name, run, DEADLINE_MS);

  it(
    'loses, doubles and reorders nothing when a master is killed, and goes on with the others meanwhile',
    async () => {
      const backplane = open('kills');
      await backplane.ready();
      const topics = Array.from({ length: 24 }, (_, n) => `kills/${n}`);
      const told = new Map<string, string[]>();
      const all: string[] = [];
      for (const topic of topics) {
        const words: string[] = [];
        told.set(topic, words);
        const tail = new ContinuousTail(backplane, topic, {
          onRecord: ({ data }) => words.push(data),
          onGap: (reason) => words.push(reason),
          onError: () => undefined,
        });
        await tail.open();
      }
      const filter = new ContinuousTail(backplane, 'kills/*', {
        onRecord: ({ data }) => all.push(data),
        onGap: (reason) => all.push(reason),
        onError: () => undefined,
      });
      await filter.open();
      const append = async (n: number): Promise<void> => {
        await Promise.all(topics.map((topic) => backplane.append(topic, { name: 'n', data: `"${topic}:${n}"` }, KEEP)));
      };
      for (let n = 0; n < 20; n += 1) await append(n);
      const killed = cluster.masters[1] as RedisServer;
      const restarted = killed.restart().then(() => cluster.whole());
      for (let n = 20; n < 60; n += 1) await append(n);
      await restarted;
      await eventually(() => backplane.state === 'live', 'the backplane is live', DEADLINE_MS);
      for (const topic of topics) {
        await eventually(() => told.get(topic)?.length === 60, `${topic} is whole`, DEADLINE_MS);
        expect(told.get(topic)).toEqual(Array.from({ length: 60 }, (_, n) => `"${topic}:${n}"`));
      }
      await eventually(() => all.length === 60 * 24, 'the filter is whole', DEADLINE_MS);
      expect(new Set(all).size).toBe(60 * 24);
      for (const topic of topics) {
        expect(all.filter((data) => data.startsWith(`"${topic}:`))).toEqual(told.get(topic));
      }
      await backplane.close();
    },
    DEADLINE_MS,
  );
});

(found ? describe : describe.skip)('RedisBackplane of several partitions on one server', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  }, DEADLINE_MS);
  afterAll(() => server.stop());

  const capabilities = { durable: true, sharedAcrossNodes: true, order: 'topic' } as const;
  const open = (space: string): RedisBackplane =>
    new RedisBackplane({ url: `${server.url}/3`, prefix: space, partitions: 4 });
  for (const { name, run } of backplaneContract({ open, capabilities })) it(name, run, DEADLINE_MS);
});

(found ? describe : describe.skip)('RedisBackplane behind sentinels', () => {
  it(
    'goes on with the replica that takes over',
    async () => {
      const primary = await RedisServer.start();
      const replica = await RedisServer.start({ replicaof: `127.0.0.1 ${primary.port}` });
      const port = await freePort();
      const directory = ServerUnderTest.makeDirectory();
      const file = join(directory, 'sentinel.conf');
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${directory}`,
        `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
        'sentinel down-after-milliseconds main 500',
        'sentinel failover-timeout main 3000',
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      const sentinel = new ServerUnderTest(
        {
          name: 'The sentinel',
          program: findRedisServer() as string,
          words: [file, '--sentinel'],
          // It looks for replicas every ten seconds.
          answers: async () => (await replicasOf(port)) === '1',
        },
        directory,
      );
      const backplane = new RedisBackplane({
        sentinel: { name: 'main', sentinels: [{ host: '127.0.0.1', port }] },
        appendTimeoutMs: 30_000,
      });
      try {
        await sentinel.start();
        await backplane.ready();
        const told: string[] = [];
        const tail = new ContinuousTail(backplane, 'sentinel/a', {
          onRecord: ({ data }) => told.push(data),
          onGap: () => undefined,
          onError: () => undefined,
        });
        await tail.open();
        const append = (n: number): Promise<string> =>
          backplane.append('sentinel/a', { name: 'n', data: String(n) }, KEEP);
        for (let n = 0; n < 20; n += 1) await append(n);
        await eventually(() => told.length === 20, 'what was appended before', DEADLINE_MS);
        await eventually(
          async () => (await offsetsOf(primary)).acknowledged === (await offsetsOf(primary)).written,
          'the replica has all',
          DEADLINE_MS,
        );
        await primary.kill();
        for (let n = 20; n < 40; n += 1) await append(n);
        await eventually(() => told.length === 40, 'what was appended after', DEADLINE_MS);
        expect(told).toEqual(Array.from({ length: 40 }, (_, n) => String(n)));
        expect(String(await replica.send('ROLE'))).toMatch(/^master/);
      } finally {
        await backplane.close();
        await Promise.all([sentinel.stop(), replica.stop(), primary.stop()]);
      }
    },
    DEADLINE_MS,
  );
});

async function replicasOf(port: number): Promise<string | undefined> {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, socket: { reconnectStrategy: false } });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const about = await client.sendCommand<Record<string, string>>(['SENTINEL', 'MASTER', 'main']);
    return about['num-slaves'];
  } finally {
    client.destroy();
  }
}

async function offsetsOf(primary: RedisServer): Promise<{ written: string; acknowledged: string }> {
  const text = String(await primary.send('INFO', 'replication'));
  const read = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? '';
  return { written: read(/master_repl_offset:(\d+)/), acknowledged: read(/slave0:.*offset=(\d+)/) };
}

const RIGHTS = [
  '+evalsha +eval +script|load +multi +exec +get +mget +set +exists +del +time +pttl +pexpire +pexpireat',
  '+xadd +xdel +xtrim +xrange +xrevrange +publish +subscribe +unsubscribe +ping +info +client|id +client|kill',
].flatMap((line) => line.split(' '));

(found ? describe : describe.skip)('RedisBackplane on a server that is closed to others', () => {
  it(
    'works as a user with the rights that docs/redis.md lists, and says that it could not look at the settings',
    async () => {
      const server = await RedisServer.start();
      try {
        const keys = ['resetkeys', '~{sse:*', 'resetchannels', '&{sse:*'];
        await server.send('ACL', 'SETUSER', 'sse', 'on', '>secret', ...keys, '-@all', ...RIGHTS);
        const warnings: string[] = [];
        const backplane = new RedisBackplane({ url: `redis://sse:secret@127.0.0.1:${server.port}` });
        await backplane.ready({ onWarning: (message) => warnings.push(message) });
        const told: string[] = [];
        const tail = await backplane.tail(
          'acl/a',
          ({ data }) => told.push(data),
          () => undefined,
        );
        for (let n = 0; n < 3; n += 1)
          await backplane.append('acl/a', { name: 'n', data: String(n) }, { ...KEEP, maxBytes: 8 });
        await backplane.append('acl/a', { name: 'n', data: '3' }, KEEP, { idempotencyKey: 'once' });
        await server.send('CLIENT', 'KILL', 'TYPE', 'normal');
        await backplane.append('acl/a', { name: 'n', data: '4' }, KEEP);
        await backplane.read('acl/*', null, 10);
        await eventually(() => told.length === 5, 'the live records');
        tail.end();
        await backplane.close();
        expect(warnings.filter((message) => message.includes('could not be checked'))).toHaveLength(1);
      } finally {
        await server.stop();
      }
    },
    DEADLINE_MS,
  );

  it(
    'works over TLS, and refuses a certificate that it was not told to trust',
    async () => {
      const { key, cert } = selfSigned();
      const tlsPort = await freePort();
      const directory = ServerUnderTest.makeDirectory();
      const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
      writeFileSync(keyFile, key);
      writeFileSync(certFile, cert);
      const server = await RedisServer.start({
        'tls-port': tlsPort,
        'tls-key-file': keyFile,
        'tls-cert-file': certFile,
        'tls-ca-cert-file': certFile,
        'tls-auth-clients': 'no',
      });
      try {
        const url = `rediss://127.0.0.1:${tlsPort}`;
        const backplane = new RedisBackplane({ url, client: { socket: { tls: true, ca: cert } } });
        await backplane.ready();
        await backplane.append('tls/a', { name: 'n', data: '1' }, KEEP);
        expect((await backplane.read('tls/a', null, 10)).records.map(({ data }) => data)).toEqual(['1']);
        await backplane.close();
        await expect(new RedisBackplane({ url }).ready()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      } finally {
        await server.stop();
        rmSync(directory, { recursive: true, force: true });
      }
    },
    DEADLINE_MS,
  );
});
