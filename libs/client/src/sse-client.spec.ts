import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { StandardSchema } from '@sse-channels/protocol';
import { from, firstValueFrom, toArray } from 'rxjs';
import { ScriptedFetch, settle } from './scripted-fetch.js';
import { createSseClient, type SseClient, type SseClientOptions } from './sse-client.js';

const url = 'https://shop.example/orders/42/events';

let server: ScriptedFetch;
let client: SseClient;
let states: string[];
let errors: unknown[];

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick', 'performance'] });
  // In the middle of every jitter.
  jest.spyOn(Math, 'random').mockReturnValue(0.5);
  server = new ScriptedFetch();
  states = [];
  errors = [];
});

afterEach(() => {
  client.close();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

function connect(options: SseClientOptions = {}): void {
  client = createSseClient(url, { fetch: server.fetch, onError: (error) => errors.push(error), ...options });
  client.onState(({ status, reason, retryInMs }) => states.push(`${status} ${reason} ${retryInMs}`));
}

/** Connects, listens to everything and opens a stream of the library's own. */
async function open(options: SseClientOptions = {}) {
  connect(options);
  const seen: unknown[] = [];
  client.on(({ name, data, cursor }) => seen.push([name, data, cursor]));
  const stream = (await server.next()).stream();
  await stream.open('e~1-0');
  return { seen, stream };
}

const advance = async (ms: number): Promise<void> => {
  await jest.advanceTimersByTimeAsync(ms);
  await settle();
};

describe('a client', () => {
  it('connects when somebody listens, with what a stream is asked for with', async () => {
    connect({ query: { q: ['a b', 'c'], none: null }, headers: { authorization: 'Bearer x' } });
    await settle();
    expect(server.requests).toHaveLength(0);

    client.on('order.shipped', () => undefined);
    const request = await server.next();

    expect(request).toMatchObject({
      url: `${url}?q=a%20b&q=c`,
      method: 'GET',
      headers: { accept: 'text/event-stream', authorization: 'Bearer x' },
      init: { cache: 'no-store', credentials: 'same-origin' },
    });
    expect(states).toEqual(['connecting started null', 'connecting started 0']);
  });

  it('sends a plain body as JSON, by POST', async () => {
    connect({ body: { question: 'why' } });
    client.on(() => undefined);

    const { method, headers, init } = await server.next();

    expect({ method, body: init.body, type: headers['content-type'] }).toEqual({
      method: 'POST',
      body: '{"question":"why"}',
      type: 'application/json',
    });
  });

  it('gives data by name, everything to whom wants everything, and text that is no JSON as it is', async () => {
    connect();
    const shipped: unknown[] = [];
    const all: unknown[] = [];
    client.on('order.shipped', (data, event) => shipped.push([data, event.topic]));
    client.on((event) => all.push(event.name, event.data));
    const stream = (await server.next()).stream();

    await stream.send('event: order.shipped\ntopic: orders/42\ndata: {"carrier":"DHL"}\n\ndata: hello\n\n');

    expect(shipped).toEqual([[{ carrier: 'DHL' }, 'orders/42']]);
    expect(all).toEqual(['order.shipped', { carrier: 'DHL' }, 'message', 'hello']);
  });

  it('reads data as it is told to, and leaves out what cannot be read', async () => {
    const decode = (text: string): string => {
      if (text === 'bad') throw new Error('unreadable');
      return text.toUpperCase();
    };
    const { seen, stream } = await open({ decode });

    await stream.send('id: e~2-0\ndata: bad\n\nid: e~3-0\ndata: 7a\n\n');

    expect(seen).toEqual([['message', '7A', 'e~3-0']]);
    expect(errors).toMatchObject([{ code: 'CALLBACK_FAILED', cause: { message: 'unreadable' } }]);
  });

  it('stops telling whom left, or whose signal aborted', async () => {
    const { stream } = await open();
    const seen: string[] = [];
    const leave = client.on('a', () => seen.push('left'));
    const controller = new AbortController();
    client.on('a', () => seen.push('aborted'), { signal: controller.signal });
    client.on('a', () => seen.push('never'), { signal: AbortSignal.abort() });
    await stream.event('a', 1);

    leave();
    controller.abort();
    await stream.event('a', 2);

    expect(seen).toEqual(['left', 'aborted']);
  });

  it('refuses what is no URL', () => {
    expect(() => createSseClient('/relative').on(() => undefined)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('give a whole one') as unknown as string,
      }),
    );
  });
});

