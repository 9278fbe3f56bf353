import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Module,
  Param,
  type CanActivate,
  type DynamicModule,
  type ExecutionContext,
  type Type,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  Connections,
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsHealth,
  SseChannelsModule,
  type SseChannelsModuleOptions,
} from '@sse-channels/nest';
import { eventually, SharedMemory, SseTestClient, type SharedMemoryNode } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

/** Short, so that a killed node is soon gone; the looks are fifteen times as frequent. */
const LEASE_MS = 1_000;

const roomsChannel = defineChannel('rooms/:room', { events: [OrderPlaced] });
/** One whose filter would let every topic of two segments pass. */
const anyChannel = defineChannel(':a/:b', { events: [OrderPlaced] });

@Controller()
class RoomsController {
  @SseChannel(roomsChannel, 'rooms/:room')
  rooms(@Param('room') room: string) {
    return roomsChannel.topic({ room });
  }
}

@Controller()
class AnyController {
  @SseChannel(anyChannel, 'any/:a/:b')
  any(@Param('a') a: string, @Param('b') b: string) {
    return anyChannel.topic({ a, b });
  }
}

class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = request.headers['x-user'];
    return true;
  }
}

function moduleWith(controller: Type, options: SseChannelsModuleOptions): Type {
  const root: DynamicModule = SseChannelsModule.forRoot({ drain: { windowMs: 0, graceMs: 500 }, ...options });
  @Module({
    imports: [root],
    controllers: [controller],
    providers: [{ provide: APP_GUARD, useClass: UserGuard }],
  })
  class RoomsModule {}
  return RoomsModule;
}

interface Node extends RunningApp {
  readonly bus: EventBus;
  readonly line: SharedMemoryNode;
}

