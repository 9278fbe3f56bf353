import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  ForbiddenException,
  Injectable,
  Module,
  NotFoundException,
  Param,
  ParseIntPipe,
  Req,
  UseGuards,
  VersioningType,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  type ErrorData,
  type OpenData,
} from '@sse-channels/nest';
import { SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [CountTold] });
const pricesChannel = defineChannel('prices/:symbol', { events: [CountTold] });
const newsChannel = defineChannel('news', { events: [CountTold] });

/** Lets in whose header says a name, and says it as the request's user. */
@Injectable()
class SignedIn implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: string }>();
    request.user = request.headers['x-user'] ?? '';
    return request.user !== '';
  }
}

const revoked = new Set<string>();
const ownersSeen: string[] = [];

/** Orders below a hundred are Alice's. */
@Injectable()
class OwnsOrder implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ user: string; params: { orderId: string }; query: unknown }>();
    const { orderId } = request.params;
    ownersSeen.push(`${request.user} ${orderId}`);
    if (revoked.has(orderId)) return false;
    if (request.user === 'alice' ? Number(orderId) < 100 : Number(orderId) >= 100) return true;
    throw new ForbiddenException(`Order ${orderId} is not yours`);
  }
}

@UseGuards(SignedIn)
@Controller('orders')
class OrdersController {
  @SseChannel(ordersChannel, ':orderId/events', { reauthorizeMs: 100 })
  @UseGuards(OwnsOrder)
  events(@Param('orderId', ParseIntPipe) orderId: number) {
    if (orderId === 7) throw new NotFoundException('No order 7');
    return ordersChannel.topic({ orderId });
  }
}

@Controller({ path: 'prices', version: '2' })
class PricesController {
  @SseChannel(pricesChannel, 'of/:symbol')
  events(@Param('symbol') symbol: string) {
    return { topic: pricesChannel.topic({ symbol }), start: 'earliest' as const };
  }
}

@Controller()
class LiveController {
  @SseHub('live', { channels: [ordersChannel, pricesChannel], maxTopics: 5 })
  live() {}

  @SseHub('fixed', { channels: [ordersChannel], dynamic: false, maxTopics: 3 })
  @UseGuards(SignedIn)
  fixed(@Req() request: { user: string }) {
    return request.user === 'alice' ? newsChannel.topic() : undefined;
  }
}

const MOST_OF_A_TOPIC = 6;

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 500, limits: { perTopic: MOST_OF_A_TOPIC } })],
  controllers: [OrdersController, PricesController, LiveController],
})
class LiveModule {}

const order = (orderId: number) => ordersChannel.topic({ orderId });
const price = (symbol: string) => pricesChannel.topic({ symbol });

