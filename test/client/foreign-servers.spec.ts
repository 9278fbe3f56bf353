/** Servers that know nothing of this library are read without a contract: Nest's own `@Sse()`, better-sse, and the form of Mercure. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Sse, type MessageEvent } from '@nestjs/common';
import { createSseClient, type ClientEvent, type SseClient, type SseClientOptions } from '@sse-channels/client';
import { eventually } from '@sse-channels/testing';
import { createChannel, createSession, type SessionOptions } from 'better-sse';
import { interval, map, NEVER, startWith, take, type Observable } from 'rxjs';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { RawServer } from './raw-server.js';

@Controller()
class PlainController {
  @Sse('ticks')
  ticks(): Observable<MessageEvent> {
    return interval(1).pipe(
      take(5),
      map((n) => ({ data: { n }, id: String(n), type: 'tick', retry: 20 })),
    );
  }

  @Sse('words')
  words(): Observable<MessageEvent> {
    return NEVER.pipe(startWith({ data: 'hello' }));
  }
}

@Module({ controllers: [PlainController] })
class PlainModule {}

let client: SseClient | undefined;
let events: ClientEvent[] = [];

function open(url: string, options: SseClientOptions = {}): SseClient {
  events = [];
  client = createSseClient(url, { retryMs: 5, ...options });
  client.on((event) => events.push(event));
  return client;
}

const received = (count: number): Promise<void> => eventually(() => events.length >= count, `${count} events`);

afterEach(() => client?.close());

describe.each(adapters)("Nest's own @Sse(), on $adapter", ({ make }) => {
  let running: RunningApp;

  afterEach(() => running.app.close());

  it('is read: names, ids, data; and again after each end', async () => {
    running = await startApp(make, PlainModule);
    open(`${running.url}/ticks`);
    await received(10);

    expect(events.slice(0, 5)).toEqual(
      [0, 1, 2, 3, 4].map((n) => ({ name: 'tick', data: { n }, cursor: String(n), topic: null })),
    );
    // It does not resume: what it repeats has the ids of before, and no epoch to tell them doubles by.
    expect(events.slice(5, 10).map(({ data }) => data)).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })));
  });

  it('is read where it sends plain text without a name', async () => {
    running = await startApp(make, PlainModule);
    const opened = open(`${running.url}/words`);
    await received(1);

    expect(events).toEqual([{ name: 'message', data: 'hello', cursor: '1', topic: null }]);
    expect(opened.state.status).toBe('open');
  });
});

describe('a server of better-sse', () => {
  let server: Server;
  let asked: IncomingMessage[];
  let channel: ReturnType<typeof createChannel>;
  /** What was broadcast, with its id: the application's own, better-sse keeps nothing. */
  let history: Array<readonly [id: string, data: unknown]>;

  afterEach(async () => {
    client?.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  /** Lets each who comes have what came after the id that it brings, and then what is broadcast. */
  async function listen(options: SessionOptions = {}): Promise<string> {
    asked = [];
    history = [];
    channel = createChannel();
    const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      asked.push(request);
      const session = await createSession(request, response, { retry: 10, ...options });
      const after = history.findIndex(([id]) => id === session.lastId);
      for (const [id, data] of history.slice(after + 1)) session.push(data, 'noted', id);
      channel.register(session);
    };
    server = createServer((request, response) => void serve(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/sse`;
  }

  function broadcast(data: unknown): string {
    const id = crypto.randomUUID();
    history.push([id, data]);
    channel.broadcast(data, 'noted', { eventId: id });
    return id;
  }

  it('is read: its padding, what one session is sent, in a batch or not, and what all are broadcast', async () => {
    const url = await listen();
    channel.on('session-registered', (session) => {
      session.push('hello');
      void session.batch((batch) => void batch.push([1], 'batched', 'x').push({ text: 'a\nb' }, 'batched', 'y'));
    });
    const opened = open(`${url}?padding=1`);
    await received(3);
    const id = broadcast(null);
    await received(4);

    expect(events).toEqual([
      { name: 'message', data: 'hello', cursor: expect.stringMatching(/^[\da-f-]{36}$/), topic: null },
      { name: 'batched', data: [1], cursor: 'x', topic: null },
      { name: 'batched', data: { text: 'a\nb' }, cursor: 'y', topic: null },
      { name: 'noted', data: null, cursor: id, topic: null },
    ]);
    expect(opened.state.status).toBe('open');
  });

  it.each(['header', 'query'] as const)('is gone on with where it was cut, by the id in the %s', async (cursorIn) => {
    const url = await listen();
    open(url, { cursorIn });
    const ids: string[] = [];
    for (let number = 1; number <= 60; number += 1) {
      ids.push(broadcast(number));
      if (number % 20 !== 0) continue;
      await received(number);
      server.closeAllConnections();
    }
    // After three short streams it is asked once for what it does not have, and read on as a stream.
    await eventually(() => asked.length === 5, 'a fifth request');
    ids.push(broadcast(61));
    await received(61);

    expect(events.map(({ data, cursor }) => [cursor, data])).toEqual(ids.map((id, index) => [id, index + 1]));
    expect(
      asked.map(({ url: path = '', headers }) =>
        cursorIn === 'header' ? headers['last-event-id'] : new URL(path, url).searchParams.get('lastEventId'),
      ),
    ).toEqual([cursorIn === 'header' ? undefined : null, ids[19], ids[39], ids[59], ids[59]]);
    expect(asked.map(({ headers }) => headers.accept)).toEqual([
      ...[1, 2, 3].map(() => 'text/event-stream'),
      'application/json',
      'text/event-stream',
    ]);
  });

  it('is known to be alive by its keep-alive, and to be silent without', async () => {
    let keptAlive = 0;
    const counted = async (url: string, init: RequestInit): Promise<Response> => {
      const response = await fetch(url, init);
      const count = new TransformStream<Uint8Array, Uint8Array>({
        transform(bytes, controller) {
          if (Buffer.from(bytes).toString() === ':\n\n') keptAlive += 1;
          controller.enqueue(bytes);
        },
      });
      return new Response(response.body?.pipeThrough(count), response);
    };
    const opened = open(await listen({ keepAlive: 20 }), { heartbeatMs: 400, fetch: counted });
    await eventually(() => keptAlive >= 60, 'more of them than one silence holds');
    expect([asked.length, opened.state.status, events]).toEqual([1, 'open', []]);
    opened.close();
    server.close();

    const reasons: string[] = [];
    open(await listen({ keepAlive: null }), { heartbeatMs: 20 }).onState(({ reason }) => reasons.push(reason));
    await eventually(() => asked.length > 1, 'a second request');
    expect(reasons).toContain('silent');
  });
});

describe('a foreign server', () => {
  let server: RawServer;

  afterEach(() => server.close());

  it('in the form of Mercure is read: topics in the query, a bearer, ids that are URNs, updates of several lines', async () => {
    const id = (n: number): string => `urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4e${n}`;
    server = await RawServer.listen((response, { headers }) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'last-event-id': headers['last-event-id'] ?? id(0),
        link: '</.well-known/mercure>; rel="mercure"',
      });
      response.write(':\n');
      if (headers['last-event-id'] === undefined) {
        response.end(`id: ${id(1)}\ndata: {\ndata:   "status": "shipped"\ndata: }\n\n`);
      } else response.write(`event: deleted\nid: ${id(2)}\ndata: gone\n\n:\n`);
    });
    open(`${server.origin}/.well-known/mercure`, {
      query: { topic: ['https://example.com/books/{id}', '/users/1'] },
      headers: () => ({ authorization: 'Bearer jwt' }),
    });
    await received(2);

    expect(events).toEqual([
      { name: 'message', data: { status: 'shipped' }, cursor: id(1), topic: null },
      { name: 'deleted', data: 'gone', cursor: id(2), topic: null },
    ]);
    expect(server.requests).toMatchObject([
      {
        url: '/.well-known/mercure?topic=https%3A%2F%2Fexample.com%2Fbooks%2F%7Bid%7D&topic=%2Fusers%2F1',
        headers: { authorization: 'Bearer jwt' },
      },
      { headers: { 'last-event-id': id(1) } },
    ]);
  });

  it('that streams tokens of text by POST is read as text, and is not asked twice once it is closed', async () => {
    server = await RawServer.listen((response, { body }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const token of [...(JSON.parse(body) as { prompt: string }).prompt.split(''), '[DONE]'])
        response.write(`data: ${token}\n\n`);
    });
    const opened = open(`${server.origin}/v1/answers`, { body: { prompt: '1+1' }, decode: (text) => text });
    const tokens: unknown[] = [];
    for await (const { data } of opened) {
      if (data === '[DONE]') break;
      tokens.push(data);
    }
    opened.close();

    expect(tokens).toEqual(['1', '+', '1']);
    expect(server.requests).toHaveLength(1);
  });
});
