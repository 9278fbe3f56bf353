/** Hostile requests to a hub: names, bodies and routes that are not what they should be hurt no other topic and no other stream. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Header,
  HttpException,
  Injectable,
  Module,
  Param,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
  type PipeTransform,
} from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  Hub,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  type ErrorData,
} from '@sse-channels/nest';
import { eventually, SharedMemory, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [CountTold] });
const secretsChannel = defineChannel('secrets/:name', { events: [CountTold] });
const fixedChannel = defineChannel('fixed/:name', { events: [CountTold] });

/** Which orders were asked for, as the routes see them. */
const asked: string[] = [];
/** Held by routes that are to be slow. */
let held: Promise<void> | undefined;

/** Says who it is where the request does. */
@Injectable()
class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: string }>();
    const user = request.headers['x-user'];
    if (user !== undefined) request.user = user;
    return true;
  }
}

/** Answers `status-302` with that status, and nothing that a hub could give. */
@Injectable()
class StatusPipe implements PipeTransform<string, string> {
  transform(value: string): string {
    const status = /^status-(\d{3})$/.exec(value)?.[1];
    if (status !== undefined) throw new HttpException(`Answered ${status}`, Number(status));
    return value;
  }
}

@UseGuards(UserGuard)
@Controller()
class LiveController {
  @SseChannel(ordersChannel, 'orders/:orderId/events')
  @Header('Location', '/elsewhere')
  @Header('Set-Cookie', 'of=the-route')
  async orders(@Param('orderId', StatusPipe) orderId: string) {
    asked.push(orderId);
    await held;
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(secretsChannel, 'secrets/:name')
  secrets(@Param('name') name: string) {
    return secretsChannel.topic({ name });
  }

  @SseChannel(fixedChannel, 'fixed/:name')
  fixed(@Param('name', StatusPipe) name: string) {
    return fixedChannel.topic({ name });
  }

  @SseHub('live', { channels: [ordersChannel] })
  live() {}

  @SseHub('rigid', { channels: [fixedChannel], dynamic: false })
  rigid() {}
}

const order = (orderId: string) => ordersChannel.topic({ orderId });

describe.each(adapters)('a hub on $adapter', ({ make }) => {
  let shared: SharedMemory;
  let running: RunningApp;
  let bus: EventBus;
  const apps: RunningApp[] = [];
  const clients: SseTestClient[] = [];

  const start = async (): Promise<RunningApp> => {
    @Module({
      imports: [
        SseChannelsModule.forRoot({
          backplane: shared.node(),
          node: { name: `node ${apps.length}`, leaseMs: 1_000 },
          drain: { noticeMs: 0, windowMs: 0, graceMs: 200 },
        }),
      ],
      controllers: [LiveController],
    })
    class LiveModule {}
    const started = await startApp(make, LiveModule, (app) => {
      // As a login page in front of some URLs, which answers by itself.
      app.use((request: { url: string }, response: import('node:http').ServerResponse, next: () => void) => {
        if (!request.url.startsWith('/orders/behind-login')) return next();
        response.writeHead(302, { location: '/login', 'content-type': 'text/html' });
        response.end(`<p>${'sign in '.repeat(100_000)}</p>`);
      });
    });
    apps.push(started);
    return started;
  };

  beforeEach(async () => {
    asked.length = 0;
    held = undefined;
    shared = new SharedMemory();
    running = await start();
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    const hubs = apps.map(({ app }) => app.get(Hub));
    await Promise.all(apps.splice(0).map(({ app }) => app.close()));
    for (const hub of hubs) expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  const connect = async (path: string, request: SseTestRequest = {}, { url } = running): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${url}/${path}`, request);
    clients.push(client);
    return client;
  };
  /** Opens a stream of an order that is given, and of others. */
  const open = async (...topics: ReadonlyArray<string | object>): Promise<SseTestClient> =>
    (await connect('live', { method: 'POST', body: { topics: ['orders/1', ...topics] } })).opened();
  const change = async (connection: string, body: unknown, headers: Record<string, string> = {}, { url } = running) => {
    const response = await fetch(`${url}/live/${connection}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const refusals = (client: SseTestClient): unknown[] =>
    client.named<ErrorData>('$error').map(({ data }) => [data.topic, data.status]);
  /** The order that was given is whole, and nothing else came. */
  const isWhole = async (client: SseTestClient): Promise<void> => {
    await bus.publish(order('1'), CountTold, { n: 1 });
    await client.receive(1);
    const names = new Set(client.events.map(({ name }) => name));
    expect([...names].filter((name) => !['$open', '$error', 'count.told'].includes(name))).toEqual([]);
    expect(client.ended).toBe(false);
  };

  describe('a name', () => {
    it.each([
      'orders/1/2',
      'orders/%31',
      'orders/1%2',
      'orders/1%2f2',
      'orders/%ED%A0%80',
      'orders/%FF',
      'orders/\ud800',
      'orders/',
      'orders/..',
      'orders/../secrets/ada',
      'ORDERS/1',
      'orders/1?admin=1',
      'orders/1#x',
      'orders/*',
      'orders/:orderId',
      '/orders/1',
      'secrets/ada',
      '__proto__',
      'constructor',
      'toString',
      '$nodes',
      '$tickets/1',
      '',
      ' ',
      'orders/1\r\nevent: admin\r\ndata: {}\r\n\r\n',
      'orders/1\nid: $end\n\n',
      'orders/1\0',
      'orders/1\u2028event: admin',
      `orders/${'x'.repeat(50_000)}`,
    ])('that is no topic of a channel of the hub is refused alone (%j)', async (name) => {
      const client = await open(name);
      await client.until(() => client.named('$error').length === 1, 'a refusal');
      const changed = await change(client.open!.connection, { add: [name], remove: [name] });
      // A lone half of a pair is no text that JSON carries as it is.
      const told = name.toWellFormed?.() ?? name;
      expect(refusals(client)).toEqual([[expect.any(String), 404]]);
      expect([changed.status, changed.body['added'], changed.body['removed']]).toEqual([200, [], []]);
      expect(changed.body['refused']).toEqual([expect.objectContaining({ status: 404 })]);
      if (told === name) expect(refusals(client)).toEqual([[name, 404]]);
      expect(asked).toEqual(['1']);
      await isWhole(client);
    });

    it.each([
      ['orders/%2E%2E', '..'],
      ['orders/%2E', '.'],
      ['orders/%2E%2E%2Fsecrets%2Fada', '../secrets/ada'],
      ['orders/1%2F2', '1/2'],
      ['orders/a%2F', 'a/'],
      ['orders/1%3Fadmin%3D1%23x', '1?admin=1#x'],
      ['orders/%252F', '%2F'],
      ['orders/__proto__', '__proto__'],
      ['orders/a%0D%0Aevent%3A%20admin%0A%0A', 'a\r\nevent: admin\n\n'],
      ['orders/%C3%A9', 'é'],
    ])('whose parameter is hostile is asked for as that parameter, at its own route (%s)', async (name, parameter) => {
      const client = await open(name);
      await bus.publish(order(parameter), CountTold, { n: 2 });
      await client.receive(1);
      expect(asked.slice().sort()).toEqual(['1', parameter].sort());
      expect(client.open!.topics.map(({ topic }) => topic).sort()).toEqual([name, 'orders/1'].sort());
      expect(client.text).not.toMatch(/^event: admin/m);
    });

    it('that comes twice, in whatever form a query or a body can write it, is asked for once', async () => {
      const query =
        'topic=orders/1&topic=orders%2F1&topic=%6Frders%2f1&topic=orders/1&topic[]=orders/2&topic[0]=orders/3';
      const client = await (await connect(`live?${query}`)).opened();
      const inBody = await open('orders/1', { topic: 'orders/1' }, { topic: 'orders/1', lastEventId: null });
      expect(asked).toEqual(['1', '1']);
      expect([client, inBody].map(({ open: opened }) => opened!.topics.length)).toEqual([1, 1]);
    });
  });

  describe('a route', () => {
    it('that answers anything but a topic refuses its own with a status of a refusal', async () => {
      const statuses = [200, 204, 301, 302, 304, 400, 401, 404, 418, 429, 500, 503];
      const client = await open(...statuses.map((status) => `orders/status-${status}`), 'orders/behind-login');
      await client.until(() => client.named('$error').length === statuses.length + 1, 'all refusals');
      const told = new Map(client.named<ErrorData>('$error').map(({ data }) => [data.topic, data]));

      for (const status of statuses) {
        const refused = told.get(`orders/status-${status}`);
        expect([status, refused?.status, refused?.comeBack]).toEqual([
          status,
          status < 400 ? 403 : status,
          status === 429 || status >= 500,
        ]);
      }
      expect(told.get('orders/behind-login')).toEqual({
        topic: 'orders/behind-login',
        status: 403,
        message: "The topic's route answered 302, and gave no topic.",
        comeBack: false,
      });
      expect([client.headers['content-type'], client.headers.location, client.headers['set-cookie']]).toEqual([
        'text/event-stream',
        undefined,
        undefined,
      ]);
      await isWhole(client);
    });

    it.each([200, 302, 304, 403])(
      'that answers %i to all that a rigid hub is asked for is no stream',
      async (status) => {
        const answer = await connect(`rigid?topic=fixed/status-${status}`);
        expect(answer.status).toBe(403);
      },
    );
  });

  describe('a body', () => {
    const big = { topics: ['orders/1'], padding: 'x'.repeat(10_000_000) };

    it.each(['POST', 'QUERY'])(
      'of 10 MB is refused by the framework before anything is looked at (%s)',
      async (method) => {
        // The framework may hang up before it has been sent whole.
        const status = await connect('live', { method, body: big }).then(
          (client) => client.status,
          () => 413,
        );
        expect([status, asked]).toEqual([413, []]);
        await isWhole(await open());
      },
    );

    it.each([
      '{"topics":["orders/1"],"__proto__":{"add":["orders/2"]}}',
      '{"topics":[{"topic":"orders/1","constructor":{"prototype":{}}}]}',
      '{"topics":{"length":1,"0":"orders/1"}}',
      '{"topics":[null]}',
      '{"topics":[["orders/1"]]}',
      '{"topics":[{"topic":{"toString":"orders/1"}}]}',
      '[]',
      'null',
      '"orders/1"',
      '{"topics":',
    ])('that is none is answered 400, and its stream stays as it is (%s)', async (body) => {
      const client = await open();
      asked.length = 0;
      const headers = { 'content-type': 'application/json' };
      const opening = await fetch(`${running.url}/live`, { method: 'POST', headers, body });
      const changed = await change(client.open!.connection, body.replace('"topics"', '"add"'));
      expect([opening.status, changed.status, asked]).toEqual([400, 400, []]);
      await isWhole(client);
    });

    it('with a cursor that is none, or huge, is a gap, and nothing of it is repeated', async () => {
      const client = await open(
        { topic: 'orders/2', lastEventId: `m4rk${'x'.repeat(50_000)}` },
        { topic: 'orders/3', lastEventId: 'm4rk\r\nevent: admin\n\n' },
      );
      await client.until(({ gaps }) => gaps.length === 2, 'two gaps');
      expect(client.gaps.map(({ reason }) => reason)).toEqual(['invalid', 'invalid']);
      expect(client.text).not.toContain('m4rk');
    });
  });

  describe('a change', () => {
    /** A node that has just started cannot know yet that nobody has a stream. */
    const knowsAll = (...nodes: readonly RunningApp[]): Promise<void> =>
      eventually(async () => {
        const answers = await Promise.all(nodes.map((node) => change('a.b', {}, {}, node)));
        const known = nodes.map(({ app }) => app.get(EventBus).connections.everywhere.nodes().length);
        return answers.every(({ status }) => status === 404) && known.every((count) => count === nodes.length);
      }, 'the nodes know each other');

    it.each(['none', '__proto__', 'constructor', '%00', '%0D%0A', '..%2Flive', 'a.b', 'x.__proto__', 'x'.repeat(80)])(
      'of a stream that is none is answered 404 (%s)',
      async (connection) => {
        await knowsAll(running);
        const changed = await change(connection, { add: ['orders/1'] });
        expect([changed.status, asked]).toEqual([404, []]);
      },
    );

    it("needs the stream's id, and who the stream is of where somebody is known, on any node; its topics are the stream's", async () => {
      const other = await start();
      await knowsAll(running, other);
      const client = await (await connect('live?topic=orders/1', { headers: { 'x-user': 'ada' } })).opened();
      const { connection } = client.open!;
      const mark = connection.slice(connection.lastIndexOf('.'));
      const statuses = [];
      for (const node of [running, other]) {
        for (const [id, headers] of [
          [connection, { 'x-user': 'mallory' }],
          [`AAAAAAAAAAAAAAAA${mark}`, { 'x-user': 'ada' }],
          [connection.slice(0, -mark.length), { 'x-user': 'ada' }],
          [`${connection}${mark}`, { 'x-user': 'ada' }],
          [connection.toLowerCase(), { 'x-user': 'ada' }],
        ] as const)
          statuses.push((await change(id, { remove: ['orders/1'] }, headers, node)).status);
      }
      const anonymous = await change(connection, { add: ['orders/2'], remove: ['orders/1'] }, {}, other);
      expect(statuses).toEqual(statuses.map(() => 404));
      expect(anonymous).toEqual({ status: 200, body: { added: ['orders/2'], removed: ['orders/1'], refused: [] } });
      expect(bus.connections.list()[0]).toMatchObject({ principal: 'ada', topics: ['orders/2'] });
    });

    it('one after the other is made, however many come at once, and beyond some they are refused for now', async () => {
      const client = await open();
      let release: () => void = () => undefined;
      held = new Promise((resolve) => (release = resolve));
      let answered = 0;
      const all = Array.from({ length: 40 }, async (_, n) => {
        const answer = await change(client.open!.connection, { add: [`orders/${n + 2}`] });
        answered += 1;
        return answer;
      });
      await eventually(() => answered === 24, 'those beyond are answered at once');
      // What the application itself says waits its turn.
      const subscribed = bus.connections.subscribe(client.open!.connection, order('the-application'));
      release();
      const answers = await Promise.all(all);
      const refused = answers.flatMap(({ body }) => body['refused'] as ErrorData[]);

      expect(await subscribed).toBe(true);
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(refused.map(({ status }) => status)).toEqual(Array.from({ length: 24 }, () => 429));
      await isWhole(client);
    });

    it('while its stream is drained is refused, here and on another node, and the stream ends in order', async () => {
      const other = await start();
      await knowsAll(running, other);
      const client = await open();
      let release: () => void = () => undefined;
      held = new Promise((resolve) => (release = resolve));
      const { connection } = client.open!;
      const late = change(connection, { add: ['orders/2'] }, {}, other);
      await eventually(() => asked.includes('2'), 'the route is asked');
      const drained = running.app.get(Hub).drain({ noticeMs: 300, graceMs: 200, retryMs: () => 1 });
      const here = await change(connection, { add: ['orders/3'] });
      release();
      const there = await late;
      await client.end();
      await drained;
      const after = await change(connection, { add: ['orders/3'] }, {}, other);

      expect(here.status).toBe(503);
      expect(there.body['refused']).toEqual([
        expect.objectContaining({ topic: 'orders/2', status: 503, comeBack: true }),
      ]);
      expect(client.closing).toEqual({ reason: 'drained', comeBack: true });
      expect(after.status).toBe(404);
    });
  });
});
