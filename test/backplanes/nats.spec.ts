import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { NatsBackplane } from '@sse-channels/nats';
import { backplaneContract } from '@sse-channels/testing';
import { findNatsServer, NatsServer } from '../engines/nats-server.js';

/** The contract on a real server; each case has a stream of its own. */
(findNatsServer() === null ? describe.skip : describe)('the NATS backplane', () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await NatsServer.start();
  }, 30_000);

  afterAll(async () => {
    await server.stop();
  });

  const cases = backplaneContract({
    open: (space) => new NatsBackplane({ servers: server.url, prefix: space }),
    capabilities: { durable: true, sharedAcrossNodes: true, order: 'topic' },
  });
  for (const { name, run } of cases) it(name, run, 30_000);
});
