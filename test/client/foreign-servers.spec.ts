/** Servers that know nothing of this library are read without a contract: Nest's own `@Sse()`, and the forms of better-sse and Mercure. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Sse, type MessageEvent } from '@nestjs/common';
import { createSseClient, type ClientEvent, type SseClient, type SseClientOptions } from '@sse-channels/client';
import { eventually } from '@sse-channels/testing';
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

describe('a foreign server', () => {
  let server: RawServer;

  afterEach(() => server.close());

  it('in the form of better-sse is read: preamble, retry, heartbeats as comments, ids, JSON', async () => {
    server = await RawServer.listen((response, { headers }) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'private, no-cache, no-store, no-transform, must-revalidate, max-age=0',
        connection: 'keep-alive',
        pragma: 'no-cache',
        'x-accel-buffering': 'no',
      });
      const from = Number(headers['last-event-id'] ?? 0);
      response.write(`:${' '.repeat(2_056)}\n\nretry:10\n\n:\n\n`);
      for (let n = from + 1; n <= from + 3; n += 1) response.write(`event:greeting\ndata:{"n":${n}}\nid:${n}\n\n`);
      if (from < 6) response.end();
    });
    open(`${server.origin}/sse`);
    await received(9);

    expect(events.map(({ name, data, cursor }) => [name, data, cursor])).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => ['greeting', { n }, String(n)]),
    );
  });

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
