import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Get,
  Module,
  Param,
  ServiceUnavailableException,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  Connections,
  defineChannel,
  EventBus,
  Hub,
  SseChannel,
  SseChannelsHealth,
  SseChannelsModule,
  type SseChannelsModuleOptions,
} from '@sse-channels/nest';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

const roomsChannel = defineChannel('rooms/:room', { events: [OrderPlaced] });

@Controller()
class RoomsController {
  constructor(private readonly health: SseChannelsHealth) {}

  @SseChannel(roomsChannel, 'rooms/:rooms')
  rooms(@Param('rooms') rooms: string) {
    return rooms.split(',').map((room) => roomsChannel.topic({ room }));
  }

  @Get('ready')
  ready() {
    if (!this.health.ready) throw new ServiceUnavailableException(this.health.report());
    return this.health.report();
  }
}

class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = request.headers['x-user'];
    return true;
  }
}

function moduleWith(options: SseChannelsModuleOptions) {
  @Module({
    imports: [SseChannelsModule.forRoot({ retryMs: 2_000, ...options })],
    controllers: [RoomsController],
    providers: [{ provide: APP_GUARD, useClass: UserGuard }],
  })
  class RoomsModule {}
  return RoomsModule;
}

describe.each(adapters)('the connections of a node, on $adapter', ({ adapter, make }) => {
  let running: RunningApp | undefined;
  const clients: SseTestClient[] = [];

  const start = async (
    options: SseChannelsModuleOptions = {},
    configure?: (app: INestApplication) => void,
  ): Promise<EventBus> => {
    running = await startApp(make, moduleWith(options), configure);
    return running.app.get(EventBus);
  };
  const connect = async (path: string, headers: Record<string, string> = {}): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${running?.url}${path}`, { headers });
    clients.push(client);
    return client;
  };
  const open = async (room: string, user: string, headers: Record<string, string> = {}): Promise<SseTestClient> =>
    (await connect(`/rooms/${room}`, { 'x-user': user, ...headers })).opened();

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running?.app.close();
    running = undefined;
  });

  describe('are known by the bus', () => {
    let bus: EventBus;

    beforeEach(async () => {
      bus = await start();
    });

    it('with who they are, what they follow and how far they are', async () => {
      const client = await open('a,b', 'ada');
      await open('b', 'bob');
      await bus.publish(roomsChannel.topic({ room: 'a' }), OrderPlaced, { number: 1 });
      await client.receive(1);
      const [info, ...others] = bus.connections.list({ principal: 'ada' });

      expect(others).toEqual([]);
      expect(info).toEqual({
        id: client.open?.connection,
        principal: 'ada',
        address: '127.0.0.1',
        topics: ['rooms/a', 'rooms/b'],
        ageMs: expect.any(Number),
        cursor: expect.stringMatching(/^.+~.+-.+$/),
        lagEvents: 0,
        writtenBytes: expect.any(Number),
        waitingBytes: 0,
      });
      expect(info?.writtenBytes).toBeGreaterThan(client.text.length);
      expect(bus.connections.list({ topic: roomsChannel.topic({ room: 'b' }) })).toHaveLength(2);
      expect(bus.connections.list({ topic: 'rooms/c' })).toEqual([]);
      expect(bus.connections.size).toBe(2);
    });

    it.each(['id', 'principal', 'topic'] as const)('and end by their %s, others going on', async (by) => {
      const ada = await open('a', 'ada');
      const bob = await open('b', 'bob');
      const selections = {
        id: { id: ada.open?.connection as string },
        principal: { principal: 'ada' },
        topic: { topic: 'rooms/a' },
      };
      expect(bus.connections.end(selections[by])).toBe(1);
      await ada.end();
      const again = await connect('/rooms/a', { 'x-user': 'ada', 'last-event-id': ada.cursor });

      expect(ada.closing).toEqual({ reason: 'revoked', comeBack: false });
      expect([ada.cursor, again.status, bob.ended]).toEqual(['$end', 204, false]);
    });

    it('and end with leave to come back, after the time that is given', async () => {
      const client = await open('a', 'ada');
      bus.connections.end({ principal: 'ada' }, { comeBack: true, retryMs: 77 });
      await client.end();
      const again = await connect('/rooms/a', { 'x-user': 'ada', 'last-event-id': client.cursor });

      expect(client.closing).toEqual({ reason: 'revoked', comeBack: true });
      expect([client.retries.at(-1), (await again.opened()).status]).toEqual([77, 200]);
    });

    it('and none of them ends for a selection that names nothing', () => {
      expect(() => bus.connections.end({})).toThrow(
        'connections.end needs to know which connections: name an id, a principal or a topic.',
      );
    });
  });

  describe('are limited', () => {
    const refusedAs = async (client: SseTestClient) => {
      await client.end();
      return {
        status: client.status,
        retryAfter: Number(client.headers['retry-after'] ?? 0),
        message: (JSON.parse(client.text) as { message: string }).message,
      };
    };

    it.each([
      ['connections', 503, 'This server has as many streams open as it takes; try again later.'],
      ['perPrincipal', 429, 'Too many streams are open; close some, or try again later.'],
      ['perAddress', 429, 'Too many streams are open; close some, or try again later.'],
      ['perTopic', 429, 'Too many streams are open; close some, or try again later.'],
    ] as const)('by limits.%s, with %i, and nobody is put out', async (limit, status, message) => {
      await start({ limits: { [limit]: 2 } });
      const [first, second] = [await open('a', 'ada'), await open('a', 'ada')];
      const refused = await refusedAs(await connect('/rooms/a', { 'x-user': 'ada' }));
      const elsewhere = await connect('/rooms/b', { 'x-user': 'bob' });
      first.leave();
      await eventually(() => running?.app.get(Connections).size === (elsewhere.status === 200 ? 2 : 1), 'it is gone');
      const next = await connect('/rooms/a', { 'x-user': 'ada' });

      expect(refused).toEqual({ status, retryAfter: expect.any(Number), message });
      expect([1, 2, 3]).toContain(refused.retryAfter);
      expect(elsewhere.status).toBe(limit === 'perPrincipal' || limit === 'perTopic' ? 200 : status);
      expect([second.ended, next.status]).toEqual([false, 200]);
    });

    it('together, however many come at once', async () => {
      await start({ limits: { perPrincipal: 5 } });
      const all = await Promise.all(Array.from({ length: 40 }, () => connect('/rooms/a', { 'x-user': 'ada' })));
      const statuses = all.map(({ status }) => status).sort((one, other) => one - other);

      expect(statuses).toEqual([...Array(5).fill(200), ...Array(35).fill(429)]);
      expect(running?.app.get(Hub).snapshot()).toEqual({ connections: 5, feeds: 1, subscriptions: 5 });
    });

    it('in their topics, with 400', async () => {
      await start({ limits: { topicsPerConnection: 2 } });
      const two = await connect('/rooms/a,b,b');
      const three = await refusedAs(await connect('/rooms/a,b,c'));

      expect(two.status).toBe(200);
      expect(three).toEqual({ status: 400, retryAfter: 0, message: 'These are too many topics for one stream.' });
      expect(running?.app.get(Hub).snapshot()).toMatchObject({ feeds: 2, subscriptions: 2 });
    });

    it('by the address that a trusted proxy tells', async () => {
      const trust = (app: INestApplication): void => {
        if (adapter === 'Express')
          (app as unknown as { set(name: string, value: unknown): void }).set('trust proxy', true);
      };
      // Fastify takes it when it is made; without it, all have the proxy's own address.
      const sameAddress = adapter === 'Fastify';
      await start({ limits: { perAddress: 1 } }, trust);
      const one = await connect('/rooms/a', { 'x-forwarded-for': '203.0.113.1' });
      const other = await connect('/rooms/a', { 'x-forwarded-for': '203.0.113.2' });

      expect([one.status, other.status]).toEqual([200, sameAddress ? 429 : 200]);
    });
  });

  describe('are drained', () => {
    it('over the window, in no order, readiness first, and what is published meanwhile reaches who is left', async () => {
      const bus = await start({ retryMs: 1_000, drain: { noticeMs: 1_500, windowMs: 400, graceMs: 1_000 } });
      const all = await Promise.all(Array.from({ length: 80 }, (_, n) => open('a', `user ${n}`)));
      const before = await connect('/ready');
      const hub = running?.app.get(Hub) as Hub;
      const draining = hub.drain({ noticeMs: 1_500, windowMs: 400, graceMs: 1_000, retryMs: () => 500 });
      const [ready, refused] = [await connect('/ready'), await connect('/rooms/a')];
      await Promise.all([ready.end(), refused.end()]);
      const openAtNotice = bus.connections.size;
      const published: number[] = [];
      for (let number = 0; bus.connections.size > 0; number += 1) {
        await bus.publish(roomsChannel.topic({ room: 'a' }), OrderPlaced, { number });
        published.push(number);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await draining;
      await Promise.all(all.map((client) => client.end()));
      const counts = all.map((client) => client.applicationEvents.length);

      expect(before.status).toBe(200);
      expect([ready.status, JSON.parse(ready.text)]).toEqual([
        503,
        { sseChannels: { status: 'down', connections: 80, nodes: 1, backplane: 'live' } },
      ]);
      expect([refused.status, Number(refused.headers['retry-after']) >= 1, openAtNotice]).toEqual([503, true, 80]);
      for (const client of all) {
        expect(client.closing).toEqual({ reason: 'drained', comeBack: true });
        const numbers = client.applicationEvents.map(({ data }) => (data as { number: number }).number);
        expect(numbers).toEqual(published.slice(0, numbers.length));
      }
      // They ended at many different times, and not in the order in which they came.
      expect(new Set(counts).size).toBeGreaterThan(5);
      expect(counts).not.toEqual([...counts].sort((one, other) => one - other));
    });

    it('with what they are told to wait spread over the window', async () => {
      await start({ retryMs: 1_000, drain: { windowMs: 20_000 } });
      const all = await Promise.all(Array.from({ length: 60 }, (_, n) => open('a', `user ${n}`)));
      await running?.app.close();
      running = undefined;
      await Promise.all(all.map((client) => client.end()));
      const retries = all.map((client) => client.retries.at(-1) as number);

      expect(Math.min(...retries)).toBeGreaterThanOrEqual(500);
      expect(Math.max(...retries)).toBeLessThanOrEqual(20_500);
      expect(Math.max(...retries) - Math.min(...retries)).toBeGreaterThan(10_000);
    });
  });
});
