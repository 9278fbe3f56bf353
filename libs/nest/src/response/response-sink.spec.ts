import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import {
  connect as connectHttp2,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, ForbiddenException, Param, type INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { EventBus, Hub, type Observer } from '@sse-channels/engine';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { IsInt, IsString } from 'class-validator';
import { of } from 'rxjs';
import { SSE_CHANNELS_OBSERVER } from '../module/options.js';
import { SseChannelsModule } from '../module/sse-channels.module.js';
import { SseChannel } from '../route/sse-channel.decorator.js';
import { SseConnection } from '../route/sse-connection.decorator.js';
import { SseStream } from '../route/sse-stream.decorator.js';

@SseEvent('load.sent')
class LoadSent {
  @IsInt() number!: number;
  @IsString() ballast!: string;
}

const loadsChannel = defineChannel('loads/:id', { events: [LoadSent], replay: { maxBytes: 4 * 1024 * 1024 } });

const NOTHING = { connections: 0, feeds: 0, subscriptions: 0 };
const BALLAST = 'x'.repeat(65_536);
/** More than the kernel's buffers of one connection take. */
const MAX_EVENTS = 1_000;

/** How often the handlers that wait were entered, and how often they went on because their peer had left. */
const handled = { entered: 0, left: 0 };

@Controller('loads')
class LoadsController {
  @SseChannel(loadsChannel, ':id')
  loads(@Param('id') id: string) {
    return loadsChannel.topic({ id });
  }

  @SseChannel(loadsChannel, ':id/awaiting')
  async awaiting(@Param('id') id: string, @SseConnection() { signal }: SseConnection) {
    await untilAborted(signal);
    return loadsChannel.topic({ id });
  }

  @SseStream(':id/awaiting-stream', { events: [LoadSent] })
  async awaitingStream(@Param('id') _id: string, @SseConnection() { signal }: SseConnection) {
    await untilAborted(signal);
    return of(load(1));
  }

  @SseStream(':id/once', { events: [LoadSent] })
  once() {
    return of(load(1, 'only'));
  }

  @SseChannel(loadsChannel, ':id/refused')
  refused(): any {
    throw new ForbiddenException('Not for you');
  }
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  handled.entered += 1;
  if (!signal.aborted) await once(signal, 'abort');
  handled.left += 1;
}

function load(number: number, ballast = ''): LoadSent {
  return Object.assign(new LoadSent(), { number, ballast });
}

/** What the engine told. */
class Notes implements Observer {
  readonly opened: string[] = [];
  readonly ended: string[] = [];
  readonly failures: unknown[] = [];
  connectionOpened(id: string): void {
    this.opened.push(id);
  }
  connectionEnded(_id: string, reason: string): void {
    this.ended.push(reason);
  }
  failed(error: unknown): void {
    this.failures.push(error);
  }
}

let app: INestApplication;
let notes: Notes;
let hub: Hub;
let bus: EventBus;
let url: URL;
const sockets: Socket[] = [];

async function start(adapter: ExpressAdapter | FastifyAdapter): Promise<void> {
  handled.entered = 0;
  handled.left = 0;
  notes = new Notes();
  const testing = await Test.createTestingModule({
    imports: [SseChannelsModule.forRoot({ writeDeadlineMs: 100 })],
    controllers: [LoadsController],
  })
    .overrideProvider(SSE_CHANNELS_OBSERVER)
    .useValue(notes)
    .compile();
  app = testing.createNestApplication(adapter as ExpressAdapter, { logger: false, forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  url = new URL(await app.getUrl());
  hub = app.get(Hub);
  bus = app.get(EventBus);
}

/** A socket that says what it is told to; what comes is kept as text. */
async function rawSocket(): Promise<Socket & { text: string }> {
  const socket = Object.assign(connectSocket({ port: Number(url.port), host: '127.0.0.1', allowHalfOpen: true }), {
    text: '',
  });
  sockets.push(socket);
  socket.on('data', (chunk) => (socket.text += chunk.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const ask = (path: string, version = '1.1'): string => `GET ${path} HTTP/${version}\r\nHost: here\r\n\r\n`;

/** Publishes until the condition holds, at the pace at which the reader takes it. */
async function publishUntil(condition: () => boolean, read: () => number): Promise<number> {
  let published = 0;
  while (!condition()) {
    if (published < MAX_EVENTS) {
      published += 1;
      await bus.publish(loadsChannel.topic({ id: 'a' }), load(published, BALLAST));
      const least = published - 16;
      await eventually(() => read() > least);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return published;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await app.close();
  expect(hub.snapshot()).toEqual(NOTHING);
  expect(notes.failures).toEqual([]);
  expect(notes.ended).toHaveLength(notes.opened.length);
});

describe.each([
  { adapter: 'Express', make: () => new ExpressAdapter() },
  { adapter: 'Fastify', make: () => new FastifyAdapter() },
])('over HTTP/1 on $adapter', ({ make }) => {
  beforeEach(() => start(make()));

  it.each(['awaiting', 'awaiting-stream'])(
    'a peer that leaves while its handler is at work (%s) leaves nothing behind',
    async (path) => {
      const socket = await rawSocket();
      socket.write(ask(`/loads/a/${path}`));
      await eventually(() => handled.entered === 1);
      socket.destroy();
      await eventually(() => handled.left === 1);
      await eventually(() => hub.snapshot().subscriptions === 0);
      expect(notes.opened).toEqual([]);
    },
  );

  it('a peer that closes its half while its handler is at work leaves nothing behind', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a/awaiting'));
    await eventually(() => handled.entered === 1);
    socket.end();
    await eventually(() => handled.left === 1);
    await eventually(() => hub.snapshot().subscriptions === 0);
  });

  it('a peer that closes its half of a stream is released at once', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a'));
    await eventually(() => socket.text.includes('$open'));
    socket.end();
    await eventually(() => notes.ended.length === 1);
    expect([hub.snapshot(), notes.ended]).toEqual([NOTHING, ['client-left']]);
    await eventually(() => socket.closed);
  });

  it('a peer that closes its half together with its request is released at once', async () => {
    const socket = await rawSocket();
    socket.end(ask('/loads/a'));
    await eventually(() => socket.closed);
    await eventually(() => hub.snapshot().subscriptions === 0);
  });

  it('a peer that resets its connection is released at once', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a'));
    await eventually(() => socket.text.includes('$open'));
    socket.resetAndDestroy();
    await eventually(() => notes.ended.length === 1);
    expect([hub.snapshot(), notes.ended]).toEqual([NOTHING, ['client-left']]);
  });

  it('a peer that never reads ends as slow, while another one misses nothing', async () => {
    const reader = await (await SseTestClient.connect(new URL('/loads/a', url))).opened();
    const sleeper = await rawSocket();
    sleeper.write(ask('/loads/a'));
    await eventually(() => hub.snapshot().connections === 2);
    sleeper.pause();
    const read = () => reader.applicationEvents.length;
    const published = await publishUntil(() => notes.ended.length > 0, read);
    await reader.receive(published);
    expect(notes.ended).toEqual(['slow']);
    expect(reader.applicationEvents.map(({ data }) => data.number)).toEqual(
      Array.from({ length: published }, (_, n) => n + 1),
    );
    expect(hub.snapshot()).toEqual({ connections: 1, feeds: 1, subscriptions: 1 });
    reader.leave();
  });

  it('a peer that reads on after a while is served from its cursor', async () => {
    const reader = await (await SseTestClient.connect(new URL('/loads/a', url))).opened();
    for (let number = 1; number <= 3; number += 1) {
      reader.pause();
      for (let n = 0; n < 10; n += 1) await bus.publish(loadsChannel.topic({ id: 'a' }), load(number, BALLAST));
      reader.resume();
      await reader.receive(number * 10);
    }
    expect([reader.gaps, notes.ended]).toEqual([[], []]);
    reader.leave();
  });

  it('an HTTP/1.0 request is answered by a stream without chunks', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a', '1.0'));
    await eventually(() => socket.text.includes('$open'));
    const [head, body] = socket.text.split('\r\n\r\n') as [string, string];
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head.toLowerCase()).toContain('\r\nconnection: close');
    expect(head.toLowerCase()).not.toContain('transfer-encoding');
    expect(body).toMatch(/^retry: \d+\nid: .+\nevent: \$open\ndata: .+\n\n$/);
    socket.destroy();
    await eventually(() => notes.ended.length === 1);
  });

  it('a socket serves another request after a stream that ended', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const answers: Array<[number | undefined, string]> = [];
    const ports = new Set<number | undefined>();
    for (const path of ['once', 'once', 'refused', 'once']) {
      const [response] = (await once(get(new URL(`/loads/a/${path}`, url), { agent }), 'response')) as [
        IncomingMessage,
      ];
      ports.add(response.socket.localPort);
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      answers.push([response.statusCode, text]);
    }
    agent.destroy();
    const whole = expect.stringMatching(/load\.sent[^]*\$closing[^]*\n\n$/);
    expect(answers).toEqual([
      [200, whole],
      [200, whole],
      [403, expect.stringContaining('Not for you')],
      [200, whole],
    ]);
    expect(ports.size).toBe(1);
  });

  it('requests that came in one piece are answered in their order on one socket', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a/once') + ask('/loads/a/refused') + ask('/loads/b'));
    await eventually(() => socket.text.includes('loads/b'));
    expect(socket.text.match(/HTTP\/1.1 \d+|\$\w+|load\.sent/g)).toEqual([
      'HTTP/1.1 200',
      '$open',
      'load.sent',
      '$end',
      '$closing',
      'HTTP/1.1 403',
      'HTTP/1.1 200',
      '$open',
    ]);
    socket.end();
    await eventually(() => notes.ended.length === 2);
    expect(notes.ended).toEqual(['done', 'client-left']);
  });

  it('streams that wait behind another one on the same socket are released with it', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a') + ask('/loads/b') + ask('/loads/c/awaiting') + ask('/loads/d').repeat(20));
    await eventually(() => hub.snapshot().connections === 22 && handled.entered === 1);
    socket.destroy();
    await eventually(() => notes.ended.length === 22 && handled.left === 1);
    await eventually(() => hub.snapshot().subscriptions === 0);
    expect(new Set(notes.ended)).toEqual(new Set(['client-left']));
  });

  it('a stream that waited behind others on its socket is released when its peer leaves in its turn', async () => {
    const socket = await rawSocket();
    socket.write(ask('/loads/a/once') + ask('/loads/a'));
    await eventually(() => socket.text.includes('loads/a"'));
    socket.destroy();
    await eventually(() => notes.ended.length === 2);
    expect([notes.ended, hub.snapshot()]).toEqual([['done', 'client-left'], NOTHING]);
  });
});

