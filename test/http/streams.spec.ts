import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { VersioningType } from '@nestjs/common';
import { EventBus, Hub } from '@sse-channels/nest';
import { eventually, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from './adapters.js';
import {
  OrderPlaced,
  orderNoted,
  ordersChannel,
  OrderShipped,
  OrdersModule,
  quietChannel,
  witnessed,
} from './orders.module.js';

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let hub: Hub;
  const clients: SseTestClient[] = [];

  const connect = async (path: string, request?: SseTestRequest): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path, request);
    clients.push(client);
    return client;
  };
  const topic = (orderId: string) => ordersChannel.topic({ orderId });
  const place = async (orderId: string, from: number, to: number): Promise<string[]> => {
    const cursors: string[] = [];
    for (let number = from; number <= to; number += 1) {
      cursors.push(await bus.publish(topic(orderId), OrderPlaced, { number }));
    }
    return cursors;
  };
  const numbers = (client: SseTestClient): number[] => client.named('order.placed').map(({ data }) => data.number);

  beforeEach(async () => {
    witnessed.length = 0;
    running = await startApp(make, OrdersModule, (app) => {
      app.enableCors({ origin: 'https://shop.example', credentials: true });
      app.enableVersioning({ type: VersioningType.HEADER, header: 'x-version' });
    });
    bus = running.app.get(EventBus);
    hub = running.app.get(Hub);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
    expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  describe('a stream of a channel', () => {
    it('begins with $open and then carries what is published, byte for byte', async () => {
      const client = await (await connect('/orders/7/events')).opened();
      const [first, second] = [
        await bus.publish(topic('7'), OrderPlaced, { number: 1 }),
        await bus.publish(topic('7'), OrderShipped, { number: 1, carrier: 'DHL "Süd"\n🚚' }),
      ];
      await client.receive(2);
      const { connection } = client.open!;
      expect(client.text).toBe(
        `retry: ${client.retries[0]}\nid: ${/^id: (.*)$/m.exec(client.text)![1]}\nevent: $open\n` +
          `data: {"protocol":1,"connection":"${connection}","heartbeatMs":10000,"topics":[{"topic":"orders/7","resumed":false,"gap":null}]}\n\n` +
          `id: ${first}\nevent: order.placed\ndata: {"number":1}\n\n` +
          `id: ${second}\nevent: order.shipped\ndata: {"number":1,"carrier":"DHL \\"Süd\\"\\n🚚"}\n\n`,
      );
      expect(client.retries[0]).toBeGreaterThanOrEqual(1_000);
      expect(client.retries[0]).toBeLessThanOrEqual(3_000);
    });

    it('answers 200 with the headers of an event stream', async () => {
      const { status, headers } = await connect('/orders/7/events');
      expect(status).toBe(200);
      expect(headers).toMatchObject({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store, no-cache, must-revalidate, no-transform',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
      });
    });

    it('sends null as null', async () => {
      const client = await (await connect('/orders/7/events')).opened();
      await bus.publish(topic('7'), orderNoted, null);
      expect(await client.receive(1)).toMatchObject([{ name: 'order.noted', data: null }]);
    });

    it('resumes after the cursor in Last-Event-ID, and after the one in the query', async () => {
      const cursors = await place('7', 1, 10);
      const byHeader = await connect('/orders/7/events', { lastEventId: cursors[3]! });
      const byQuery = await connect(`/orders/7/events?lastEventId=${cursors[7]}`);
      await byHeader.receive(6);
      await byQuery.receive(2);
      expect([byHeader.open!.topics, numbers(byHeader)]).toEqual([
        [{ topic: 'orders/7', resumed: true, gap: null }],
        [5, 6, 7, 8, 9, 10],
      ]);
      expect(numbers(byQuery)).toEqual([9, 10]);
      expect(byHeader.gaps).toEqual([]);
    });

    it('resumes the same when others are connected, from the ring', async () => {
      await (await connect('/orders/7/events')).opened();
      const cursors = await place('7', 1, 30);
      const resumed = await connect('/orders/7/events', { lastEventId: cursors[14]! });
      const tooOld = await connect('/orders/7/events', { lastEventId: cursors[3]! });
      await resumed.receive(15);
      await tooOld.receive(20);
      expect([numbers(resumed)[0], resumed.gaps]).toEqual([16, []]);
      expect([numbers(tooOld)[0], tooOld.gaps]).toEqual([11, [{ topic: 'orders/7', reason: 'trimmed' }]]);
    });

    it('resumes from the cursor of $open, before anything was received', async () => {
      const first = await (await connect('/orders/7/events')).opened();
      first.leave();
      await place('7', 1, 3);
      const second = await connect('/orders/7/events', { lastEventId: first.cursor });
      await second.receive(3);
      expect([numbers(second), second.gaps]).toEqual([[1, 2, 3], []]);
    });

    it.each([
      ['too old', 'trimmed', (cursors: string[]) => cursors[1]!],
      ['of another epoch', 'reset', (cursors: string[]) => `other~${cursors[9]!.split('~')[1]}`],
      ['after the end', 'rewound', (cursors: string[]) => `${cursors[0]!.split('~')[0]}~zzzzzzzzzz-0`],
      ['garbage', 'invalid', () => 'garbage'],
      ['hostile', 'invalid', () => `${'x'.repeat(4_000)}~1-1`],
    ])('tells one gap for a cursor that is %s, then what the log has, then live', async (_what, reason, cursorOf) => {
      const cursors = await place('7', 1, 30);
      const client = await connect('/orders/7/events', { lastEventId: cursorOf(cursors) });
      await client.receive(20);
      await place('7', 31, 31);
      await client.receive(21);
      expect(client.events.slice(0, 2).map(({ name }) => name)).toEqual(['$open', '$gap']);
      expect(client.open!.topics).toEqual([{ topic: 'orders/7', resumed: false, gap: reason }]);
      expect(client.gaps).toEqual([{ topic: 'orders/7', reason }]);
      expect(numbers(client)).toEqual(Array.from({ length: 21 }, (_, n) => n + 11));
      expect(client.text).not.toContain('garbage');
    });

    it('begins at the earliest record, or at the last n, where the route or the handler says so', async () => {
      await place('7', 1, 25);
      const earliest = await connect('/orders/7/earliest');
      const last = await connect('/orders/7/last?n=3');
      await earliest.receive(20);
      await last.receive(3);
      await place('7', 26, 26);
      await earliest.receive(21);
      await last.receive(4);
      expect([numbers(earliest)[0], earliest.gaps]).toEqual([6, []]);
      expect([numbers(last), last.gaps]).toEqual([[23, 24, 25, 26], []]);
    });

    it('carries only what the filter of its connection lets through', async () => {
      const client = await (await connect('/orders/7/even')).opened();
      const cursors = await place('7', 1, 6);
      await client.receive(3);
      const resumed = await connect('/orders/7/even', { lastEventId: cursors[1]! });
      await resumed.receive(2);
      expect([numbers(client), numbers(resumed)]).toEqual([
        [2, 4, 6],
        [4, 6],
      ]);
    });

    it('carries several topics in the order of publishing, and one cursor resumes them all', async () => {
      const client = await (await connect('/orders/a/and/b')).opened();
      for (let number = 1; number <= 10; number += 1) await place(number % 2 === 0 ? 'a' : 'b', number, number);
      await client.receive(10);
      const middle = client.named('order.placed')[4]!.cursor;
      const resumed = await connect('/orders/a/and/b', { lastEventId: middle });
      await resumed.receive(5);
      expect(numbers(client)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(numbers(resumed)).toEqual([6, 7, 8, 9, 10]);
      expect(resumed.open!.topics.map(({ topic: name, resumed: whole }) => [name, whole])).toEqual([
        ['orders/a', true],
        ['orders/b', true],
      ]);
    });

    it('sends a heartbeat when nothing else was, which carries the cursor forward', async () => {
      const client = await (await connect('/orders/quiet')).opened();
      const opened = client.cursor;
      await client.until(({ comments, cursor }) => comments >= 3 && cursor !== opened, 'three heartbeats');
      const { cursor } = client;
      client.leave();
      await bus.publish(quietChannel.topic(), OrderPlaced, { number: 1 });
      const resumed = await connect('/orders/quiet', { lastEventId: cursor });
      await resumed.receive(1);
      expect([numbers(resumed), resumed.gaps]).toEqual([[1], []]);
    });

    it('ends with $closing and leave to come back when its grant expires', async () => {
      const client = await (await connect('/orders/7/expiring')).end();
      expect(client.closing).toEqual({ reason: 'expired', comeBack: true });
    });

    it('is released at once when its peer leaves', async () => {
      const client = await (await connect('/orders/7/events')).opened();
      expect(hub.snapshot()).toEqual({ connections: 1, feeds: 1, subscriptions: 1 });
      client.leave();
      await eventually(() => hub.snapshot().connections === 0, 'no connection');
      expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
    });
  });

  describe('before the first byte', () => {
    it.each([
      ['a guard that refuses', '/orders/7/guarded', {}, 403],
      ['a guard that throws', '/orders/7/guarded', { 'x-key': 'wrong' }, 403],
      ['a pipe that refuses', '/orders/numbered/seven', {}, 400],
      ['a handler that throws', '/orders/numbered/0', {}, 400],
      ['a handler that returns nothing', '/orders/7/lost', {}, 500],
      ['an unknown version', '/orders/7/versioned', { 'x-version': '3' }, 404],
      ['an Accept that excludes event streams and JSON', '/orders/7/events', { accept: 'image/png' }, 406],
      ['a stream whose handler throws', '/streams/thrown', {}, 400],
      ['a stream whose handler rejects', '/streams/rejected', {}, 403],
      ['a stream that is none', '/streams/not-a-stream', {}, 500],
    ])('%s answers with its status', async (_what, path, headers, status) => {
      const client = await (await connect(path, { headers })).end();
      expect([client.status, client.headers['content-type']]).toEqual([status, 'application/json; charset=utf-8']);
      expect(JSON.parse(client.text)).toMatchObject({ statusCode: status });
    });

    it.each(['text/event-stream', 'text/*', '*/*', 'text/html, */*;q=0.1', ''])(
      'an Accept of "%s" is served',
      async (accept) => {
        const client = await connect('/orders/7/events', accept === '' ? {} : { headers: { accept } });
        expect(client.status).toBe(200);
      },
    );

    it('headers of the route, of interceptors and of CORS are sent, and win over ours', async () => {
      const { status, headers } = await connect('/orders/7/guarded', {
        headers: { 'x-key': 'right', origin: 'https://shop.example' },
      });
      expect(status).toBe(200);
      expect(headers).toMatchObject({
        'x-order': 'guarded',
        'x-trace': 'traced',
        'cache-control': 'private',
        'access-control-allow-origin': 'https://shop.example',
        'access-control-allow-credentials': 'true',
        'content-type': 'text/event-stream',
      });
    });

    it('a version that is right is served', async () => {
      const { status } = await connect('/orders/7/versioned', { headers: { 'x-version': '2' } });
      expect(status).toBe(200);
    });

    it('HEAD answers with the headers and ends', async () => {
      const client = await (await connect('/orders/7/events', { method: 'HEAD' })).end();
      expect([client.status, client.headers['content-type'], client.text]).toEqual([200, 'text/event-stream', '']);
    });
  });

  describe('a stream of one connection', () => {
    it('carries an Observable and ends for good when that completes', async () => {
      const client = await (await connect('/streams/count/3')).end();
      expect(client.text).toBe(
        `retry: ${client.retries[0]}\nevent: $open\ndata: {"protocol":1,"connection":"${client.open!.connection}","heartbeatMs":10000,"topics":[]}\n\n` +
          'event: progress.made\ndata: {"percent":1}\n\n' +
          'event: progress.made\ndata: {"percent":2}\n\n' +
          'event: progress.made\ndata: {"percent":3}\n\n' +
          'id: $end\nevent: $closing\ndata: {"reason":"done","comeBack":false}\n\n',
      );
      const again = await (await connect('/streams/count/3', { lastEventId: client.cursor })).end();
      expect([again.status, again.text]).toEqual([204, '']);
    });

    it('carries an async iterable, a promise of an Observable, and answers 200 to a POST', async () => {
      const generated = await (await connect('/streams/generated/2000')).end();
      const promised = await (await connect('/streams/promised')).end();
      const posted = await (await connect('/streams/posted', { method: 'POST', body: { percent: 7 } })).end();
      expect(generated.named('progress.made').map(({ data }) => data.percent)).toEqual(
        Array.from({ length: 2_000 }, (_, n) => n + 1),
      );
      expect(promised.named('progress.made')).toMatchObject([{ data: { percent: 100 } }]);
      expect([posted.status, posted.named('progress.made')]).toMatchObject([200, [{ data: { percent: 7 } }]]);
    });

    it('tells an error after the first byte safely, and whether to come back', async () => {
      const failing = await (await connect('/streams/failing')).end();
      const refusing = await (await connect('/streams/refusing')).end();
      expect(failing.events.slice(1)).toMatchObject([
        { name: 'progress.made', data: { percent: 1 } },
        { name: '$error', data: { message: 'Internal server error', status: 500, comeBack: true } },
        { name: '$closing', data: { reason: 'failed', comeBack: true } },
      ]);
      expect(failing.text).not.toContain('secret');
      expect(refusing.events.slice(2)).toMatchObject([
        { name: '$error', data: { message: 'Your grant was withdrawn', status: 403, comeBack: false } },
        { name: '$closing', data: { reason: 'failed', comeBack: false } },
      ]);
      expect(refusing.cursor).toBe('$end');
    });

    it.each(['invalid', 'undeclared'])(
      'an event that is %s ends the stream as failed and is not sent',
      async (what) => {
        const other = await (await connect('/streams/endless')).receive(1);
        const client = await (await connect(`/streams/${what}`)).end();
        expect(client.events.slice(1)).toMatchObject([
          { name: '$error' },
          { name: '$closing', data: { reason: 'failed' } },
        ]);
        expect(other).toHaveLength(1);
        expect(clients[0]!.ended).toBe(false);
      },
    );

    it('is unsubscribed and its signals are aborted when its peer leaves', async () => {
      const client = await connect('/streams/endless');
      await client.receive(1);
      client.leave();
      await eventually(() => witnessed.length === 3, 'three witnesses');
      expect([...witnessed].sort()).toEqual([
        'connection signal aborted',
        'nest signal aborted',
        'observable unsubscribed',
      ]);
    });

    it('gives its handler the cursor and the connection', async () => {
      const client = await (await connect('/streams/told', { lastEventId: 'what ever' })).end();
      const { note } = client.named('order.noted')[0]!.data;
      expect(JSON.parse(note)).toEqual({ lastEventId: 'what ever', connection: client.open!.connection });
    });

    it('resumes an Observable whose items carry cursors', async () => {
      const first = await (await connect('/streams/numbered/5')).end();
      const third = first.named('progress.made')[2]!.cursor;
      const resumed = await (await connect('/streams/numbered/5', { lastEventId: third })).end();
      const foreign = await (await connect('/streams/numbered/5', { lastEventId: 'run0~3-0' })).end();
      expect(resumed.named('progress.made').map(({ data }) => data.percent)).toEqual([4, 5]);
      expect([foreign.gaps[0]!.reason, foreign.named('progress.made')]).toMatchObject(['reset', { length: 5 }]);
    });

    it('carries what bus.stream() emits, replay and gap included', async () => {
      const cursors = await place('7', 1, 30);
      const whole = await connect('/streams/piped/7', { lastEventId: cursors[19]! });
      const broken = await connect('/streams/piped/7', { lastEventId: cursors[2]! });
      await whole.receive(10);
      await broken.receive(20);
      await place('7', 31, 31);
      await whole.receive(11);
      expect(whole.named('order.placed').at(-1)).toMatchObject({ data: { number: 31 } });
      expect([numbers(whole)[0], whole.gaps]).toEqual([21, []]);
      expect([numbers(broken)[0], broken.gaps]).toEqual([11, [{ topic: 'orders/7', reason: 'trimmed' }]]);
    });
  });

  describe('when the application closes', () => {
    it('every stream gets what was published, then $closing, and close() resolves', async () => {
      const channel = await (await connect('/orders/7/events')).opened();
      const stream = await connect('/streams/endless');
      await stream.receive(1);
      void bus.publish(topic('7'), OrderPlaced, { number: 1 });
      await running.app.close();
      await channel.end();
      await stream.end();
      expect(channel.events.slice(1)).toMatchObject([
        { name: 'order.placed', data: { number: 1 } },
        { name: '$closing', data: { reason: 'drained', comeBack: true } },
      ]);
      expect(stream.closing).toEqual({ reason: 'drained', comeBack: true });
      expect(channel.retries).toHaveLength(2);
    });
  });
});
