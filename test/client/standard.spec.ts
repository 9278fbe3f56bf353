/** What the WHATWG standard asks of an EventSource, and what web-platform-tests look at: asked of the client over real sockets. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createSseClient, type ClientEvent, type SseClient, type SseClientOptions } from '@sse-channels/client';
import { eventually } from '@sse-channels/testing';
import { bundleClient } from '../../.ci/client-bundle.mjs';
import { browser, places, type Place, type PlacedClient, type PlainOptions, type SeenState } from './places.js';
import { firstThen, RawServer, streamOf, type Answer, type SeenRequest } from './raw-server.js';

let server: RawServer;
let other: RawServer;

// Anew for each test: a request that the client of the one before had on its way would come to a server that lives on, and be counted.
beforeEach(async () => {
  server = await RawServer.listen();
  other = await RawServer.listen();
});

afterEach(async () => {
  await server.close();
  await other.close();
});

describe.each(places)('in $place', (place) => {
  let client: PlacedClient | undefined;

  beforeAll(() => place.start(), 60_000);

  afterAll(() => place.stop());

  afterEach(() => client?.close());

  async function start(options: PlainOptions = {}): Promise<PlacedClient> {
    client = await place.open(`${server.origin}/stream`, { retryMs: 5, longPoll: false, ...options });
    return client;
  }

  /** What a stream of these bytes is read as, up to an event with the data "end". */
  async function read(...chunks: Array<string | Uint8Array>): Promise<string[]> {
    server.answer(streamOf(...chunks, '\n\ndata: end\n\n'));
    const opened = await start();
    await eventually(async () => (await opened.events()).at(-1)?.data === 'end', 'the end');
    return (await opened.events()).slice(0, -1).map(({ name, data, cursor }) => `${name}|${data as string}|${cursor}`);
  }

  /** What it comes back with after a stream of these bytes has ended. */
  async function resumedAfter(...chunks: Array<string | Uint8Array>): Promise<string | undefined> {
    server.answer(
      firstThen(async (...given) => {
        await streamOf(...chunks)(...given);
        given[0].end();
      }, streamOf('data: again\n\n')),
    );
    const opened = await start();
    await eventually(async () => (await opened.events()).some(({ data }) => data === 'again'), 'a second stream');
    const header = server.requests[1]?.headers['last-event-id'] as string | undefined;
    return header && Buffer.from(header, 'latin1').toString('utf8');
  }

  /** Opens a client and waits until it is closed. */
  async function closed(): Promise<{ readonly state: SeenState | undefined; readonly count: number }> {
    const opened = await start();
    await eventually(async () => (await opened.states()).at(-1)?.status === 'closed', 'a closed client');
    return { state: (await opened.states()).at(-1), count: await opened.count() };
  }

  describe('the format', () => {
    it.each([
      ['one byte order mark is skipped', '\uFEFFdata:1\n\ndata:2\n\n', ['message|1|', 'message|2|']],
      ['a second one is not', '\uFEFF\uFEFFdata:1\n\ndata:2\n\n', ['message|2|']],
      ['one later on is not', 'data:1\n\n\uFEFFdata:2\n\ndata:3\n\n', ['message|1|', 'message|3|']],
      [
        'comments are ignored',
        `data:1\n:\0\n:\r\ndata:2\n:${'x'.repeat(4096)}\ndata:3\n:data:fail\n\n`,
        ['message|1\n2\n3|'],
      ],
      [
        'data before the last empty line is kept',
        'retry:5\ndata:test1\n\nid:test\ndata:test2',
        ['message|test1|', 'message|test2|test'],
      ],
      [
        'a data field may be empty',
        'data:\n\ndata\ndata\n\ndata:test\n\n',
        ['message||', 'message|\n|', 'message|test|'],
      ],
      ['one space after the colon is dropped', 'data:\ttest\rdata: \ndata:test\n\n', ['message|\ttest\n\ntest|']],
      ['event names the event', 'event:test\ndata:x\n\ndata:y\n\n', ['test|x|', 'message|y|']],
      ['an empty event is a message', 'event: \ndata:data\n\n', ['message|data|']],
      [
        'fields are parsed to the letter',
        'data:\0\ndata: 2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n',
        ['message|\0\n2\n1\n3\n\n4|'],
      ],
      [
        'unknown fields are ignored',
        'data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n',
        ['message|test\n\ntest|'],
      ],
      ['all line ends are taken', 'data:test\r\ndata\ndata:test\r\n\r', ['message|test\n\ntest|']],
      ['a NUL in the data is kept', 'data:\0\n\n\n\n', ['message|\0|']],
      ['a block without data is dispatched to nobody', 'event:a\nid:1\n\ndata:b\n\n', ['message|b|1']],
      ['text is UTF-8, whatever it claims to be', 'data:ok…\n\n', ['message|ok…|']],
      [
        'an id holds until the next',
        'id:1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n',
        ['message|a|1', 'message|b|1', 'message|c|'],
      ],
      ['an id with a NUL is none', 'id:1\ndata:a\n\nid:2\0\ndata:b\n\n', ['message|a|1', 'message|b|1']],
    ])('%s', async (_name, text, expected) => {
      expect(await read(text)).toEqual(expected);
    });

    it('drops a last block that was not ended', async () => {
      server.answer(
        firstThen(async (...given) => {
          await streamOf('data: whole\n\ndata: half\n')(...given);
          given[0].end();
        }, streamOf('data: again\n\n')),
      );
      const opened = await start();

      await eventually(async () => (await opened.count()) >= 2, 'two events');

      expect((await opened.events()).map(({ data }) => data)).toEqual(['whole', 'again']);
    });
  });

  describe('the last event id', () => {
    it.each([
      ['is sent as the bytes that it came as', 'id: …\ndata:1\n\n', '…'],
      ['is that of a block without data as well', 'id: 1\ndata:1\n\nid: 2\n\n', '2'],
      ['is not that of a block that was not ended', 'id: 1\ndata:1\n\nid: 2\n', '1'],
      ['is nothing after an empty one', 'id: 1\ndata:1\n\nid\ndata:2\n\n', undefined],
      ['is never one with a NUL', 'id: 1\ndata:1\n\nid: \0bad\ndata:2\n\n', '1'],
      ['is nothing where there was none', 'data:1\n\n', undefined],
    ])('%s', async (_name, text, expected) => {
      expect(await resumedAfter(text)).toBe(expected);
    });

    it('holds over a stream that says none', async () => {
      server.answer((response, _request, number) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        if (number < 2) response.end(number === 0 ? 'id: 7\ndata: a\n\n' : 'data: b\n\n');
        else response.write('data: end\n\n');
      });
      const opened = await start();

      await eventually(async () => (await opened.count()) === 3, 'three events');

      expect(server.requests.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '7', '7']);
      expect((await opened.events()).map(({ cursor }) => cursor)).toEqual(['7', '7', '7']);
    });
  });

  describe('retry', () => {
    /** The wait that is told after a stream of these bytes; the application's own is 5 ms, jittered. */
    async function waitAfter(text: string): Promise<number | null> {
      server.answer(
        firstThen((response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.end(text);
        }, streamOf('data: again\n\n')),
      );
      const opened = await start();
      const waits = async (): Promise<Array<number | null>> =>
        (await opened.states()).flatMap(({ reason, retryInMs }) =>
          reason === 'cut' && retryInMs !== 0 ? [retryInMs] : [],
        );
      await eventually(async () => (await waits()).length > 0, 'a wait');
      return (await waits())[0] ?? null;
    }

    it.each([
      ['is taken in milliseconds', 'retry:30\ndata:x\n\n', 30],
      ['takes one space', 'retry: 31\ndata:x\n\n', 31],
      ['takes leading zeros', 'retry:0033\ndata:x\n\n', 33],
      ['is the last one that was valid', 'retry:34\nretry:1000x\ndata:x\n\n', 34],
      ['counts without data, too', 'retry:35\n\ndata:x\n\n', 35],
    ])('%s', async (_name, text, expected) => {
      expect(await waitAfter(text)).toBe(expected);
    });

    it.each([
      'retry:1000x\ndata:x\n\n',
      'retry\ndata:x\n\n',
      'retry:-1\ndata:x\n\n',
      'retry:1.5\ndata:x\n\n',
      'retry: \ndata:x\n\n',
    ])('is not %j', async (text) => {
      expect(await waitAfter(text)).toBeLessThan(8);
    });
  });

  describe('the request', () => {
    it('asks for a stream, past every cache', async () => {
      server.answer(streamOf('data: end\n\n'));
      const opened = await start();
      await eventually(async () => (await opened.count()) === 1, 'an event');

      expect(server.requests[0]?.headers).toMatchObject({ accept: 'text/event-stream', 'cache-control': 'no-cache' });
      expect(server.requests[0]?.method).toBe('GET');
    });

    it.each([
      'text/event-stream;',
      'text/event-stream;charset=utf-8',
      'text/event-stream; charset=windows-1252',
      'Text/Event-Stream',
    ])('takes %j for a stream, and its text for UTF-8', async (type) => {
      server.answer((response) => {
        response.writeHead(200, { 'content-type': type });
        response.write('data: …\n\n');
      });
      const opened = await start();
      await eventually(async () => (await opened.count()) === 1, 'an event');

      expect((await opened.events())[0]?.data).toBe('…');
    });

    it.each(['text/x-bogus', 'text/event-streamx', 'text /event-stream', 'text/plain; charset=utf-8', ''])(
      'does not take %j for one, and does not come back',
      async (type) => {
        server.answer((response) => {
          response.writeHead(200, type === '' ? {} : { 'content-type': type }).end('data: no\n\n');
        });
        const { state, count } = await closed();

        expect(state).toMatchObject({
          reason: 'refused',
          error: { code: 'STREAM_REFUSED', status: 200, body: 'data: no\n\n' },
        });
        expect(count).toBe(0);
        expect(server.requests).toHaveLength(1);
      },
    );

    it.each([205, 210, 299, 404, 410])('does not take a %d for one, and does not come back', async (status) => {
      server.answer((response) => {
        response.writeHead(status, { 'content-type': 'text/event-stream' }).end(status === 205 ? '' : 'data: no\n\n');
      });
      const { state, count } = await closed();

      expect(state).toMatchObject({ reason: 'refused', error: { status } });
      expect(count).toBe(0);
    });

    it('ends at a 204', async () => {
      server.answer((response) => void response.writeHead(204).end());

      expect((await closed()).state).toMatchObject({ reason: 'done', error: null });
    });

    it('comes back after a 503, an EventSource would not', async () => {
      server.answer(firstThen((response) => void response.writeHead(503).end(), streamOf('data: end\n\n')));
      const opened = await start();

      await eventually(async () => (await opened.count()) === 1, 'an event');
    });
  });
});

