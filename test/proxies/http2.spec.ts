/** Streams over HTTP/2: from Fastify, with TLS and without, and from nginx and HAProxy in front of an application. */
import { once } from 'node:events';
import { connect, type ClientHttp2Session } from 'node:http2';
import type { Server } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus, Hub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { OrderPlaced, ordersChannel, OrderShipped, OrdersModule } from '../http/orders.module.js';
import { haproxy, nginx, startHaproxy, startNginx } from './reverse-proxy.js';
import { selfSigned } from './self-signed.js';
import { claimHeartbeatsKeepIdleStreams, claimStreamsPass, type Way } from './stream-claims.js';
import { StreamReader, type OpenStream } from './stream-reader.js';

const STREAMS = 50;
const NOTHING = { connections: 0, feeds: 0, subscriptions: 0 };
/** What a response of HTTP/2 must not have, RFC 9113, section 8.2.2. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'];

const certificate = selfSigned();

async function openSession(origin: string): Promise<ClientHttp2Session> {
  const session = connect(origin, { ca: certificate.cert });
  session.on('error', () => undefined);
  await once(session, 'connect');
  return session;
}

/** A way over one session to what listens at an origin. */
async function over(running: RunningApp, origin: string, stop = async (): Promise<void> => undefined): Promise<Way> {
  const session = await openSession(origin);
  return {
    running,
    open: StreamReader.http2(session),
    stop: async () => {
      session.destroy();
      await stop();
    },
  };
}

const startFastify = (tls: boolean): Promise<RunningApp> =>
  startApp(
    // Its type follows the kind of server, which only this spec knows.
    () => new FastifyAdapter({ http2: true, ...(tls ? { https: certificate } : {}) } as object),
    OrdersModule,
  );

