import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { BackplaneState } from '@sse-channels/engine';
import { NatsBackplane, type NatsBackplaneOptions } from '@sse-channels/nats';
import type { Retention } from '@sse-channels/protocol';
import { backplaneContract, eventually } from '@sse-channels/testing';
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

/** What the contract does not ask of others. */
(findNatsServer() === null ? describe.skip : describe)('the stream of a NATS backplane', () => {
  let server: NatsServer;
  let connection: NatsConnection;
  const keep: Retention = { maxEvents: 1_000, maxAgeMs: 3_600_000, maxBytes: 10_000_000 };

  beforeAll(async () => {
    server = await NatsServer.start();
    connection = await connect({ servers: server.url });
  }, 30_000);

  afterAll(async () => {
    await connection.close();
    await server.stop();
  });

  it('soon holds not much more of a topic than its channel keeps', async () => {
    const { backplane } = await open({ prefix: 'trimmed' });
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          backplane.append('a/1', { name: 'n', data: String(n) }, { ...keep, maxEvents: 10 }),
        ),
      );
    }
    await eventually(async () => {
      const { state } = await ask('STREAM.INFO.trimmed', { subjects_filter: 'trimmed.log.>' });
      return (state?.subjects?.['trimmed.log.a.1'] ?? 0) <= 10 + 1 + 2 * 64;
    }, 'the rest is purged');
    await backplane.close();
  });

  it('that somebody else made is refused, with the way out', async () => {
    await ask('STREAM.CREATE.taken', { name: 'taken', subjects: ['taken.>'] });
    const backplane = new NatsBackplane({ servers: server.url, prefix: 'taken' });
    await expect(backplane.ready()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message:
        'The JetStream stream "taken" was not made by the NATS backplane; use another "prefix", or remove that stream.',
    });
  });

  it('gets the limits that a process asks for, which is told', async () => {
    const first = await open({ prefix: 'changed' });
    const second = await open({ prefix: 'changed', maxEventsPerTopic: 500 });
    expect(first.warnings.filter((warning) => warning.includes('other settings'))).toEqual([]);
    expect(second.warnings).toContainEqual(
      'The JetStream stream "changed" had other settings than this process asks for; they were changed: max_msgs_per_subject 10001 to 501. Give all processes of one prefix the same options.',
    );
    await first.backplane.close();
    await second.backplane.close();
  });

  it('warns of what may break a promise: one replica, memory, a short memory for ids, a channel that asks for more', async () => {
    const { backplane, warnings } = await open({
      prefix: 'warned',
      storage: 'memory',
      maxAgeMs: 60_000,
      maxEventsPerTopic: 100,
    });
    await backplane.append('a/1', { name: 'n', data: '1' }, keep);
    expect(backplane.capabilities.durable).toBe(false);
    expect(warnings.map((warning) => warning.slice(0, 60))).toEqual([
      'The JetStream stream "warned" is kept in memory: its events ',
      'The JetStream stream "warned" is kept on one server: events ',
      'JetStream remembers appends of "warned" for 60000 ms: an ide',
      'A channel keeps 1000 events for 3600000 ms, but the JetStrea',
    ]);
    await backplane.close();
  });

  it('is followed over one connection, and ten thousand topics are live again soon after it was lost', async () => {
    const { backplane, states } = await open({ prefix: 'many' });
    const publisher = await open({ prefix: 'many' });
    const came = new Set<string>();
    const losses = new Set<string>();
    const topics = Array.from({ length: 10_000 }, (_, n) => `t/${n}`);
    await Promise.all(
      topics.map((topic) =>
        backplane.tail(
          topic,
          (record) => came.add(record.topic),
          () => losses.add(topic),
        ),
      ),
    );
    const connections = (await (server.monitor('connz') as Promise<{ num_connections: number }>)).num_connections;
    await server.restart();
    await eventually(() => states.at(-1) === 'live' && states.length === 3, 'live again', 15_000);
    await Promise.all(topics.map((topic) => publisher.backplane.append(topic, { name: 'n', data: '1' }, keep)));
    await eventually(() => topics.every((topic) => came.has(topic) || losses.has(topic)), 'all have come', 15_000);
    expect([states, connections, losses.size]).toEqual([['down', 'catching-up', 'live'], 3, 0]);
    await backplane.close();
    await publisher.backplane.close();
  }, 60_000);

  interface Opened {
    readonly backplane: NatsBackplane;
    readonly warnings: string[];
    readonly states: BackplaneState[];
  }

  async function open(options: NatsBackplaneOptions): Promise<Opened> {
    const backplane = new NatsBackplane({ servers: server.url, ...options });
    const warnings: string[] = [];
    const states: BackplaneState[] = [];
    await backplane.ready({
      onWarning: (message) => warnings.push(message),
      onState: (state) => states.push(state),
    });
    return { backplane, warnings, states };
  }

  async function ask(what: string, body: object): Promise<{ state?: { subjects?: Record<string, number> } }> {
    return (await connection.request(`$JS.API.${what}`, JSON.stringify(body))).json();
  }
});