describe('the cursor', () => {
  it('moves when the handler is done, is sent with the next attempt, and a heartbeat moves it too', async () => {
    const { stream } = await open();
    let finish = (): void => undefined;
    client.on('slow', () => new Promise<void>((resolve) => (finish = resolve)));

    await stream.event('slow', 1, 'e~2-0');
    const before = client.cursor;
    finish();
    await settle();
    const after = client.cursor;
    await stream.send(':\nid: e~9-0\n\n');
    await stream.end();
    await advance(10_000);

    expect([before, after]).toEqual(['e~1-0', 'e~2-0']);
    expect((await server.next()).headers['last-event-id']).toBe('e~9-0');
  });

  it('holds the next event back until the handler is done, and reads no further meanwhile', async () => {
    const { seen, stream } = await open();
    const finish: Array<() => void> = [];
    client.on('slow', () => new Promise<void>((resolve) => finish.push(resolve)));

    await stream.send('event: slow\ndata: 1\n\nevent: slow\ndata: 2\n\n');
    const first = seen.length;
    finish[0]?.();
    await settle();

    expect([first, seen.length, finish.length]).toEqual([1, 2, 2]);
  });

  it('keeps events from being handed over twice, after a cut and in one stream', async () => {
    const { seen, stream } = await open();
    await stream.event('a', 1, 'e~2-0');
    await stream.event('a', 1, 'e~2-0');
    await stream.event('a', 2, 'e~z-0');
    await stream.cut();
    await advance(10_000);
    const next = (await server.next()).stream();
    await next.open('e~z-0');

    await next.event('a', 2, 'e~z-0');
    await next.event('a', 3, 'e~10-0');

    expect(seen).toEqual([
      ['a', 1, 'e~2-0'],
      ['a', 2, 'e~z-0'],
      ['a', 3, 'e~10-0'],
    ]);
  });

  it('does not take what has no cursor of its own, or is of another epoch, for doubles', async () => {
    const { seen, stream } = await open();

    await stream.event('a', 1, 'e~5-0');
    await stream.event('a', 2);
    await stream.event('a', 3, 'f~1-0');
    await stream.event('a', 4, 'f~1-0');

    expect(seen).toEqual([
      ['a', 1, 'e~5-0'],
      ['a', 2, 'e~5-0'],
      ['a', 3, 'f~1-0'],
    ]);
  });

  it('compares signed cursors by their place', async () => {
    const { seen, stream } = await open();

    await stream.event('a', 1, 'e~5-0~c2lnbmF0dXJl');
    await stream.event('a', 1, 'e~5-0~b3RoZXI');
    await stream.event('a', 2, 'e~6-0~c2lnbmF0dXJl');

    expect(seen.map((line) => (line as unknown[])[1])).toEqual([1, 2]);
  });

  it('leaves the ids of a stranger alone', async () => {
    connect();
    const seen: unknown[] = [];
    client.on(({ data }) => seen.push(data));
    const stream = (await server.next()).stream();

    for (const id of ['e~5-0', 'e~4-0', 'e~5-0', '7']) await stream.event('a', id, id);

    expect(seen).toEqual(['e~5-0', 'e~4-0', 'e~5-0', '7']);
  });

  it('is told of a gap, waits for its handler, and goes on from there, be it earlier', async () => {
    const { seen, stream } = await open();
    await stream.event('a', 9, 'e~9-0');
    await stream.cut();
    await advance(10_000);
    const next = (await server.next()).stream();
    const gaps: unknown[] = [];
    let finish = (): void => undefined;
    client.onGap((gap) => {
      gaps.push(gap);
      return new Promise<void>((resolve) => (finish = resolve));
    });

    await next.open('e~2-0', { resumed: false, gap: 'rewound' });
    await next.event('$gap', { topic: 'orders/42', reason: 'rewound' }, 'e~2-0');
    await next.event('a', 3, 'e~3-0');
    const before = seen.length;
    finish();
    await settle();

    expect(gaps).toEqual([{ topic: 'orders/42', reason: 'rewound', skipped: undefined, cursor: 'e~2-0' }]);
    expect([before, seen.at(-1)]).toEqual([1, ['a', 3, 'e~3-0']]);
    expect(client.cursor).toBe('e~3-0');
  });

  it('goes in the query where a header would cost a preflight, and as bytes in the header', async () => {
    connect({ cursorIn: 'query', lastEventId: 'e~1-0' });
    client.on(() => undefined);
    const inQuery = await server.next();
    client.close();
    connect({ lastEventId: '…' });
    client.on(() => undefined);

    expect(inQuery.url).toBe(`${url}?lastEventId=e~1-0`);
    expect(inQuery.headers).not.toHaveProperty('last-event-id');
    expect((await server.next()).headers['last-event-id']).toBe('\u00e2\u0080\u00a6');
  });

  it('is kept in a storage, read from it, and never the final one', async () => {
    const kept = new Map([[`sse-channels:${url}`, 'e~0-5']]);
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    connect({ storage });
    client.on(() => undefined);
    const request = await server.next();
    const stream = request.stream();

    await stream.event('a', 1, 'e~3-0');
    await stream.event('$closing', { reason: 'done', comeBack: false }, '$end');

    expect(request.headers['last-event-id']).toBe('e~0-5');
    expect([...kept.values()]).toEqual(['e~3-0']);
    expect(states.at(-1)).toBe('closed done null');
  });

  it('is written one after the other to a slow storage, the newest last, and a failing one is told of', async () => {
    const written: string[] = [];
    const finish: Array<() => void> = [];
    const setItem = (_key: string, value: string) =>
      new Promise<void>((resolve, reject) => {
        written.push(value);
        finish.push(value === 'e~4-0' ? () => reject(new Error('full')) : resolve);
      });
    const { stream } = await open({ storage: { getItem: async () => null, setItem } });

    for (const id of ['e~2-0', 'e~3-0', 'e~4-0']) await stream.event('a', 1, id);
    finish[0]?.();
    await settle();
    finish[1]?.();
    await settle();

    expect(written).toEqual(['e~1-0', 'e~4-0']);
    expect(errors).toMatchObject([{ code: 'CALLBACK_FAILED', cause: { message: 'full' } }]);
  });
});