describe.each(adapters)('a hub on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const clients: SseTestClient[] = [];
  const alice = { 'x-user': 'alice' };

  beforeEach(async () => {
    revoked.clear();
    ownersSeen.length = 0;
    running = await startApp(make, LiveModule, (app: INestApplication) => {
      app.setGlobalPrefix('api');
      app.enableVersioning({ type: VersioningType.URI });
    });
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  const connect = async (path: string, request: SseTestRequest = {}): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${running.url}/api/${path}`, { headers: alice, ...request });
    clients.push(client);
    return client;
  };
  const change = async (connection: string, body: object, user = 'alice') => {
    const response = await fetch(`${running.url}/api/live/${connection}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-user': user },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const told = (client: SseTestClient): unknown[] =>
    client.events.flatMap(({ name, data }) => (name === 'count.told' ? [(data as CountTold).n] : []));

  it('carries topics that the routes of their channels give, refuses others in the stream, and resumes all by one cursor', async () => {
    const client = await (
      await connect('live?topic=orders/1&topic=orders/200&topic=prices/ACME&topic=orders/7&topic=news')
    ).opened();
    await client.until(() => client.named('$error').length === 3, 'three refusals');
    await bus.publish(order(1), CountTold, { n: 1 });
    await bus.publish(price('ACME'), CountTold, { n: 2 });
    await bus.publish(order(200), CountTold, { n: 3 });
    await client.receive(2);
    const { cursor } = client;
    client.leave();
    await bus.publish(price('ACME'), CountTold, { n: 4 });
    await bus.publish(order(1), CountTold, { n: 5 });
    const again = await (await connect('live?topic=prices/ACME&topic=orders/1', { lastEventId: cursor })).opened();
    await again.receive(2);

    const errors = client.named<ErrorData>('$error').map(({ data }) => data);
    expect(client.open?.topics.map(({ topic }) => topic).sort()).toEqual(['orders/1', 'prices/ACME']);
    expect(errors.sort((a, b) => String(a.topic).localeCompare(String(b.topic)))).toEqual([
      { topic: 'news', status: 404, message: 'There is no such topic here.', comeBack: false },
      { topic: 'orders/200', status: 403, message: 'Order 200 is not yours', comeBack: false },
      { topic: 'orders/7', status: 404, message: 'No order 7', comeBack: false },
    ]);
    expect([told(client), told(again)]).toEqual([
      [1, 2],
      [4, 5],
    ]);
    expect(again.open?.topics.every(({ resumed }) => resumed)).toBe(true);
    expect(client.text).toMatch(/\nid: \S+\ntopic: orders\/1\nevent: count.told\ndata: \{"n":1\}\n\n/);
    expect(ownersSeen).toEqual(expect.arrayContaining(['alice 1', 'alice 200', 'alice 7']));
  });

  it('puts the topic into the data for a plain EventSource', async () => {
    const client = await (await connect('live?frames=envelope&topic=orders/1')).opened();
    await bus.publish(order(1), CountTold, { n: 1 });
    await client.receive(1);
    expect(client.named('count.told')[0]?.data).toEqual({ topic: 'orders/1', data: { n: 1 } });
  });

  it('takes topics in a body where a URL cannot hold them, each with a cursor of its own if it has one', async () => {
    const before = await bus.publish(order(1), CountTold, { n: 1 });
    await bus.publish(order(1), CountTold, { n: 2 });
    const body = { topics: [{ topic: 'orders/1', lastEventId: before }, 'orders/2'] };
    const client = await (await connect('live', { method: 'POST', body })).opened();
    await bus.publish(order(2), CountTold, { n: 3 });
    await client.receive(2);
    expect([client.status, told(client)]).toEqual([200, [2, 3]]);
  });

  it('takes topics in the body of a QUERY, which changes nothing and may be repeated', async () => {
    const body = { topics: ['orders/1', 'orders/2'] };
    const client = await (await connect('live', { method: 'QUERY', body })).opened();
    await bus.publish(order(2), CountTold, { n: 1 });
    await client.receive(1);
    const answer = await fetch(`${running.url}/api/live`, {
      method: 'QUERY',
      headers: { ...alice, accept: 'application/json', 'content-type': 'application/json' },
      body: JSON.stringify({ topics: ['orders/1'] }),
    });
    expect([client.status, told(client), answer.status]).toEqual([200, [1], 200]);
  });

  it('is there for no other method', async () => {
    const answers = [];
    for (const [method, path] of [
      ['PUT', 'live'],
      ['DELETE', 'live?topic=orders/1'],
      ['OPTIONS', 'live'],
      ['GET', 'live/connection'],
    ] as const) {
      const { status, headers } = await connect(path, { method });
      answers.push([status, headers.allow]);
    }
    const methods = 'GET, HEAD, POST, QUERY';
    expect(answers).toEqual([
      [405, methods],
      [405, methods],
      [405, methods],
      [405, 'POST'],
    ]);
  });

  it('adds and takes out topics while the stream is open, as the request that opened it', async () => {
    const client = await (await connect('live?topic=orders/1')).opened();
    const connection = client.open?.connection ?? '';
    await bus.publish(price('ACME'), CountTold, { n: 1 });
    const changed = await change(connection, {
      add: ['orders/1', 'orders/2', 'orders/300', 'prices/ACME'],
      remove: ['orders/1', 'orders/9'],
    });
    await bus.publish(order(2), CountTold, { n: 2 });
    await bus.publish(order(1), CountTold, { n: 3 });
    await client.until(() => told(client).length === 3, 'three events');
    expect(changed.status).toBe(200);
    expect(changed.body['removed']).toEqual(['orders/1']);
    expect((changed.body['added'] as string[]).sort()).toEqual(['orders/1', 'orders/2', 'prices/ACME']);
    expect(changed.body['refused']).toEqual([
      { topic: 'orders/300', status: 403, message: 'Order 300 is not yours', comeBack: false },
    ]);
    expect(new Set(told(client))).toEqual(new Set([1, 2, 3]));
    expect(bus.connections.list({ topic: 'orders/2' }).map(({ id }) => id)).toEqual([connection]);
  });

  it('gives a topic that it has once more from a place that is named, and tells of it in any case', async () => {
    const cursor = await bus.publish(order(1), CountTold, { n: 1 });
    const client = await (await connect('live?topic=orders/1&topic=orders/2')).opened();
    await bus.publish(order(1), CountTold, { n: 2 });
    await client.receive(1);
    const connection = client.open?.connection ?? '';
    const changed = await change(connection, {
      add: [
        { topic: 'orders/1', lastEventId: cursor },
        { topic: 'orders/2', lastEventId: null },
      ],
    });
    await bus.publish(order(1), CountTold, { n: 3 });
    await client.until(() => told(client).length === 3, 'one event twice, and one more');
    const opened = client
      .named<OpenData>('$open')
      .slice(1)
      .flatMap(({ data }) => data.topics);

    expect(changed.body).toEqual({ added: ['orders/1'], removed: [], refused: [] });
    expect(told(client)).toEqual([2, 2, 3]);
    expect(opened.map(({ topic, behind }) => [topic, behind])).toEqual([
      ['orders/1', true],
      ['orders/2', undefined],
    ]);
  });

  it('knows a stream that is over no more, and one by no other name', async () => {
    const client = await (await connect('live?topic=orders/1')).opened();
    const connection = client.open?.connection ?? '';
    expect((await change(`${connection}x`, { add: [] })).status).toBe(404);
    expect((await change(connection, { add: [] })).status).toBe(200);
    client.leave();
    await expectSoon(async () => (await change(connection, { add: [] })).status === 404);
  });

  it('ends a topic whose guards withdraw it, alone', async () => {
    const client = await (await connect('live?topic=orders/1&topic=orders/2')).opened();
    revoked.add('2');
    await client.until(() => client.closing !== undefined, 'the end of the topic');
    await bus.publish(order(1), CountTold, { n: 1 });
    await client.receive(1);
    expect([client.closing, client.ended]).toEqual([{ topic: 'orders/2', reason: 'revoked', comeBack: true }, false]);
  });

  it("carries what its own handler returned, and where nothing can be given and nothing be added, answers the first refusal's status", async () => {
    const own = await (await connect('fixed')).opened();
    const [nobody, refused, changed] = [
      await connect('fixed', { headers: {} }),
      await connect('fixed?topic=orders/1', { headers: { 'x-user': 'bob' } }),
      await connect(`fixed/${own.open?.connection}`, { method: 'POST', body: { add: ['orders/1'] } }),
    ];
    await bus.publish(newsChannel.topic(), CountTold, { n: 1 });
    await own.receive(1);
    expect([nobody.status, refused.status, changed.status]).toEqual([403, 403, 404]);
    expect(told(own)).toEqual([1]);
  });

  it('refuses a topic that is full, and that alone; who has it may be given it again', async () => {
    const full: SseTestClient[] = [];
    for (let n = 0; n < MOST_OF_A_TOPIC; n += 1) full.push(await (await connect('live?topic=orders/3')).opened());
    const late = await (await connect('live?topic=orders/3&topic=orders/4')).opened();
    await late.until(() => late.named('$error').length === 1, 'a refusal');
    const again = await change(full[0]?.open?.connection ?? '', { add: [{ topic: 'orders/3', lastEventId: null }] });

    expect([late.status, late.open?.topics.map(({ topic }) => topic)]).toEqual([200, ['orders/4']]);
    expect(late.named<ErrorData>('$error')[0]?.data).toMatchObject({ topic: 'orders/3', status: 429, comeBack: true });
    expect([again.status, again.body['refused']]).toEqual([200, []]);
  });

  it('refuses topics beyond the most that it carries each alone, when a stream opens as when it is changed', async () => {
    const six = [1, 2, 3, 4, 5, 6].map((id) => `topic=orders/${id}`).join('&');
    const client = await (await connect(`live?${six}&topic=orders/1`)).opened();
    const own = await (await connect(`fixed?${six}&topic=news`)).opened();
    await client.until(() => client.named('$error').length === 1, 'a refusal');
    await own.until(() => own.named('$error').length === 4, 'four refusals');
    const changed = await change(client.open?.connection ?? '', { add: ['orders/6', 'orders/5'] });
    const swapped = await change(client.open?.connection ?? '', { add: ['orders/6'], remove: ['orders/1'] });
    await bus.publish(order(6), CountTold, { n: 6 });
    await client.receive(1);

    const told6 = {
      topic: 'orders/6',
      status: 400,
      message:
        'One stream carries 5 topics at most ("maxTopics" of the hub, "limits.topicsPerConnection"); let another go first.',
      comeBack: false,
    };
    expect(client.open?.topics.map(({ topic }) => topic).sort()).toEqual([1, 2, 3, 4, 5].map((id) => `orders/${id}`));
    expect(client.named('$error').map(({ data }) => data)).toEqual([told6]);
    expect(changed.body).toEqual({ added: [], removed: [], refused: [told6] });
    expect(swapped.body).toEqual({ added: ['orders/6'], removed: ['orders/1'], refused: [] });
    expect([own.status, own.open?.topics.map(({ topic }) => topic).sort()]).toEqual([
      200,
      ['news', 'orders/1', 'orders/2'],
    ]);
    expect(own.named<ErrorData>('$error').map(({ data }) => [data.topic, data.status])).toEqual(
      [3, 4, 5, 6].map((id) => [`orders/${id}`, 400]),
    );
  });

  it('looks at none of more names than a request may hold', async () => {
    const names = Array.from({ length: 1_001 }, () => 'x');
    const client = await (await connect('live?topic=orders/1')).opened();
    const answers = [
      await connect(`live?${names.map((name) => `topic=${name}`).join('&')}`),
      await connect('live', { method: 'POST', body: { topics: names } }),
      await connect('live', { method: 'QUERY', body: { topics: names.map(() => 1) } }),
    ];
    const changes = [
      await change(client.open?.connection ?? '', { add: names }),
      await change(client.open?.connection ?? '', { remove: names }),
    ];
    const message = 'One request names 1000 topics at most, not 1001; add the others when the stream is open.';
    expect(answers.map(({ status, text }) => [status, JSON.parse(text)])).toEqual(
      answers.map(() => [400, expect.objectContaining({ message })]),
    );
    expect(changes).toEqual(changes.map(() => ({ status: 400, body: expect.objectContaining({ message }) })));
    expect((await connect('live', { method: 'POST', body: { topics: names.slice(1) } })).status).toBe(200);
  });

  it.each([
    ['a form of frames that it does not know', 'live?frames=xml', 400],
    ['a name that is no topic', 'live?topic=%00%0D%0A', 200],
  ])('answers %s', async (_what, path, status) => {
    const client = await connect(path);
    expect(client.status).toBe(status);
  });

  it.each([
    [[]],
    [{ topics: 'orders/1' }],
    [{ topics: [1] }],
    [{ topics: [{ topic: 'a', lastEventId: 1 }] }],
    [{ other: 1 }],
  ])('answers the body %j with 400', async (body) => {
    expect((await connect('live', { method: 'POST', body })).status).toBe(400);
  });

  it('lets nobody outside ask as a hub does', async () => {
    const client = await connect('orders/1/events', { headers: { ...alice, 'x-sse-channels-inquiry': 'guess' } });
    expect([client.status, (await client.opened()).open?.topics.length]).toEqual([200, 1]);
  });
});

async function expectSoon(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!(await condition())) if (Date.now() > deadline) throw new Error('Not in time');
}
