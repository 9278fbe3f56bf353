import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { RedisBackplane } from '@sse-channels/redis';
import { backplaneContract } from '@sse-channels/testing';
import { findRedisServer, RedisServer } from '../engines/redis-server.js';

const found = findRedisServer() !== null;

(found ? describe : describe.skip)('RedisBackplane keeps the contract', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  }, 30_000);
  afterAll(() => server.stop());

  const capabilities = { durable: true, sharedAcrossNodes: true, order: 'space' } as const;
  const open = (space: string): RedisBackplane => new RedisBackplane({ url: server.url, prefix: space });
  for (const { name, run } of backplaneContract({ open, capabilities })) it(name, run, 20_000);
});