(browser === null ? describe.skip : describe)('a stream of another origin, in Chromium', () => {
  const place = browser as Place;
  const page: Record<string, { readonly type: string; readonly body: string }> = {
    '/page': { type: 'text/html', body: '<!doctype html><link rel="icon" href="data:,">' },
  };
  let client: PlacedClient | undefined;

  beforeAll(async () => {
    page['/client.js'] = { type: 'text/javascript', body: (await bundleClient()).code };
    await place.start();
  }, 60_000);

  afterAll(() => place.stop());

  beforeEach(() => serve((response) => void response.writeHead(404).end()));

  afterEach(() => client?.close());

  const ORIGIN = 'access-control-allow-origin';
  const CREDENTIALS = 'access-control-allow-credentials';
  type Allowed = Readonly<Record<string, string>>;

  /** Answers with what the page may do with it; a function, since the origins are known only when a test runs. */
  const allowing =
    (allowed: () => Allowed, answer: Answer): Answer =>
    (response, request, number) => {
      for (const [name, value] of Object.entries(allowed())) response.setHeader(name, value);
      return answer(response, request, number);
    };
  const redirect =
    (location: string): Answer =>
    (response) =>
      void response.writeHead(302, { location }).end();
  /** Ends the first stream, and keeps the second; each wants a cookie to be kept. */
  const twice =
    (cookie: string): Answer =>
    async (...given) => {
      given[0].setHeader('set-cookie', `${cookie}=1`);
      await streamOf('id: 7\ndata: x\n\n')(...given);
      if (given[2] === 0) given[0].end();
    };

  /** Opens a client in a page of `server`. */
  async function start(url: string, options: PlainOptions = {}): Promise<PlacedClient> {
    client = await place.open(url, { retryMs: 5, longPoll: false, ...options }, `${server.origin}/page`);
    return client;
  }

  /** Makes `server` answer so to what is not the page: a browser lets no page that comes from elsewhere ask a loopback address. */
  function serve(answer: Answer): void {
    server.answer((response, request, number) => {
      const given = page[request.url];
      if (given === undefined) return answer(response, request, number);
      return void response.setHeader('content-type', given.type).end(given.body);
    });
  }

  const askedFor = (asked: RawServer): readonly SeenRequest[] =>
    asked.requests.filter(({ url }) => page[url] === undefined);

  async function expectRead(opened: PlacedClient, count = 1): Promise<void> {
    await eventually(async () => (await opened.count()) >= count, `${count} events`);
  }

  /** A browser says no more of what a page may not read than of a network that fails: it is tried again. */
  async function expectNotRead(opened: PlacedClient, asked: RawServer): Promise<void> {
    await eventually(() => askedFor(asked).length > 1, 'another attempt');
    const states = await opened.states();
    expect(states.find(({ reason }) => reason === 'unreachable')).toMatchObject({
      status: 'connecting',
      error: { code: 'UNAVAILABLE', status: null },
    });
    expect([await opened.count(), states.some(({ status }) => status === 'open')]).toEqual([0, false]);
  }

  it.each([
    ['all', () => ({ [ORIGIN]: '*' })],
    ["the page's", () => ({ [ORIGIN]: server.origin })],
  ])('is read where the answer allows %s', async (_which, allowed) => {
    other.answer(allowing(allowed, streamOf('data: end\n\n')));
    await expectRead(await start(`${other.origin}/stream`));

    expect(other.requests).toMatchObject([{ method: 'GET', headers: { origin: server.origin } }]);
  });

  it.each([
    ['none', (): Allowed => ({})],
    ['another', () => ({ [ORIGIN]: 'https://elsewhere.example' })],
    ['its own', () => ({ [ORIGIN]: other.origin })],
    ['"null"', () => ({ [ORIGIN]: 'null' })],
  ])('is not read where the answer allows %s', async (_which, allowed) => {
    other.answer(allowing(allowed, streamOf('data: no\n\n')));
    await expectNotRead(await start(`${other.origin}/stream`), other);
  });

  describe('credentials', () => {
    it('go along and are kept with "include", where the answer allows them to this origin', async () => {
      const allowed = (): Allowed => ({ [ORIGIN]: server.origin, [CREDENTIALS]: 'true' });
      other.answer(allowing(allowed, twice('with')));
      await expectRead(await start(`${other.origin}/stream`, { credentials: 'include', cursorIn: 'query' }), 2);

      expect(other.requests[0]?.headers.cookie ?? '').not.toContain('with=1');
      expect(other.requests[1]?.headers.cookie).toContain('with=1');
    });

    it.each(['omit', 'same-origin'] as const)('neither go along nor are kept with "%s"', async (credentials) => {
      other.answer(allowing(() => ({ [ORIGIN]: '*' }), twice(credentials)));
      await expectRead(await start(`${other.origin}/stream`, { credentials, cursorIn: 'query' }), 2);

      expect(other.requests.map(({ headers }) => headers.cookie)).toEqual([undefined, undefined]);
    });

    it.each([
      ['says nothing of them', () => ({ [ORIGIN]: server.origin })],
      ['says "True"', () => ({ [ORIGIN]: server.origin, [CREDENTIALS]: 'True' })],
      ['allows all origins', () => ({ [ORIGIN]: '*', [CREDENTIALS]: 'true' })],
    ])('make it unreadable with "include" where the answer %s', async (_what, allowed) => {
      other.answer(allowing(allowed, streamOf('data: no\n\n')));
      await expectNotRead(await start(`${other.origin}/stream`, { credentials: 'include' }), other);
    });
  });

  describe('by a redirect', () => {
    it('is read where the answer allows it, and is not given cookies even with "include"', async () => {
      serve(redirect(`${other.origin}/stream`));
      other.answer(allowing(() => ({ [ORIGIN]: server.origin }), twice('away')));
      await expectRead(await start(`${server.origin}/stream`, { credentials: 'include', cursorIn: 'query' }), 2);

      expect(other.requests.map(({ headers }) => [headers.origin, headers.cookie])).toEqual([
        [server.origin, undefined],
        [server.origin, undefined],
      ]);
    });

    it('is not read where the answer does not allow it', async () => {
      serve(redirect(`${other.origin}/stream`));
      other.answer(streamOf('data: no\n\n'));
      await expectNotRead(await start(`${server.origin}/stream`), other);
    });

    it.each([
      ['is read where it allows all', '*', true],
      ['is not read where it allows only that of the page', 'page', false],
    ])('that leads away from another origin %s', async (_what, allowed, isRead) => {
      other.answer(allowing(() => ({ [ORIGIN]: '*' }), redirect(`${server.origin}/back`)));
      const back = (): Allowed => ({ [ORIGIN]: allowed === 'page' ? server.origin : allowed });
      serve(allowing(back, streamOf('data: end\n\n')));
      const opened = await start(`${other.origin}/stream`);
      await (isRead ? expectRead(opened) : expectNotRead(opened, server));

      expect(askedFor(server)[0]).toMatchObject({ url: '/back', headers: { origin: 'null' } });
    });
  });

  describe('a cursor', () => {
    /** Allows what a preflight asks for, if it is to be allowed. */
    const resuming = (isAllowed: boolean): Answer =>
      allowing(
        (): Allowed => ({ [ORIGIN]: '*', ...(isAllowed ? { 'access-control-allow-headers': 'last-event-id' } : {}) }),
        (response, request, number) =>
          request.method === 'OPTIONS'
            ? void response.writeHead(204).end()
            : twice('cursor')(response, request, number),
      );

    it('in the header is asked about first, and sent where that is allowed', async () => {
      other.answer(resuming(true));
      await expectRead(await start(`${other.origin}/stream`), 2);

      expect(other.requests.map(({ method, headers }) => [method, headers['last-event-id']])).toEqual([
        ['GET', undefined],
        ['OPTIONS', undefined],
        ['GET', '7'],
      ]);
      expect(other.requests[1]?.headers['access-control-request-headers']).toBe('last-event-id');
    });

    it('in the header is not sent where that is not allowed', async () => {
      other.answer(resuming(false));
      const opened = await start(`${other.origin}/stream`);
      await eventually(() => other.requests.length > 2, 'another attempt');

      expect(other.requests.slice(1, 3).map(({ method }) => method)).toEqual(['OPTIONS', 'OPTIONS']);
      expect((await opened.states()).at(-1)).toMatchObject({ status: 'stale', error: { code: 'UNAVAILABLE' } });
    });

    it('in the query is sent without being asked about', async () => {
      other.answer(resuming(false));
      await expectRead(await start(`${other.origin}/stream`, { cursorIn: 'query' }), 2);

      expect(other.requests.map(({ method, url }) => [method, url])).toEqual([
        ['GET', '/stream'],
        ['GET', '/stream?lastEventId=7'],
      ]);
    });
  });
});