describe('a handler that throws', () => {
  it('is told to onError, breaks nothing and does not hold the cursor', async () => {
    const { seen, stream } = await open();
    client.on('a', () => {
      throw new Error('mine');
    });
    client.on('a', async () => {
      throw new Error('mine, later');
    });

    await stream.event('a', 1, 'e~2-0');
    await stream.event('a', 2, 'e~3-0');

    expect(seen).toHaveLength(2);
    expect(client.cursor).toBe('e~3-0');
    expect(errors.map((error) => (error as Error & { cause: Error }).cause.message)).toEqual([
      'mine',
      'mine, later',
      'mine',
      'mine, later',
    ]);
  });
});

describe('validation', () => {
  const carrier: StandardSchema<unknown, { carrier: string }> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: async (value) => {
        const text = (value as { carrier?: unknown }).carrier;
        return typeof text === 'string'
          ? { value: { carrier: text.toUpperCase() } }
          : { issues: [{ message: 'must be a string', path: ['carrier'] }] };
      },
    },
  };

  it('hands over what the schema gives, in order, and leaves out what it refuses', async () => {
    const { seen, stream } = await open({ validate: { 'order.shipped': carrier } });

    await stream.send(
      'id: e~2-0\nevent: order.shipped\ndata: {"carrier":"dhl"}\n\nid: e~3-0\nevent: order.shipped\ndata: {}\n\nid: e~4-0\nevent: toString\ndata: 1\n\n',
    );

    expect(seen).toEqual([
      ['order.shipped', { carrier: 'DHL' }, 'e~2-0'],
      ['toString', 1, 'e~4-0'],
    ]);
    expect(errors).toMatchObject([
      {
        code: 'EVENT_INVALID',
        message: 'Event "order.shipped" breaks its schema and was left out: must be a string',
        cause: [{ path: ['carrier'] }],
      },
    ]);
  });
});

