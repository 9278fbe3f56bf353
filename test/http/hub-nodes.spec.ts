import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  ForbiddenException,
  Injectable,
  Module,
  Param,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import {
  eventually,
  SharedMemory,
  SseTestClient,
  type SharedMemoryNode,
  type SseTestRequest,
} from '@sse-channels/testing';
import { IsInt, IsString } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [CountTold] });
@SseEvent('notice.shown')
class NoticeShown {
  @IsString() text!: string;
}

const usersChannel = defineChannel('users/:user', { events: [NoticeShown, CountTold] });
const newsChannel = defineChannel('news', { events: [CountTold] });

@Injectable()
class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = request.headers['x-user'];
    return true;
  }
}

/** Orders below a hundred are Alice's. */
@Injectable()
class OwnsOrder implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ user: string; params: { orderId: string } }>();
    const { orderId } = request.params;
    if (request.user === 'alice' && Number(orderId) < 100) return true;
    throw new ForbiddenException(`Order ${orderId} is not yours`);
  }
}

@Controller()
class OrdersController {
  @SseChannel(ordersChannel, 'orders/:orderId/events')
  @UseGuards(OwnsOrder)
  events(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(newsChannel, 'news')
  news() {
    return newsChannel.topic();
  }

  @SseHub('live', { channels: [ordersChannel], maxTopics: 4 })
  live() {}

  @SseHub('fixed', { channels: [ordersChannel], dynamic: false })
  fixed() {}
}

interface Node extends RunningApp {
  readonly bus: EventBus;
  readonly line: SharedMemoryNode;
}

describe.each(adapters)('hubs of nodes that share a backplane, on $adapter', ({ make }) => {
  let shared: SharedMemory;
  let a: Node;
  let b: Node;
  const running: Node[] = [];
  const clients: SseTestClient[] = [];

  const start = async (name: string): Promise<Node> => {
    const line = shared.node();
    @Module({
      imports: [
        SseChannelsModule.forRoot({
          backplane: line,
          principalChannel: usersChannel,
          node: { name, leaseMs: 1_000 },
          drain: { windowMs: 0, graceMs: 500 },
        }),
      ],
      controllers: [OrdersController],
      providers: [{ provide: APP_GUARD, useClass: UserGuard }],
    })
    class NodeModule {}
    const app = await startApp(make, NodeModule);
    const node = { ...app, line, bus: app.app.get(EventBus) };
    running.push(node);
    return node;
  };

  beforeEach(async () => {
    shared = new SharedMemory();
    [a, b] = [await start('a'), await start('b')];
    await eventually(
      () => running.every(({ bus }) => bus.connections.everywhere.nodes().length === 2),
      'they know each other',
    );
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await Promise.all(running.splice(0).map(({ app }) => app.close()));
  });

  const connect = async (
    node: Node,
    path: string,
    { user = 'alice', ...request }: SseTestRequest & { readonly user?: string } = {},
  ): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${node.url}/${path}`, { headers: { 'x-user': user }, ...request });
    clients.push(client);
    return client.opened();
  };
  const change = async (node: Node, connection: string, body: object, user = 'alice') => {
    const response = await fetch(`${node.url}/live/${connection}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-user': user },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const order = (orderId: number) => ordersChannel.topic({ orderId });
  const told = (client: SseTestClient): unknown[] => client.applicationEvents.map(({ data }) => (data as CountTold).n);

  it('change the topics of a stream through whichever node the request reaches, as the request that opened it', async () => {
    const client = await connect(b, 'live?topic=orders/1');
    const connection = client.open!.connection;
    const changed = await change(a, connection, {
      add: ['orders/2', 'orders/300', 'orders/3', 'orders/4'],
      remove: ['orders/1'],
    });
    for (const [id, n] of [
      [1, 1],
      [2, 2],
      [4, 4],
      [3, 3],
    ] as const)
      await a.bus.publish(order(id), CountTold, { n });
    await client.receive(2);
    const more = await change(a, connection, { remove: ['orders/2', 'orders/3'] });

    expect(changed).toEqual({
      status: 200,
      body: {
        added: ['orders/2', 'orders/3'],
        removed: ['orders/1'],
        refused: [
          { topic: 'orders/300', status: 403, message: 'Order 300 is not yours', comeBack: false },
          {
            topic: 'orders/4',
            status: 400,
            message:
              'One stream carries 4 topics at most ("maxTopics" of the hub, "limits.topicsPerConnection"); let another go first.',
            comeBack: false,
          },
        ],
      },
    });
    expect([told(client), more.body['removed']]).toEqual([
      [2, 3],
      ['orders/2', 'orders/3'],
    ]);
    expect((await a.bus.connections.everywhere.list({ id: connection })).connections).toMatchObject([
      { topics: ['users/alice'] },
    ]);
  });

  it('give an added topic with its replay where the client has a cursor of it', async () => {
    const before = await a.bus.publish(order(2), CountTold, { n: 1 });
    await a.bus.publish(order(2), CountTold, { n: 2 });
    const client = await connect(b, 'live?topic=orders/1');
    await change(a, client.open!.connection, { add: [{ topic: 'orders/2', lastEventId: before }] });
    await client.until(() => client.named('$live').length === 1, 'the topic is live');
    expect(told(client)).toEqual([2]);
  });

  it('do not tell who is not the user of a stream that it is there', async () => {
    const client = await connect(b, 'live?topic=orders/1');
    const connection = client.open!.connection;
    const [mallory, fixed] = [
      await change(a, connection, { remove: ['orders/1'] }, 'mallory'),
      (await connect(b, 'fixed?topic=orders/1')).open!.connection,
    ];
    expect([mallory.status, (await change(b, connection, {}, 'mallory')).status]).toEqual([404, 404]);
    expect([(await change(a, fixed, { remove: ['orders/1'] })).status]).toEqual([404]);
    expect((await change(a, connection, {})).status).toBe(200);
  });

  it('know of a stream no more when it is over, nor when its node is gone', async () => {
    const [first, second] = [await connect(b, 'live'), await connect(b, 'live')];
    first.leave();
    await eventually(() => b.bus.connections.size === 1, 'the first has left');
    expect((await change(a, first.open!.connection, {})).status).toBe(404);
    b.line.cut();
    await eventually(() => a.bus.connections.everywhere.nodes().length === 1, 'the lease has run out');
    expect((await change(a, second.open!.connection, {})).status).toBe(404);
  });

  it('reach all streams of a principal, on every node, and nobody else', async () => {
    const alice = [await connect(a, 'live?topic=orders/1'), await connect(b, 'live'), await connect(b, 'fixed')];
    const others = [await connect(a, 'live', { user: 'bob' }), await connect(b, 'live', { user: '' })];
    const cursor = await a.bus.toPrincipal('alice').publish(NoticeShown, { text: 'hello' });
    await Promise.all(alice.map((client) => client.receive(1)));
    await b.bus.toPrincipal('alice').publish(CountTold, { n: 2 });
    await Promise.all(alice.map((client) => client.receive(2)));
    await b.bus.toPrincipal('bob').publish(CountTold, { n: 3 });
    await others[0]!.receive(1);

    expect(alice.map(({ applicationEvents }) => applicationEvents.map(({ data }) => data))).toEqual(
      alice.map(() => [{ text: 'hello' }, { n: 2 }]),
    );
    expect(alice[0]!.text).toContain(`\nid: ${cursor}\ntopic: users/alice\nevent: notice.shown\n`);
    expect([told(others[0]!), told(others[1]!)]).toEqual([[3], []]);
  });

  it('give a principal that was away what it missed, by the same cursor', async () => {
    const client = await connect(a, 'live?topic=orders/1');
    client.leave();
    await b.bus.publish(order(1), CountTold, { n: 1 });
    await b.bus.toPrincipal('alice').publish(CountTold, { n: 2 });
    await b.bus.publish(order(1), CountTold, { n: 3 });
    const again = await connect(b, 'live?topic=orders/1', {
      headers: { 'x-user': 'alice', 'last-event-id': client.cursor },
    });
    await again.receive(3);
    expect([told(again), again.gaps]).toEqual([[1, 2, 3], []]);
  });

  it("carry a principal's topic unasked, with a cursor of its own where the client has one, and no other's", async () => {
    const before = await a.bus.toPrincipal('alice').publish(CountTold, { n: 1 });
    await a.bus.toPrincipal('alice').publish(CountTold, { n: 2 });
    const client = await connect(b, 'live', {
      method: 'POST',
      body: { topics: [{ topic: 'users/alice', lastEventId: before }, 'users/bob'] },
    });
    await client.receive(1);
    const changed = await change(a, client.open!.connection, { add: ['users/alice', 'users/bob'] });

    expect([told(client), client.named('$error').map(({ data }) => data.topic)]).toEqual([[2], ['users/bob']]);
    expect(changed.body).toMatchObject({ added: [], refused: [{ topic: 'users/bob', status: 404 }] });
  });

  it('give and take topics where the application says so, on whatever node, without a question', async () => {
    const client = await connect(b, 'live?topic=orders/1');
    const fixed = await connect(b, 'fixed?topic=orders/1');
    const single = await connect(b, 'orders/1/events');
    const ids = [client, fixed].map(({ open }) => open!.connection);
    const subscribed = await Promise.all(ids.map((id) => a.bus.connections.subscribe(id, newsChannel.topic())));
    const again = await a.bus.connections.subscribe(ids[0]!, order(200));
    await b.bus.publish(newsChannel.topic(), CountTold, { n: 1 });
    await a.bus.publish(order(200), CountTold, { n: 2 });
    await Promise.all([client.receive(2), fixed.receive(1)]);
    const taken = [
      await a.bus.connections.unsubscribe(ids[0]!, 'news'),
      await a.bus.connections.unsubscribe(ids[0]!, 'news'),
    ];
    await client.until(() => client.closing !== undefined, 'the end of the topic');

    expect([subscribed, again, taken]).toEqual([[true, true], true, [true, false]]);
    expect([told(client), told(fixed), client.closing]).toEqual([
      [1, 2],
      [1],
      { topic: 'news', reason: 'done', comeBack: false },
    ]);
    expect(client.named('$open')[1]?.data.topics).toEqual([{ topic: 'news', resumed: false, gap: null }]);
    const none = [
      await a.bus.connections.subscribe(single.open!.connection, 'news'),
      await a.bus.connections.subscribe('none', 'news'),
    ];
    expect(none).toEqual([false, false]);
    await expect(a.bus.connections.subscribe(ids[0]!, 'nothing/known')).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('There is no such topic here.'),
    });
  });
});