let client: SseClient | undefined;
let events: ClientEvent[];

beforeEach(() => {
  events = [];
});

afterEach(() => client?.close());

/** Opens a client in this Node; what a browser tells of redirects and a POST is tried in `browser.spec.ts`. */
function open(options: SseClientOptions = {}, url = `${server.origin}/stream`): SseClient {
  client = createSseClient(url, { decode: (text) => text, retryMs: 5, longPoll: false, ...options });
  client.on((event) => events.push(event));
  return client;
}

describe('redirects', () => {
  const to =
    (status: number, location: () => string): Answer =>
    (response) =>
      void response.writeHead(status, { location: location() }).end();
  /** Redirects from the first place, and streams from any other. */
  const away =
    (redirect: Answer): Answer =>
    (response, request, number) =>
      (request.url === '/stream' ? redirect : streamOf('data: end\n\n'))(response, request, number);

  it.each([301, 302, 303, 307, 308])('of %d are followed, with own headers within the origin', async (status) => {
    server.answer(away(to(status, () => '/elsewhere')));
    open({ headers: { 'x-key': 'secret', authorization: 'Bearer t' } });
    await eventually(() => events.length === 1, 'an event');

    expect(server.requests.at(-1)).toMatchObject({
      url: '/elsewhere',
      headers: { 'x-key': 'secret', authorization: 'Bearer t', accept: 'text/event-stream' },
    });
  });

  it.each([301, 302, 303, 307, 308])(
    'of %d to another origin lose own headers, and keep the cursor',
    async (status) => {
      server.answer(to(status, () => `${other.origin}/stream`));
      other.answer(streamOf('data: end\n\n'));
      open({ headers: { 'x-key': 'secret', authorization: 'Bearer t' }, lastEventId: '5' });
      await eventually(() => events.length === 1, 'an event');

      for (const { headers } of other.requests) {
        expect(headers).not.toHaveProperty('x-key');
        expect(headers).not.toHaveProperty('authorization');
        expect(headers).toMatchObject({ accept: 'text/event-stream', 'last-event-id': '5' });
      }
    },
  );

  it('that lead away and back do not give the other origin anything', async () => {
    server.answer(away(to(302, () => `${other.origin}/away`)));
    other.answer(to(302, () => `${server.origin}/back`));
    open({ headers: { 'x-key': 'secret' } });
    await eventually(() => events.length === 1, 'an event');

    expect(other.requests.map(({ headers }) => headers['x-key'])).toEqual([undefined]);
    expect(server.requests.at(-1)).toMatchObject({ url: '/back', headers: { 'x-key': 'secret' } });
  });

  it('are followed anew each time: the next attempt begins at the first place', async () => {
    server.answer(to(301, () => `${other.origin}/stream`));
    other.answer((response, _request, number) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (number === 0) response.end('data: first\n\n');
      else response.write('data: end\n\n');
    });
    open();
    await eventually(() => events.length === 2, 'two events');

    expect(server.requests).toHaveLength(2);
  });

  it('that never end are a network that fails', async () => {
    server.answer(to(302, () => '/stream'));
    const opened = open({ headers: { 'x-key': 'secret' } });
    await eventually(() => opened.state.reason === 'unreachable', 'a failure');

    expect(opened.state.status).toBe('connecting');
  });
});

describe('a POST', () => {
  it('sends its body at each attempt, and may be answered 201', async () => {
    server.answer((response, _request, number) => {
      response.writeHead(201, { 'content-type': 'text/event-stream' });
      if (number === 0) response.end('data: first\n\n');
      else response.write('data: end\n\n');
    });
    open({ body: { prompt: 'why' } });
    await eventually(() => events.length === 2, 'two events');

    expect(server.requests.map(({ method, body, headers }) => [method, body, headers['content-type']])).toEqual([
      ['POST', '{"prompt":"why"}', 'application/json'],
      ['POST', '{"prompt":"why"}', 'application/json'],
    ]);
  });
});
