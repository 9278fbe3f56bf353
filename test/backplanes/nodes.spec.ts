/** Two applications on a real engine: one change in their modules, and everything else is as it is on one node. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, Req, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { NatsBackplane } from '@sse-channels/nats';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsHealth,
  SseChannelsModule,
  SseEvent,
  SseHub,
  SseTickets,
  type Backplane,
} from '@sse-channels/nest';
import { RedisBackplane } from '@sse-channels/redis';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { findNatsServer, NatsServer } from '../engines/nats-server.js';
import { findRedisServer, RedisServer } from '../engines/redis-server.js';
import { startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:id', { events: [CountTold] });

const usersChannel = defineChannel('users/:user', { events: [CountTold] });

class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = request.headers['x-user'];
    return true;
  }
}

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:id')
  counts(@Param('id') id: string, @Req() _request: unknown) {
    return countsChannel.topic({ id });
  }

  @SseHub('live', { channels: [countsChannel] })
  live() {}
}

interface Engine {
  stop(): Promise<void>;
  readonly backplane: () => Backplane;
}

const engines: ReadonlyArray<{ name: string; found: boolean; start: () => Promise<Engine> }> = [
  {
    name: 'Redis',
    found: findRedisServer() !== null,
    start: async () => {
      const server = await RedisServer.start();
      return { stop: () => server.stop(), backplane: () => new RedisBackplane({ url: server.url }) };
    },
  },
  {
    name: 'NATS',
    found: findNatsServer() !== null,
    start: async () => {
      const server = await NatsServer.start();
      return { stop: () => server.stop(), backplane: () => new NatsBackplane({ servers: server.url }) };
    },
  },
];

for (const { name, found, start } of engines) {
  (found ? describe : describe.skip)(`two nodes on ${name}`, () => {
    let engine: Engine;
    const running: RunningApp[] = [];
    const clients: SseTestClient[] = [];

    const startNode = async (): Promise<RunningApp> => {
      @Module({
        imports: [
          SseChannelsModule.forRoot({
            backplane: engine.backplane(),
            principalChannel: usersChannel,
            tickets: { secret: 'the same secret on both of the nodes' },
            drain: { windowMs: 0, graceMs: 200 },
            node: { leaseMs: 1_500 },
            limits: { perPrincipal: 2, acrossNodes: true },
          }),
        ],
        controllers: [CountsController],
        providers: [{ provide: APP_GUARD, useClass: UserGuard }],
      })
      class NodeModule {}

      const node = await startApp(() => new FastifyAdapter(), NodeModule);
      running.push(node);
      return node;
    };
    const connect = async ({ url }: RunningApp, user: string, lastEventId?: string): Promise<SseTestClient> => {
      const headers = { 'x-user': user };
      const client = await SseTestClient.connect(`${url}/counts/1`, { headers, ...(lastEventId && { lastEventId }) });
      clients.push(client);
      return client;
    };
    const busOf = ({ app }: RunningApp): EventBus => app.get(EventBus);
    const topic = countsChannel.topic({ id: 1 });

    beforeEach(async () => {
      engine = await start();
    }, 30_000);

    afterEach(async () => {
      for (const client of clients.splice(0)) client.leave();
      await Promise.all(running.splice(0).map(({ app }) => app.close()));
      await engine.stop();
    }, 30_000);

    it('one publishes and the other delivers, and a client goes from one to the other by its cursor', async () => {
      const [one, two] = [await startNode(), await startNode()];
      const first = await (await connect(one, 'alice')).opened();
      for (let n = 0; n < 20; n += 1) await busOf(n % 2 === 0 ? one : two).publish(topic, CountTold, { n });
      await first.receive(20);
      first.leave();
      for (let n = 20; n < 40; n += 1) await busOf(one).publish(topic, CountTold, { n });
      const second = await (await connect(two, 'alice', first.cursor)).opened();
      await second.receive(20);
      const numbers = [...first.applicationEvents, ...second.applicationEvents].map(
        ({ data }) => (data as CountTold).n,
      );
      expect([numbers, second.gaps]).toEqual([Array.from({ length: 40 }, (_, n) => n), []]);
    }, 30_000);

    it('topics of a stream of many are changed through the node that does not hold it', async () => {
      const [one, two] = [await startNode(), await startNode()];
      await eventually(() => busOf(one).connections.everywhere.nodes().length === 2, 'the nodes know each other');
      const client = await SseTestClient.connect(`${two.url}/live?topic=counts/1`, { headers: { 'x-user': 'alice' } });
      clients.push(client);
      const { connection } = (await client.opened()).open!;
      const response = await fetch(`${one.url}/live/${connection}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-user': 'alice' },
        body: JSON.stringify({ add: ['counts/2', 'other'], remove: ['counts/1'] }),
      });
      const given = await busOf(one).connections.subscribe(connection, countsChannel.topic({ id: 3 }));
      for (const id of [1, 2, 3]) await busOf(one).publish(countsChannel.topic({ id }), CountTold, { n: id });
      await busOf(one).toPrincipal('alice').publish(CountTold, { n: 4 });
      const events = await client.receive(3);

      expect(await response.json()).toMatchObject({
        added: ['counts/2'],
        removed: ['counts/1'],
        refused: [{ topic: 'other', status: 404 }],
      });
      expect([given, events.map(({ data }) => (data as CountTold).n)]).toEqual([true, [2, 3, 4]]);
    }, 30_000);

    it('one answers a long poll that the other began, by its cursor, and while it waits', async () => {
      const [one, two] = [await startNode(), await startNode()];
      const poll = async ({ url }: RunningApp, query: string) => {
        const response = await fetch(`${url}/counts/1?${query}`, { headers: { accept: 'application/json' } });
        const { events, cursor } = (await response.json()) as { events: Array<{ data: CountTold }>; cursor: string };
        return { told: events.slice(1).map(({ data }) => data.n), cursor };
      };
      let { cursor } = await poll(one, '');
      const told: number[] = [];
      for (let n = 0; n < 20; n += 2) {
        await busOf(one).publish(topic, CountTold, { n });
        const first = await poll(two, `waitMs=10000&lastEventId=${cursor}`);
        const waiting = poll(one, `waitMs=10000&lastEventId=${first.cursor}`);
        await busOf(two).publish(topic, CountTold, { n: n + 1 });
        const second = await waiting;
        ({ cursor } = second);
        told.push(...first.told, ...second.told);
      }
      expect(told).toEqual(Array.from({ length: 20 }, (_, n) => n));
    }, 30_000);

    it('a ticket of one is spent once, by whichever of many requests at both is the first', async () => {
      const nodes = [await startNode(), await startNode()];
      const ticket = nodes[0]!.app.get(SseTickets).issue({ id: 'alice' });
      const spent = await Promise.all(
        Array.from(
          { length: 20 },
          (_, n) =>
            nodes[n % 2]!.app.get(SseTickets).of({ url: `/live?ticket=${ticket}`, headers: {} }) as Promise<unknown>,
        ),
      );
      expect(spent.filter((claims) => claims !== null)).toEqual([{ id: 'alice' }]);
    }, 30_000);

    it('each sees, counts and ends the connections of both, and a limit holds over both', async () => {
      const [one, two] = [await startNode(), await startNode()];
      const { everywhere } = busOf(one).connections;
      await eventually(() => everywhere.nodes().length === 2, 'the nodes know each other');
      const streams = [await (await connect(one, 'alice')).opened(), await (await connect(two, 'alice')).opened()];
      const counted = await everywhere.count({ principal: 'alice' });
      const listed = await everywhere.list({ topic });
      await eventually(async () => {
        const third = await connect(one, 'alice');
        // What the other has is known a moment later: until then a third is let in.
        third.leave();
        return third.status === 429;
      }, 'the third stream of one user is refused');
      await eventually(
        async () => (await everywhere.count({ principal: 'alice' })).count === 2,
        'those that were let in have left',
      );
      const ended = await everywhere.end({ principal: 'alice' });
      await Promise.all(streams.map((stream) => stream.end()));
      expect([counted, ended]).toEqual([
        { count: 2, unanswered: [] },
        { ended: 2, unanswered: [] },
      ]);
      expect(new Set(listed.connections.map(({ node }) => node.id)).size).toBe(2);
      expect(streams.map(({ closing }) => closing?.reason)).toEqual(['revoked', 'revoked']);
      expect(one.app.get(SseChannelsHealth).report().sseChannels.backplane).toBe('live');
    }, 30_000);
  });
}