describe('after a cut', () => {
  it('comes back after what the server asked for, to the millisecond', async () => {
    const { stream } = await open();
    await stream.send('retry: 4321\n\n');
    await advance(2_000);
    await stream.send(':\n\n');

    await stream.end();
    await advance(4_320);
    const early = server.requests.length;
    await advance(1);

    expect([early, server.requests.length]).toEqual([1, 2]);
    expect(states.slice(2)).toEqual(['open opened null', 'stale cut 4321', 'stale cut 0']);
  });

  it('waits longer with each failure, up to the most, and starts anew after a stream that lasted', async () => {
    connect({ retryMs: 1_000, maxRetryMs: 5_000 });
    client.on(() => undefined);
    for (const delayMs of [750, 1_500, 3_000, 3_750, 3_750]) {
      (await server.next()).fail();
      await settle();
      expect(client.state).toMatchObject({ status: 'connecting', reason: 'unreachable', retryInMs: delayMs });
      await advance(delayMs);
    }
    const stream = (await server.next()).stream();
    await settle();
    await advance(1_000);
    await stream.cut();
    expect(client.state).toMatchObject({ status: 'stale', reason: 'cut', retryInMs: 1_000 });
    expect(client.state.error).toMatchObject({ code: 'UNAVAILABLE', status: null });
  });

  it.each([
    ['seconds', '7', 7_000],
    ['a date', new Date(Date.UTC(2030, 0, 1, 0, 0, 9)).toUTCString(), 9_000],
    ['less than the back-off', '0', 750],
    ['nonsense', 'soon', 750],
  ])('honours Retry-After as %s', async (_name, value, delayMs) => {
    jest.setSystemTime(Date.UTC(2030, 0, 1));
    connect();
    client.on(() => undefined);

    (await server.next()).answer(503, { headers: { 'retry-after': value }, body: 'draining' });
    await settle();

    expect(client.state).toMatchObject({ status: 'connecting', reason: 'refused', retryInMs: delayMs });
    expect(client.state.error).toMatchObject({ code: 'STREAM_REFUSED', status: 503, body: 'draining' });
  });

  it.each([408, 429, 500, 502, 503, 504])('asks again after %d', async (status) => {
    connect();
    client.on(() => undefined);

    (await server.next()).answer(status);
    await advance(750);

    expect(server.requests).toHaveLength(2);
  });

  it.each([400, 401, 403, 404, 406, 410, 422])(
    'is closed for good by %d, with the status and how the body begins',
    async (status) => {
      connect();
      client.on(() => undefined);

      (await server.next()).answer(status, { body: 'x'.repeat(5_000) });
      await advance(100_000);

      expect(server.requests).toHaveLength(1);
      expect(client.state).toMatchObject({ status: 'closed', reason: 'refused' });
      expect(client.state.error).toMatchObject({ code: 'STREAM_REFUSED', status, body: 'x'.repeat(1_000) });
      expect(client.state.error?.message).toBe(`The server answered ${status} (text/plain;charset=UTF-8).`);
    },
  );

  it('is closed by 204, without an error', async () => {
    connect();
    client.on(() => undefined);

    (await server.next()).answer(204);
    await settle();

    expect(client.state).toMatchObject({ status: 'closed', reason: 'done', error: undefined });
  });

  it('is closed by what is no stream', async () => {
    connect();
    client.on(() => undefined);

    (await server.next()).answer(200, { headers: { 'content-type': 'text/html' }, body: '<html>' });
    await settle();

    expect(client.state.error).toMatchObject({
      status: 200,
      body: '<html>',
      message: 'The server answered 200 (text/html).',
    });
  });

  it('is closed by an event that is too long', async () => {
    const { stream } = await open({ maxEventLength: 10_000 });

    await stream.send(`data: ${'x'.repeat(10_001)}\n\n`);

    expect(client.state).toMatchObject({ status: 'closed', error: { code: 'FRAME_TOO_LARGE' } });
  });
});