describe.each([
  ['over TLS', true],
  ['in the clear (h2c)', false],
])('a client of Fastify over HTTP/2 %s', (_how, tls) => {
  describe('with one stream', () => {
    claimStreamsPass(async () => {
      const running = await startFastify(tls);
      return over(running, running.url);
    });
  });

  describe('with many streams in one session', () => {
    let running: RunningApp;
    let bus: EventBus;
    let hub: Hub;
    let session: ClientHttp2Session;
    let open: OpenStream;
    let readers: StreamReader[];

    const topic = ordersChannel.topic({ orderId: '7' });
    const place = (number: number): Promise<string> => bus.publish(topic, OrderPlaced, { number });
    const all = (): readonly number[][] => readers.map(({ numbers }) => numbers);

    beforeEach(async () => {
      running = await startFastify(tls);
      bus = running.app.get(EventBus);
      hub = running.app.get(Hub);
      session = await openSession(running.url);
      open = StreamReader.http2(session);
      readers = await Promise.all(Array.from({ length: STREAMS }, () => open('/orders/7/events')));
      await Promise.all(readers.map((reader) => reader.opened()));
    });

    afterEach(async () => {
      // Not the other way round: where a session goes while Node writes to it, Node 20 leaves streams of it unclosed.
      await running.app.close();
      session.destroy();
    });

    it('is given everything on each, while other requests are answered', async () => {
      for (let number = 1; number <= 10; number += 1) await place(number);
      const plain = await open('/orders/plain', { accept: 'application/json' });
      await Promise.all(readers.map((reader) => reader.receive(10)));
      const server = running.app.getHttpServer() as Server;
      const sockets = await promisify(server.getConnections.bind(server))();
      expect([plain.status, sockets, hub.snapshot().connections]).toEqual([200, 1, STREAMS]);
      expect(all()).toEqual(readers.map(() => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    });

    it('has no headers of a hop', () => {
      const found = readers.flatMap(({ headers }) => HOP_BY_HOP.filter((name) => headers[name] !== undefined));
      expect([found, new Set(readers.map(({ headers }) => headers['content-type']))]).toEqual([
        [],
        new Set(['text/event-stream']),
      ]);
    });

    it('ends each alone, and the others go on', async () => {
      const connected = (count: number) => () => hub.snapshot().connections === count;
      for (const [index, reader] of readers.slice(1).entries()) {
        reader.leave();
        await eventually(connected(STREAMS - 1 - index), 'one more stream released');
      }
      await place(1);
      await readers[0]?.receive(1);
      expect([hub.snapshot(), session.closed]).toEqual([{ connections: 1, feeds: 1, subscriptions: 1 }, false]);
    });

    it('resumes one of them where it ended', async () => {
      await place(1);
      await Promise.all(readers.map((reader) => reader.receive(1)));
      const [first] = readers as [StreamReader];
      first.leave();
      await place(2);
      const resumed = await open('/orders/7/events', { 'last-event-id': first.cursor });
      await resumed.receive(1);
      expect([resumed.numbers, resumed.open?.topics]).toEqual([[2], [{ topic: 'orders/7', resumed: true, gap: null }]]);
    });

    it('does not let one that stopped reading stop the others, and serves it when it reads on', async () => {
      const [stalled, ...others] = readers as [StreamReader, ...StreamReader[]];
      // Together more than its window of 65,535 bytes and what Node holds for it.
      const carrier = 'x'.repeat(30_000);
      stalled.pause();
      for (let number = 1; number <= 12; number += 1) {
        await bus.publish(topic, OrderShipped, { number, carrier });
        await Promise.all(others.map((reader) => reader.receive(number)));
      }
      const before = stalled.numbers.length;
      stalled.resume();
      await stalled.receive(12);
      expect([before, stalled.numbers]).toEqual([0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]);
    });

    it('leaves nothing behind when the session is gone', async () => {
      session.destroy();
      await eventually(() => hub.snapshot().connections === 0, 'every stream released');
      expect(hub.snapshot()).toEqual(NOTHING);
    });

    it('is told on each that the application ends, and the application does not wait for the session', async () => {
      await place(1);
      await running.app.close();
      await eventually(() => readers.every(({ ended }) => ended), 'the end of every stream');
      expect(readers.map(({ numbers, closing }) => [numbers, closing])).toEqual(
        readers.map(() => [[1], { reason: 'drained', comeBack: true }]),
      );
    });
  });
});

describe.each(adapters)('a client over HTTP/2 with TLS, before an application on $adapter', ({ make }) => {
  const files = { 'tls.pem': certificate.cert + certificate.key };

  (nginx === null ? describe.skip : describe)('of nginx', () => {
    const start = async (location = ''): Promise<Way> => {
      const running = await startApp(make, OrdersModule);
      const { port, stop } = await startNginx(running.url, {
        listen: 'ssl http2',
        server: 'ssl_certificate tls.pem; ssl_certificate_key tls.pem;',
        location,
        files,
      });
      return over(running, `https://127.0.0.1:${port}`, stop);
    };

    claimStreamsPass(start);
    claimHeartbeatsKeepIdleStreams(() => start('proxy_read_timeout 1s;'));
  });

  (haproxy === null ? describe.skip : describe)('of HAProxy', () => {
    claimStreamsPass(async () => {
      const running = await startApp(make, OrdersModule);
      const { port, stop } = await startHaproxy(running.url, {
        bind: 'ssl crt tls.pem alpn h2',
        defaults: 'option http-no-delay',
        files,
      });
      return over(running, `https://127.0.0.1:${port}`, stop);
    });
  });
});

(haproxy === null ? describe.skip : describe)('a client of HAProxy that speaks h2c to Fastify', () => {
  claimStreamsPass(async () => {
    const running = await startFastify(false);
    const { port, stop } = await startHaproxy(running.url, {
      server: 'proto h2',
      defaults: 'option abortonclose\noption http-no-delay',
    });
    return { running, open: StreamReader.http1(`http://127.0.0.1:${port}`), stop };
  });
});