describe.each(adapters)('nodes that share a backplane, on $adapter', ({ make }) => {
  let shared: SharedMemory;
  const running: Node[] = [];
  const clients: SseTestClient[] = [];

  const start = async (
    name: string,
    options: SseChannelsModuleOptions = {},
    controller: Type = RoomsController,
  ): Promise<Node> => {
    const line = shared.node();
    const app = await startApp(
      make,
      moduleWith(controller, { backplane: line, node: { name, leaseMs: LEASE_MS }, ...options }),
    );
    const node = { ...app, line, bus: app.app.get(EventBus) };
    running.push(node);
    return node;
  };
  const connect = async (node: Node, path: string, user: string): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${node.url}${path}`, { headers: { 'x-user': user } });
    clients.push(client);
    return client;
  };
  const open = async (node: Node, room: string, user: string): Promise<SseTestClient> =>
    (await connect(node, `/rooms/${room}`, user)).opened();
  const namesAt = ({ bus }: Node): string[] => bus.connections.everywhere.nodes().map(({ name }) => name);

  beforeEach(() => {
    shared = new SharedMemory();
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await Promise.all(running.splice(0).map(({ app }) => app.close()));
  });

  it('list, count and end the connections of all of them', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const ada = await open(b, 'x', 'ada');
    const others = [await open(a, 'x', 'bob'), await open(b, 'y', 'bob')];
    const { everywhere } = a.bus.connections;
    const list = await everywhere.list({ topic: roomsChannel.topic({ room: 'x' }) });
    const count = await everywhere.count({ principal: 'bob' });

    expect(list.connections.map(({ principal, topics, node }) => [principal, topics, node.name])).toEqual([
      ['bob', ['rooms/x'], 'a'],
      ['ada', ['rooms/x'], 'b'],
    ]);
    expect([list.more, list.unanswered, count]).toEqual([false, [], { count: 2, unanswered: [] }]);
    expect([a.bus.connections.size, a.bus.connections.list({ principal: 'ada' })]).toEqual([1, []]);

    const ended = await everywhere.end({ id: list.connections[1]!.id });
    await ada.end();
    const again = await SseTestClient.connect(`${b.url}/rooms/x`, { lastEventId: ada.cursor });
    clients.push(again);

    expect(ended).toEqual({ ended: 1, unanswered: [] });
    expect([ada.closing, again.status]).toEqual([{ reason: 'revoked', comeBack: false }, 204]);
    expect(others.map((client) => client.ended)).toEqual([false, false]);
  });

  it('end with leave to come back, after the time that is given', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const ada = await open(b, 'x', 'ada');
    await a.bus.connections.everywhere.end({ principal: 'ada' }, { comeBack: true, retryMs: 77 });
    await ada.end();

    expect([ada.closing, ada.retries.at(-1)]).toEqual([{ reason: 'revoked', comeBack: true }, 77]);
  });

  it('end what a node had opened by then, however many open at that moment', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await eventually(() => namesAt(a).length === 2, 'they know each other');
    const opening = Array.from({ length: 50 }, () => connect(b, '/rooms/x', 'ada'));
    await Promise.race(opening);
    const before = b.bus.connections.size;
    const { ended, unanswered } = await a.bus.connections.everywhere.end({ principal: 'ada' });
    const all = await Promise.all(opening);
    await eventually(
      () => all.filter((client) => client.closing !== undefined).length === ended,
      'who was ended was told',
    );

    expect(unanswered).toEqual([]);
    expect(ended).toBeGreaterThanOrEqual(before);
    expect(b.bus.connections.size).toBe(50 - ended);
  });

  it('limit a principal over all of them with acrossNodes, and nobody is refused for a node that is gone', async () => {
    const limits = { perPrincipal: 2, acrossNodes: true };
    const [a, b] = [await start('a', { limits }), await start('b', { limits })];
    await eventually(() => namesAt(a).length === 2 && namesAt(b).length === 2, 'they know each other');
    const statusAt = async (node: Node): Promise<number> => {
      const client = await connect(node, '/rooms/x', 'ada');
      client.leave();
      return client.status;
    };
    await open(a, 'x', 'ada');
    const second = await open(b, 'x', 'ada');
    await eventually(async () => (await statusAt(a)) === 429, 'a knows of the second');
    await eventually(async () => (await statusAt(b)) === 429, 'b knows of the first');
    const other = await connect(a, '/rooms/x', 'bob');
    second.leave();
    await eventually(() => b.app.get(Connections).size === 0, 'the second is gone');
    await eventually(async () => (await statusAt(a)) === 200, 'a knows that it is gone');
    expect(other.status).toBe(200);

    await open(b, 'x', 'ada');
    await eventually(async () => (await statusAt(a)) === 429, 'a knows of the third');
    // As if it was killed: its connections are there still, but it says nothing more.
    b.line.cut();
    await eventually(async () => (await statusAt(a)) === 200, 'its lease has run out');
    expect(namesAt(a)).toEqual(['a']);
  });

  it('limit each for itself without it, and say nothing of counts', async () => {
    const limits = { perPrincipal: 1 };
    const [a, b] = [await start('a', { limits }), await start('b', { limits })];
    await eventually(() => namesAt(a).length === 2 && namesAt(b).length === 2, 'they know each other');
    await open(a, 'x', 'ada');
    const elsewhere = await connect(b, '/rooms/x', 'ada');
    const { records } = await shared.memory.read('$nodes/all', null, 1_000);

    expect([elsewhere.status, (await connect(a, '/rooms/x', 'ada')).status]).toEqual([200, 429]);
    expect(records.filter(({ data }) => data.includes('"kind":"counts"'))).toEqual([]);
  });

  it('count no connections of a node that was killed, once its lease has run out, and name it until then', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await eventually(() => namesAt(a).length === 2, 'they know each other');
    await open(a, 'x', 'ada');
    await open(b, 'x', 'ada');
    const before = await a.bus.connections.everywhere.count();
    b.line.cut();
    await eventually(() => namesAt(a).length === 1, 'the lease has run out');

    expect(before).toEqual({ count: 2, unanswered: [] });
    expect(await a.bus.connections.everywhere.count()).toEqual({ count: 1, unanswered: [] });
  });

  it('know at once of one that shuts down, and readiness tells how many there are', async () => {
    const [a, b] = [await start('a'), await start('b', { drain: { noticeMs: 200, windowMs: 0 } })];
    await eventually(() => namesAt(a).length === 2, 'they know each other');
    await open(b, 'x', 'ada');
    const health = a.app.get(SseChannelsHealth);
    const before = health.report();
    const closing = b.app.close();
    await eventually(() => a.bus.connections.everywhere.nodes()[1]?.draining === true, 'it is draining');
    await closing;

    expect(before.sseChannels).toEqual({ status: 'up', connections: 0, nodes: 2, backplane: 'live' });
    expect([namesAt(a), b.line.tails]).toEqual([['a'], 0]);
    expect(health.report().sseChannels.nodes).toBe(1);
    await expect(b.bus.connections.everywhere.count()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('say it where no client, and no listener, can come', async () => {
    const a = await start('a', {}, AnyController);
    const heard: string[] = [];
    const listening = a.bus.stream(anyChannel).subscribe(({ topic }) => heard.push(topic.name));
    const client = await connect(a, '/any/%24nodes/all', 'mallory');
    await client.opened();
    const { records } = await shared.memory.read('$nodes/all', null, 10);
    await eventually(
      async () => (await shared.memory.read('$nodes/all', null, 10)).records.length > records.length,
      'more was said',
    );
    await a.bus.publish(anyChannel.topic({ a: '$nodes', b: 'all' }), OrderPlaced, { number: 1 });
    await client.receive(1);
    listening.unsubscribe();

    expect(client.open!.topics.map(({ topic }) => topic)).toEqual(['%24nodes/all']);
    expect([client.applicationEvents.map(({ name }) => name), heard]).toEqual([['order.placed'], ['%24nodes/all']]);
  });
});