describe('what a server says at the end', () => {
  it('is heeded: come back after retry, with the last cursor', async () => {
    const { stream } = await open();
    await stream.event('a', 1, 'e~5-0');

    await stream.send('retry: 2000\nevent: $closing\ndata: {"reason":"drained","comeBack":true}\n\n');
    expect(client.state).toMatchObject({ status: 'stale', reason: 'drained', retryInMs: 2_000, error: undefined });
    await advance(2_000);

    expect((await server.next()).headers['last-event-id']).toBe('e~5-0');
  });

  it('is heeded: do not come back', async () => {
    const { stream } = await open();

    await stream.send('id: $end\nevent: $closing\ndata: {"reason":"revoked","comeBack":false}\n\n');
    await advance(100_000);

    expect(client.state).toMatchObject({ status: 'closed', reason: 'revoked', error: undefined });
    expect(server.requests).toHaveLength(1);
    expect(client.cursor).toBe('e~1-0');
  });

  it('is told as the error that it was', async () => {
    const { stream } = await open();

    await stream.event('$error', { message: 'No such report', status: 404, comeBack: false });
    await stream.send('id: $end\nevent: $closing\ndata: {"reason":"failed","comeBack":false}\n\n');

    expect(client.state).toMatchObject({
      status: 'closed',
      reason: 'failed',
      error: { code: 'STREAM_FAILED', message: 'No such report', status: 404 },
    });
  });

  it("of one topic of several is not the end of the stream, and control events that are not known are nobody's", async () => {
    const { seen, stream } = await open();

    await stream.event('$error', { topic: 'orders/7', message: 'No such order', status: 404, comeBack: false });
    await stream.event('$closing', { topic: 'orders/42', reason: 'revoked', comeBack: false });
    await stream.event('$live', { topic: 'orders/43' });
    await stream.event('a', 1, 'e~2-0');

    expect(seen).toEqual([['a', 1, 'e~2-0']]);
    expect(client.state).toMatchObject({ status: 'open', error: undefined });
  });

  it('makes who comes back after failures wait longer each time', async () => {
    connect({ retryMs: 1_000 });
    client.on(() => undefined);
    const delays: Array<number | null> = [];
    for (let times = 0; times < 3; times += 1) {
      const stream = (await server.next()).stream();
      await stream.send('event: $closing\ndata: {"reason":"failed","comeBack":true}\n\n');
      delays.push(client.state.retryInMs);
      await advance(10_000);
    }
    expect(delays).toEqual([750, 1_500, 3_000]);
  });
});

