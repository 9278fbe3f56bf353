import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ContinuousTail } from '@sse-channels/engine';
import { NatsBackplane } from '@sse-channels/nats';
import { parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { findNatsServer, NatsCluster } from '../engines/nats-server.js';

const KEEP: Retention = { maxEvents: 10_000, maxAgeMs: 3_600_000, maxBytes: 100_000_000 };
const TOPICS = 12;

/** Three servers, three replicas: any of them may answer a read, and any may go. */
(findNatsServer() === null ? describe.skip : describe)('the NATS backplane on a cluster', () => {
  let cluster: NatsCluster;
  const opened: NatsBackplane[] = [];

  beforeEach(async () => {
    cluster = await NatsCluster.start();
  }, 60_000);

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((backplane) => backplane.close()));
    await cluster.stop();
  }, 60_000);

  it('rolling kills: every acknowledged record once and in order, to followers and to readers who come back with a cursor', async () => {
    const [publisher, reader] = await Promise.all([open(), open()]);
    let cursor = parseCursor(await publisher.append('t/0', { name: 'n', data: '0' }, KEEP))?.offset as Offset;
    const acknowledged = new Map<string, number[]>();
    const followers = new Map<string, { numbers: number[]; gaps: string[]; tail: ContinuousTail }>();
    for (let n = 0; n < TOPICS; n += 1) {
      const topic = `t/${n}`;
      acknowledged.set(topic, []);
      const numbers: number[] = [];
      const gaps: string[] = [];
      const tail = new ContinuousTail(reader, topic, {
        onRecord: ({ data }) => numbers.push(Number(data)),
        onGap: (reason) => gaps.push(reason),
        onError: () => undefined,
      });
      followers.set(topic, { numbers, gaps, tail });
      await tail.open();
    }
    const run = { number: 0, stopped: false };
    const failed: unknown[] = [];
    const publishing = [...acknowledged].map(async ([topic, numbers]) => {
      while (!run.stopped) {
        const n = (run.number += 1);
        await publisher.append(topic, { name: 'n', data: String(n) }, KEEP).then(
          () => numbers.push(n),
          (error: unknown) => failed.push(error),
        );
      }
    });
    // Comes back with a cursor again and again, and goes on where it was.
    const resumed: number[] = [];
    const resuming = (async () => {
      while (!run.stopped) {
        const page = await reader.read('t/0', cursor, 100).catch(() => null);
        if (page === null) continue;
        expect([page.intact, page.reason]).toEqual([true, null]);
        resumed.push(...page.records.map(({ data }) => Number(data)));
        cursor = page.records.at(-1)?.offset ?? cursor;
      }
    })();
    for (const server of cluster.servers) {
      const before = run.number;
      await eventually(() => run.number > before + 300, 'more is appended', 30_000);
      await server.restart();
    }
    const before = run.number;
    await eventually(() => run.number > before + 300, 'more is appended after the last', 30_000);
    run.stopped = true;
    await Promise.all([...publishing, resuming]);

    expect(failed).toEqual([]);
    for (const [topic, numbers] of acknowledged) {
      const follower = followers.get(topic);
      await eventually(() => (follower?.numbers.length ?? 0) >= numbers.length, `${topic} is whole`, 30_000);
      expect(follower?.gaps).toEqual([]);
      expect(follower?.numbers).toEqual(numbers);
      follower?.tail.end();
    }
    expect(resumed).toEqual((acknowledged.get('t/0') ?? []).slice(0, resumed.length));
  }, 180_000);

  async function open(): Promise<NatsBackplane> {
    const backplane = new NatsBackplane({
      servers: cluster.urls,
      prefix: 'cluster',
      replicas: 3,
      appendTimeoutMs: 30_000,
    });
    opened.push(backplane);
    await backplane.ready();
    return backplane;
  }
});