describe('over HTTP/2 on Fastify', () => {
  let session: ClientHttp2Session;

  beforeEach(async () => {
    await start(new FastifyAdapter({ http2: true }));
    session = await openSession();
  });

  afterEach(() => session.destroy());

  async function openSession(): Promise<ClientHttp2Session> {
    const opened = connectHttp2(url, { settings: { initialWindowSize: 65_535 } });
    opened.on('error', () => undefined);
    await once(opened, 'connect');
    return opened;
  }

  /** A stream of a session; what comes is kept as text. */
  function request(path: string, on: ClientHttp2Session = session): ClientHttp2Stream & { text: string } {
    const stream = Object.assign(on.request({ ':path': path, accept: 'text/event-stream' }), { text: '' });
    stream.on('data', (chunk: Buffer) => (stream.text += chunk.toString()));
    stream.on('error', () => undefined);
    return stream;
  }

  it('a stream is answered with headers that HTTP/2 knows, carries events and ends', async () => {
    const stream = request('/loads/a/once');
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    await eventually(() => stream.closed);
    expect(headers).toMatchObject({
      ':status': 200,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-cache, must-revalidate, no-transform',
    });
    expect([headers['connection'], headers['transfer-encoding']]).toEqual([undefined, undefined]);
    expect(stream.text.match(/\$\w+|load\.sent/g)).toEqual(['$open', 'load.sent', '$end', '$closing']);
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
  });

  it('several streams share one connection, and one that is cancelled is released alone', async () => {
    const [first, second] = [request('/loads/a'), request('/loads/a')];
    await eventually(() => first.text.includes('$open') && second.text.includes('$open'));
    first.close(constants.NGHTTP2_CANCEL);
    await eventually(() => notes.ended.length === 1);
    expect([notes.ended, hub.snapshot().connections]).toEqual([['client-left'], 1]);
    await bus.publish(loadsChannel.topic({ id: 'a' }), load(1));
    await eventually(() => second.text.includes('load.sent'));
    second.close();
    await eventually(() => notes.ended.length === 2);
  });

  it('a connection that is lost releases its streams', async () => {
    const streams = [request('/loads/a'), request('/loads/b')];
    await eventually(() => streams.every(({ text }) => text.includes('$open')));
    session.destroy();
    await eventually(() => notes.ended.length === 2);
    expect([hub.snapshot(), notes.ended]).toEqual([NOTHING, ['client-left', 'client-left']]);
  });

  it.each(['awaiting', 'awaiting-stream'])(
    'a stream that is cancelled while its handler is at work (%s) leaves nothing behind',
    async (path) => {
      const stream = request(`/loads/a/${path}`);
      await eventually(() => handled.entered === 1);
      stream.close(constants.NGHTTP2_CANCEL);
      await eventually(() => handled.left === 1);
      await eventually(() => hub.snapshot().subscriptions === 0);
      expect(notes.opened).toEqual([]);
    },
  );

  it('a refusal has its status', async () => {
    const stream = request('/loads/a/refused');
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    expect(headers[':status']).toBe(403);
  });

  it('a peer that never reads ends as slow, while another one misses nothing', async () => {
    const other = await openSession();
    try {
      const reader = request('/loads/a', other);
      const sleeper = request('/loads/a');
      await eventually(() => hub.snapshot().connections === 2);
      sleeper.pause();
      const read = (): number => reader.text.split('event: load.sent').length - 1;
      const published = await publishUntil(() => notes.ended.length > 0, read);
      await eventually(() => read() === published);
      expect(notes.ended).toEqual(['slow']);
      expect(hub.snapshot()).toEqual({ connections: 1, feeds: 1, subscriptions: 1 });
    } finally {
      other.destroy();
    }
    await eventually(() => notes.ended.length === 2);
  });

  it('a peer that reads on after a while is served from its cursor', async () => {
    const stream = request('/loads/a');
    await eventually(() => stream.text.includes('$open'));
    stream.pause();
    for (let number = 1; number <= 10; number += 1) {
      await bus.publish(loadsChannel.topic({ id: 'a' }), load(number, BALLAST));
    }
    stream.resume();
    await eventually(() => stream.text.includes('"number":10,'));
    expect(stream.text.match(/"number":\d+/g)).toHaveLength(10);
    expect([stream.text.includes('$gap'), notes.ended]).toEqual([false, []]);
  });

  it('streams are ended in order when the application closes', async () => {
    const stream = request('/loads/a');
    await eventually(() => stream.text.includes('$open'));
    await app.close();
    await eventually(() => stream.closed);
    expect(stream.text).toContain('event: $closing\ndata: {"reason":"drained","comeBack":true}\n\n');
  });
});