describe('a silent connection', () => {
  it('is given up after two and a half heartbeats, and made again from the cursor', async () => {
    const { stream } = await open();
    await advance(2_499);
    await stream.send(':\n\n');
    await advance(2_499);
    const before = client.state.status;

    await advance(1);
    expect([before, client.state.status, client.state.reason]).toEqual(['open', 'stale', 'silent']);
    expect(stream.cancelled).toBe(true);
    await advance(1_000);

    expect((await server.next()).headers['last-event-id']).toBe('e~1-0');
  });

  it('is not one while a handler is waited for', async () => {
    const { stream } = await open();
    let finish = (): void => undefined;
    client.on('slow', () => new Promise<void>((resolve) => (finish = resolve)));
    await stream.event('slow', 1);

    await advance(60_000);
    client.wake();
    const meanwhile = client.state.status;
    finish();
    await settle();
    await advance(2_499);
    const after = client.state.status;
    await advance(1);

    expect([meanwhile, after, client.state.status]).toEqual(['open', 'open', 'stale']);
  });

  it('of a server that does not tell its heartbeat is one where the application tells it', async () => {
    connect({ heartbeatMs: 100 });
    client.on(() => undefined);
    const stream = (await server.next()).stream();
    await stream.send(': hello\n\n');

    await advance(250);

    expect(client.state).toMatchObject({ status: 'stale', reason: 'silent' });
  });

  it('that never said a byte is given up after openTimeoutMs', async () => {
    connect({ openTimeoutMs: 5_000 });
    client.on(() => undefined);
    await server.next();

    await advance(5_000);
    expect(client.state).toMatchObject({ status: 'connecting', reason: 'unreachable', error: { code: 'UNAVAILABLE' } });
    await advance(750);
    (await server.next()).stream();
    await advance(5_000);

    expect(client.state).toMatchObject({ status: 'stale', reason: 'silent' });
  });
});

describe('401', () => {
  it('is answered by one refresh, and headers that are asked for anew', async () => {
    let token = 'old';
    const onUnauthorized = jest.fn(async () => {
      token = 'new';
    });
    connect({ headers: async () => ({ authorization: token }), onUnauthorized });
    client.on(() => undefined);

    (await server.next()).answer(401);
    const again = await server.next();
    again.answer(401);
    await settle();

    expect(again.headers['authorization']).toBe('new');
    expect(onUnauthorized).toHaveBeenCalledTimes(1);
    expect(client.state).toMatchObject({ status: 'closed', error: { status: 401 } });
  });

  it('is answered again at the next request', async () => {
    const onUnauthorized = jest.fn(() => true);
    connect({ onUnauthorized });
    client.on(() => undefined);
    for (let times = 0; times < 2; times += 1) {
      (await server.next()).answer(401);
      const stream = (await server.next()).stream();
      await settle();
      await stream.send('event: $closing\ndata: {"reason":"expired","comeBack":true}\n\n');
      await advance(2_000);
    }
    expect(onUnauthorized).toHaveBeenCalledTimes(2);
    expect(server.requests).toHaveLength(5);
  });

  it('closes where the application gives up, and is tried again where its refresh failed', async () => {
    connect({ onUnauthorized: () => false });
    client.on(() => undefined);
    (await server.next()).answer(401);
    await settle();
    expect(client.state).toMatchObject({ status: 'closed', error: { status: 401 } });

    connect({ onUnauthorized: () => Promise.reject(new TypeError('offline')) });
    client.on(() => undefined);
    (await server.next()).answer(401);
    await settle();
    expect(client.state).toMatchObject({ status: 'connecting', reason: 'unreachable', retryInMs: 750 });
    expect(errors).toMatchObject([{ code: 'CALLBACK_FAILED', cause: { message: 'offline' } }]);
  });

  it('says when headers cannot be had, and tries again', async () => {
    let asked = 0;
    connect({
      headers: () => {
        if ((asked += 1) === 1) throw new Error('no token yet');
        return { authorization: 'here' };
      },
    });
    client.on(() => undefined);
    await settle();
    expect(errors).toMatchObject([{ code: 'CALLBACK_FAILED', cause: { message: 'no token yet' } }]);
    await advance(750);

    expect((await server.next()).headers['authorization']).toBe('here');
  });
});

