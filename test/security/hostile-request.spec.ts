import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus, Hub } from '@sse-channels/nest';
import { eventually, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesModule, notesChannel, NoteTaken, StreamsController } from './notes.module.js';
import { RawRequest } from './raw-request.js';

const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });
/** What no answer may repeat. */
const MARK = 'm4rk';

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let hub: Hub;
  const clients: Array<{ leave(): void }> = [];

  const connect = async (path: string, request?: SseTestRequest): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path, request);
    clients.push(client);
    return client;
  };
  const send = (bytes: string): RawRequest => {
    const request = new RawRequest(running.url, bytes);
    clients.push(request);
    return request;
  };
  const text = (path: string, ...headers: string[]): string =>
    [`GET ${path} HTTP/1.1`, 'Host: notes.example', ...headers, '', ''].join('\r\n');
  const publish = (note: string): Promise<string> => bus.publish(topic, NoteTaken, { text: note });

  beforeEach(async () => {
    running = await startApp(make, NotesModule);
    bus = running.app.get(EventBus);
    hub = running.app.get(Hub);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
    expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  describe('a cursor in the query', () => {
    it.each([
      ['a list by its brackets', `lastEventId[]=${MARK}`, null],
      ['an object by its brackets', `lastEventId[toString]=${MARK}`, null],
      ['empty', 'lastEventId=', null],
      ['given twice', `lastEventId=${MARK}&lastEventId=${MARK}~1-1`, 'invalid'],
      ['huge', `lastEventId=${MARK.repeat(2_000)}`, 'invalid'],
      ['not UTF-8', `lastEventId=${MARK}%E0%A4%A`, 'invalid'],
      ['a line of its own', `lastEventId=${MARK}%0D%0Aevent:%20admin%0A%0A`, 'invalid'],
      ['NUL', `lastEventId=${MARK}%00`, 'invalid'],
      ['markup', `lastEventId=<script>${MARK}</script>`, 'invalid'],
      ['the last cursor in other letters', `lastEventId=$END${MARK}`, 'invalid'],
      ['that of another epoch', `lastEventId=${MARK}~1-1`, 'reset'],
    ])('that is %s opens the stream, is at most a gap, and is not repeated', async (_what, query, reason) => {
      const client = await (await connect(`/notes/ada/plans/events?${query}`)).opened();
      const own = await connect(`/streams/numbered?${query}`);

      await publish('next');
      await client.receive(1);
      await own.receive(3);

      const gaps = reason === null ? [] : [reason];
      expect([client.status, own.status]).toEqual([200, 200]);
      expect([client.gaps, own.gaps].map((told) => told.map((gap) => gap.reason))).toEqual([gaps, gaps]);
      expect(client.text + own.text).not.toContain(MARK);
      expect(JSON.stringify([client.headers, own.headers])).not.toContain(MARK);
    });
  });

  describe('a Last-Event-ID', () => {
    it.each([
      ['of bytes outside ASCII', `Last-Event-ID: ${MARK}\xff\xfe\xc3\xa9`],
      ['sent twice', `Last-Event-ID: ${MARK}\r\nLast-Event-ID: ${MARK}`],
      ['of 8,000 bytes', `Last-Event-ID: ${'x'.repeat(8_000)}${MARK}`],
      ['with a tab', `Last-Event-ID: ${MARK}\t~1-1`],
      ['with a list', `Last-Event-ID: ${MARK}~1-1, ${MARK}~1-2`],
    ])('%s is a gap, and is not repeated', async (_what, header) => {
      const request = send(text('/notes/ada/plans/events', header));
      const own = send(text('/streams/numbered', header));

      await request.until(({ text: wire }) => wire.includes('event: $gap'), 'a gap');
      await own.until(({ text: wire }) => wire.includes('{"text":"3"}'), 'three notes');

      expect([request.status, own.status]).toEqual([200, 200]);
      expect(request.text).toContain('"reason":"invalid"');
      expect(own.text).toContain('"reason":"invalid"');
      expect(request.text + own.text).not.toContain(MARK);
    });

    it.each([
      ['with NUL', 'Last-Event-ID: a\0b'],
      ['with a bare CR', 'Last-Event-ID: a\rX-Other: b'],
    ])('%s is refused before us', async (_what, header) => {
      const request = await send(text('/notes/ada/plans/events', header)).answered();
      expect(request.status).toBe(400);
    });
  });

  it('headers of more than 16 KiB are refused before us, and nothing is left of them', async () => {
    const request = await send(text('/notes/ada/plans/events', `Last-Event-ID: ${'x'.repeat(20_000)}`)).answered();
    await request.until(({ ended }) => ended, 'the end');

    expect(request.status).toBe(431);
    expect(hub.snapshot().connections).toBe(0);
  });

  it('a path that is no UTF-8 is refused with 400', async () => {
    const request = await send(text('/notes/%E0%A4%A/plans/events')).answered();
    expect(request.status).toBe(400);
  });

  describe('a parameter that a topic refuses', () => {
    it.each([
      ['too large', `/notes/found?owner=${'x'.repeat(5_000)}&title=x`],
      ['missing', '/notes/found?title=x'],
      ['empty', '/notes/found?owner=&title=x'],
      ['a list', '/notes/found?owner=a&owner=b&title=x'],
      ['unknown', `/notes/found?owner=a&title=x&${MARK}=<script>`],
      ['refused after a wait', '/notes/later'],
    ])('is answered 400, clearly, and not repeated: %s', async (_what, path) => {
      const client = await (await connect(path)).end();

      const body = JSON.parse(client.text) as { statusCode: number; message: string };
      expect([client.status, body.statusCode]).toEqual([400, 400]);
      expect(body.message).toMatch(/parameter/i);
      expect(client.headers['content-type']).toMatch(/^application\/json/);
      expect(client.text).not.toMatch(new RegExp(`${MARK}|script|xxx|at .*\\(`));
    });
  });

  it('nothing of a request is repeated in a stream: not of its headers, its query, its cookies', async () => {
    const headers = {
      'user-agent': MARK,
      cookie: `a=${MARK}`,
      authorization: `Bearer ${MARK}`,
      origin: `https://${MARK}.example`,
      'x-forwarded-for': MARK,
      'x-request-id': MARK,
      'accept-language': MARK,
    };
    const client = await (await connect(`/notes/ada/plans/events?${MARK}=${MARK}`, { headers })).opened();
    await publish('x');
    await client.receive(1);

    expect(client.text + JSON.stringify(client.headers)).not.toContain(MARK);
  });

  it('a parameter of the path is in the stream only as a topic, percent-encoded', async () => {
    const client = await (await connect(`/notes/${encodeURIComponent('<b>"\n\n')}/x/events`)).opened();
    expect(client.open!.topics[0]!.topic).toBe('notes/%3Cb%3E%22%0A%0A/x');
    expect(client.text).not.toMatch(/[<>]/);
  });

  it('an error after the first byte shows nothing of its cause', async () => {
    StreamsController.cursor = `${MARK}\n`;
    const client = await (await connect('/streams/placed')).end();
    expect(client.named('$error').map(({ data }) => data)).toEqual([
      { message: 'Internal server error', status: 500, comeBack: true },
    ]);
    expect(client.text).not.toContain(MARK);
  });

  describe('nosniff', () => {
    it.each([
      ['a stream', '/notes/ada/plans/events', {}, 200],
      ['a stream of one connection', '/streams/over', {}, 200],
      ['a stream that is over for good', '/streams/over', { 'last-event-id': '$end' }, 204],
      ['a parameter that is refused', '/notes/found?title=x', {}, 400],
      ['an Accept that excludes streams', '/notes/ada/plans/events', { accept: 'text/html' }, 406],
      ['a handler with a mistake', '/notes/mistaken', {}, 500],
    ])('is said by %s', async (_what, path, headers, status) => {
      const client = await connect(path, { headers });
      expect([client.status, client.headers['x-content-type-options']]).toEqual([status, 'nosniff']);
    });

    it('is said while the server drains', async () => {
      await hub.drain({ graceMs: 0, retryMs: () => 20 });
      const client = await connect('/notes/ada/plans/events');
      expect([client.status, client.headers['x-content-type-options']]).toEqual([503, 'nosniff']);
    });
  });

  describe('a body', () => {
    it('of more than a megabyte is refused on a POST stream', async () => {
      const client = await connect('/streams/asked', { method: 'POST', body: { text: 'x'.repeat(1_100_000) } });
      expect(client.status).toBe(413);
      expect(client.events).toEqual([]);
    });

    it('that is no JSON is refused on a POST stream', async () => {
      const body = '{"text":';
      const request = send(
        `POST /streams/asked HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      expect((await request.answered()).status).toBe(400);
    });

    it('10,000 levels deep neither ends the process nor is published', async () => {
      const client = await (await connect('/notes/ada/plans/events')).opened();
      const body = `{"text":"x","meta":${'['.repeat(10_000)}${']'.repeat(10_000)}}`;
      const post = (path: string): Promise<Response> =>
        fetch(running.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });

      const asked = await post('/streams/asked');
      const taken = await post('/notes/ada/plans');
      await publish('after');
      await client.receive(1);

      expect([asked.status, taken.status]).toEqual([200, 500]);
      expect(client.applicationEvents.map(({ data }) => data)).toEqual([{ text: 'after' }]);
    });

    it.each(['__proto__', 'constructor'])('with the key %s is not published', async (key) => {
      const client = await (await connect('/notes/ada/plans/events')).opened();

      const response = await fetch(`${running.url}/notes/ada/plans`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"text":"x","${key}":{"prototype":{"polluted":1}}}`,
      });
      await publish('after');
      await client.receive(1);

      expect(response.ok).toBe(false);
      expect(client.applicationEvents.map(({ data }) => data)).toEqual([{ text: 'after' }]);
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    });
  });

  describe('requests on one socket', () => {
    it.each([
      ['two lengths', 'Content-Length: 4\r\nContent-Length: 0'],
      ['a length and chunks', 'Content-Length: 4\r\nTransfer-Encoding: chunked'],
      ['a coding that is none', 'Transfer-Encoding: xchunked'],
      ['a name with a blank', 'Content-Length : 4'],
      ['a length that is none', 'Content-Length: 4x'],
    ])('with %s are refused before us, and open streams go on', async (_what, headers) => {
      const client = await (await connect('/notes/ada/plans/events')).opened();

      const request = await send(
        `POST /streams/asked HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n0\r\n\r\n${text('/notes/ada/plans/events')}`,
      ).until(({ ended }) => ended, 'the end');
      await publish('next');
      await client.receive(1);

      expect(Math.floor(request.status / 100)).toBe(4);
      expect(request.text).not.toContain('event-stream');
      expect(hub.snapshot().connections).toBe(1);
    });

    it('wait for each other: the second answer is never written into the first stream', async () => {
      const path = '/notes/ada/plans/events';
      const pipelined = send(text(path) + text('/streams/over') + text(path));
      await pipelined.until(({ text: wire }) => wire.includes('$open'), '$open');

      await publish('first');
      await publish('second');
      await pipelined.until(({ text: wire }) => wire.includes('second'), 'the second note');

      expect(pipelined.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
      expect(pipelined.text.match(/data: \{"text":"first"\}/g)).toHaveLength(1);
      expect(chunksIn(pipelined.text)).toBe('open');
    });

    it('answer one after the other where the first stream ends', async () => {
      const pipelined = send(text('/streams/over').repeat(3));
      await pipelined.until(({ text: wire }) => wire.split('event: $closing').length === 4, 'three ends');

      const answers = pipelined.text.split(/(?=HTTP\/1\.1 )/);
      expect(answers.map(chunksIn)).toEqual(['ended', 'ended', 'ended']);
    });

    it('that turn to garbage behind a stream end it, and nothing of them is repeated', async () => {
      const pipelined = send(text('/notes/ada/plans/events'));
      await pipelined.until(({ text: wire }) => wire.includes('$open'), '$open');
      const opened = pipelined.text;

      pipelined.write('\0\x01\x02 HTTP/1.1 200 OK\r\n\r\nevent: admin\n\n');
      await pipelined.until(({ ended }) => ended, 'the end');
      await eventually(() => hub.snapshot().connections === 0, 'no connection');

      // Fastify writes an answer of its own behind the stream before it cuts.
      expect(pipelined.text.startsWith(opened)).toBe(true);
      expect(pipelined.text).not.toContain('admin');
    });
  });
});

/** Reads an answer's chunks (RFC 9112, section 7.1): whether they have ended, and whether all is in its place. */
function chunksIn(answer: string): 'open' | 'ended' | 'broken' {
  let at = answer.indexOf('\r\n\r\n') + 4;
  while (at < answer.length) {
    const head = /^([0-9a-f]+)\r\n/.exec(answer.slice(at, at + 20));
    if (head === null) return 'broken';
    const size = Number.parseInt(head[1] as string, 16);
    at += head[0].length + size;
    if (answer.slice(at, at + 2) !== '\r\n') return 'broken';
    at += 2;
    if (size === 0) return at === answer.length ? 'ended' : 'broken';
  }
  return 'open';
}