describe('close', () => {
  it('ends everything: the request, the wait, loops and Observables', async () => {
    const { stream } = await open();
    const loop = (async () => {
      for await (const event of client) void event;
      return 'ended';
    })();
    const observed = firstValueFrom(from(client).pipe(toArray()));
    await settle();
    await stream.event('a', 1);

    client.close();
    await settle();

    expect(stream.cancelled).toBe(true);
    expect(await loop).toBe('ended');
    expect(await observed).toMatchObject([{ name: 'a', data: 1 }]);
    expect(client.state).toMatchObject({ status: 'closed', reason: 'client-left' });
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is what the signal does, before and after', async () => {
    const controller = new AbortController();
    await open({ signal: controller.signal });
    controller.abort();
    expect(client.state).toMatchObject({ status: 'closed', reason: 'client-left' });

    connect({ signal: AbortSignal.abort() });
    client.on(() => undefined);
    await settle();
    expect(client.state.status).toBe('closed');
    expect(server.requests).toHaveLength(1);
  });

  it('by a handler keeps what came with the event from being handed over', async () => {
    const { seen, stream } = await open();
    client.on('last', () => client.close());

    await stream.send('event: last\ndata: 1\n\nevent: more\ndata: 2\n\n');

    expect(seen).toEqual([['last', 1, 'e~1-0']]);
  });
});

describe('a loop', () => {
  it('is given each event when it comes for it; the cursor moves with it', async () => {
    const { stream } = await open();
    const events = client.events();
    const first = events.next();
    await stream.send('id: e~2-0\ndata: 1\n\nid: e~3-0\ndata: 2\n\n');

    expect((await first).value).toMatchObject({ data: 1 });
    await settle();
    expect(client.cursor).toBe('e~1-0');
    expect((await events.next()).value).toMatchObject({ data: 2 });
    await settle();
    expect(client.cursor).toBe('e~2-0');
    await events.return?.();
    await settle();

    expect(client.cursor).toBe('e~3-0');
    expect(client.state.status).toBe('open');
  });

  it('that was left holds nothing up', async () => {
    const { seen, stream } = await open();
    const loop = (async () => {
      for await (const event of client) if (event.name === 'stop') break;
    })();
    await stream.event('stop', 1);
    await loop;

    await stream.event('a', 2);

    expect(seen).toHaveLength(2);
  });

  it('ends with its signal while it waits', async () => {
    await open();
    const controller = new AbortController();
    const next = client.events({ signal: controller.signal }).next();

    controller.abort();

    expect(await next).toEqual({ done: true, value: undefined });
    expect(await client.events({ signal: AbortSignal.abort() }).next()).toEqual({ done: true, value: undefined });
  });

  it('throws what closed the client, also one that begins later', async () => {
    connect();
    const next = client.events().next();
    (await server.next()).answer(403);

    await expect(next).rejects.toMatchObject({ code: 'STREAM_REFUSED', status: 403 });
    await expect(client.events().next()).rejects.toMatchObject({ status: 403 });
    await expect(firstValueFrom(from(client))).rejects.toMatchObject({ status: 403 });
  });
});

describe('long-polling', () => {
  const answer = (events: unknown[], cursor: string): Response =>
    new Response(JSON.stringify({ events, cursor }), { headers: { 'content-type': 'application/json' } });
  const json = (request: { readonly headers: Readonly<Record<string, string>> }): boolean =>
    request.headers['accept'] === 'application/json';

  /** Lets three streams be cut at once. */
  async function cutThree(options: SseClientOptions = {}): Promise<unknown[]> {
    connect(options);
    const seen: unknown[] = [];
    client.on(({ name, data, cursor, topic }) => seen.push([name, data, cursor, topic]));
    for (let cut = 0; cut < 3; cut += 1) {
      const stream = (await server.next()).stream();
      await stream.open('e~1-0');
      await stream.cut();
      if (cut < 2) await advance(5_000);
    }
    await advance(0);
    return seen;
  }

  it('begins after three streams shorter than a second, and goes on from the cursor', async () => {
    const seen = await cutThree();
    const first = await server.next();
    expect(first).toMatchObject({
      url: `${url}?waitMs=0`,
      headers: { accept: 'application/json', 'last-event-id': 'e~1-0' },
    });

    first.respond(
      answer(
        [
          { id: 'e~2-0', event: 'a', data: { n: 1 }, topic: 'orders/42' },
          { event: 'b', data: null },
        ],
        'e~2-0',
      ),
    );
    await advance(0);
    const second = await server.next();
    second.respond(answer([], 'e~7-0'));
    await advance(1_000);

    expect(second).toMatchObject({ url: `${url}?waitMs=25000`, headers: { 'last-event-id': 'e~2-0' } });
    expect(seen).toEqual([
      ['a', { n: 1 }, 'e~2-0', 'orders/42'],
      ['b', null, 'e~2-0', null],
    ]);
    expect(client.state).toMatchObject({ status: 'open', transport: 'long-poll', retryInMs: null });
    expect((await server.next()).headers['last-event-id']).toBe('e~7-0');
  });

  it('is left alone where the server does not answer it, and streams go on', async () => {
    await cutThree();
    const asked = await server.next();
    asked.answer(406);
    await advance(0);

    const stream = (await server.next()).stream();
    await stream.open('e~1-0');
    await stream.cut();
    await advance(60_000);

    expect(json(asked)).toBe(true);
    expect(server.requests.filter(json)).toHaveLength(1);
    expect(client.state.status).not.toBe('closed');
  });

  it('is left alone where a server answers with a stream whatever it is asked for', async () => {
    await cutThree();
    const stream = (await server.next()).stream();
    await settle();
    // How the body begins is waited for, in case that says something.
    await advance(1_000);
    await advance(1);

    expect(stream.cancelled).toBe(true);
    expect(json(await server.next())).toBe(false);
  });

  it('is left alone where the application does not want it', async () => {
    await cutThree({ longPoll: false });
    await advance(60_000);

    expect(server.requests.filter(json)).toHaveLength(0);
  });

  it('is all that is done where the application wants only that', async () => {
    connect({ longPoll: 'always' });
    client.on(() => undefined);
    const first = await server.next();
    expect(json(first)).toBe(true);

    first.answer(404);
    await settle();

    expect(client.state).toMatchObject({ status: 'closed', reason: 'refused', error: { status: 404 } });
  });

  it('takes gaps and the end as a stream does', async () => {
    await cutThree();
    const gaps: unknown[] = [];
    client.onGap((gap) => gaps.push(gap));

    (await server.next()).respond(
      answer(
        [
          { id: 'e~5-0', event: '$gap', data: { topic: 'orders/42', reason: 'trimmed' } },
          { id: '$end', event: '$closing', data: { reason: 'done', comeBack: false } },
        ],
        '$end',
      ),
    );
    await settle();

    expect(gaps).toMatchObject([{ reason: 'trimmed', cursor: 'e~5-0' }]);
    expect(client.state).toMatchObject({ status: 'closed', reason: 'done' });
    expect(client.cursor).toBe('e~5-0');
  });

  it('waits like any other after failures, and tries a stream again after a while', async () => {
    await cutThree();
    (await server.next()).answer(503);
    await settle();
    expect(client.state).toMatchObject({ status: 'stale', reason: 'refused' });
    jest.setSystemTime(Date.now() + 300_001);
    await advance(10_000);

    expect(json(await server.next())).toBe(false);
  });

  it('is done at once where a fetch gives no body to read', async () => {
    connect();
    client.on(() => undefined);
    const response = new Response(null, { headers: { 'content-type': 'text/event-stream' } });
    (await server.next()).respond(response);
    await advance(0);

    expect(json(await server.next())).toBe(true);
  });
});
