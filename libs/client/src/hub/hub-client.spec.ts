import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { SseChannelsError, StandardSchema } from '@sse-channels/protocol';
import { ScriptedFetch, settle, type ScriptedRequest, type ScriptedStream } from '../scripted-fetch.js';
import { createSseClient, type SseHubClientOptions } from '../sse-client.js';
import { hub, type SseHubClient } from './hub-client.js';

const url = 'https://shop.example/live';

let server: ScriptedFetch;
let client: SseHubClient;
let errors: SseChannelsError[];

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick', 'performance'] });
  // In the middle of every jitter.
  jest.spyOn(Math, 'random').mockReturnValue(0.5);
  server = new ScriptedFetch();
  errors = [];
});

afterEach(() => {
  client.close();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

function connect(options: Omit<SseHubClientOptions, 'hub'> = {}): void {
  client = createSseClient(url, {
    hub,
    fetch: server.fetch,
    onError: (error) => errors.push(error),
    ...options,
  });
}

const advance = async (ms: number): Promise<void> => {
  await jest.advanceTimersByTimeAsync(ms);
  await settle();
};

/** Subscribes to an order, and gathers what its handlers are told. */
function follow(orderId: number, options: { readonly lastEventId?: string; readonly signal?: AbortSignal } = {}) {
  const subscription = client.subscribe('orders/:orderId', { orderId }, options);
  const told: unknown[] = [];
  subscription.on(({ data, cursor }) => told.push([data, cursor]));
  subscription.onGap(({ reason, cursor }) => told.push([`gap: ${reason}`, cursor]));
  const states: string[] = [];
  subscription.onState(({ status, reason, error }) => {
    const state = [status, reason, ...(error === undefined ? [] : [error.status])].join(' ');
    if (state !== states.at(-1)) states.push(state);
  });
  return { subscription, told, states };
}

type Topics = Array<string | { readonly topic: string; readonly behind?: true; readonly gap?: string }>;

const opened = (stream: ScriptedStream, topics: Topics, id: string, connection = 'c1'): Promise<void> =>
  stream.event(
    '$open',
    {
      protocol: 1,
      connection,
      heartbeatMs: 60_000,
      topics: topics.map((topic) => ({ resumed: true, gap: null, ...(typeof topic === 'string' ? { topic } : topic) })),
    },
    id,
  );
const event = (stream: ScriptedStream, order: number, data: unknown, id: string): Promise<void> =>
  stream.send(`id: ${id}\ntopic: orders/${order}\nevent: order.noted\ndata: ${JSON.stringify(data)}\n\n`);
const behind = (stream: ScriptedStream, order: number, data: unknown, cursor: string): Promise<void> =>
  stream.send(`cursor: ${cursor}\ntopic: orders/${order}\nevent: order.noted\ndata: ${JSON.stringify(data)}\n\n`);
const bodyOf = ({ init }: ScriptedRequest): unknown => JSON.parse(init.body as string);
const answer = (request: ScriptedRequest, refused: unknown[] = []): void =>
  request.respond(
    new Response(JSON.stringify({ added: [], removed: [], refused }), {
      headers: { 'content-type': 'application/json' },
    }),
  );

/** Opens a stream of these orders, and cuts it. */
async function openAndCut(orders: readonly number[], id = 'e~1-0'): Promise<void> {
  await advance(0);
  const stream = (await server.next()).stream();
  await opened(
    stream,
    orders.map((order) => `orders/${order}`),
    id,
  );
  await advance(2_000);
  await stream.cut();
  await advance(1_000);
}

describe('the client of a hub', () => {
  it('asks once for all that was subscribed to together, and hands each its own', async () => {
    connect();
    const one = follow(1);
    const two = follow(2);
    await advance(0);
    const request = await server.next();
    const stream = request.stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~1-0');
    await event(stream, 2, 'b', 'e~2-0');
    await event(stream, 1, 'a', 'e~3-0');
    await event(stream, 9, 'x', 'e~4-0');

    expect(request.url).toBe(`${url}?topic=orders%2F1&topic=orders%2F2`);
    expect([one.told, two.told]).toEqual([[['a', 'e~3-0']], [['b', 'e~2-0']]]);
    expect(one.states).toEqual(['connecting started', 'open opened']);
    expect([client.cursor, one.subscription.cursor, one.subscription.topic]).toEqual(['e~4-0', 'e~4-0', 'orders/1']);
    expect(server.requests).toHaveLength(1);
  });

  it('keeps the query of its URL, and asks for nothing before somebody listens', async () => {
    client = createSseClient(new URL('https://shop.example/api/live?v=2'), { hub, fetch: server.fetch });
    const subscription = client.subscribe({ pattern: 'news' });
    await advance(10);
    const before = server.requests.length;
    subscription.on(() => undefined);
    await advance(0);
    const request = await server.next();
    await opened(request.stream(), ['news'], 'e~1-0');
    client.subscribe('more').on(() => undefined);
    await advance(0);

    expect([before, request.url]).toEqual([0, 'https://shop.example/api/live?v=2&topic=news']);
    expect((await server.next()).url).toBe('https://shop.example/api/live/c1?v=2');
  });

  it('names topics in a body where a URL cannot hold them', async () => {
    connect();
    for (let order = 1_000_000; order < 1_000_200; order += 1) follow(order);
    await advance(0);
    const request = await server.next();

    expect([request.url, request.method]).toEqual([url, 'POST']);
    expect((bodyOf(request) as { topics: unknown[] }).topics).toHaveLength(200);
    expect((bodyOf(request) as { topics: unknown[] }).topics[0]).toBe('orders/1000000');
  });

  it('resumes all topics by one cursor', async () => {
    connect();
    follow(1);
    follow(2);
    await openAndCut([1, 2], 'e~7-0');
    const request = await server.next();

    expect([request.url, request.headers['last-event-id']]).toEqual([
      `${url}?topic=orders%2F1&topic=orders%2F2`,
      'e~7-0',
    ]);
  });

  it('adds and takes out topics while the stream is open, in one request', async () => {
    connect();
    const one = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    const two = follow(2);
    const three = follow(3, { lastEventId: 'e~0-5' });
    one.subscription.close();
    await advance(0);
    const request = await server.next();
    answer(request);
    await stream.event('$closing', { topic: 'orders/1', reason: 'done', comeBack: false });
    await opened(stream, ['orders/2'], 'e~1-0');
    await opened(stream, [{ topic: 'orders/3', behind: true }], 'e~1-0');
    await event(stream, 1, 'nobody hears it', 'e~2-0');
    await event(stream, 2, 'b', 'e~3-0');
    await behind(stream, 3, 'c', 'e~0-9');

    expect([request.url, request.method, bodyOf(request)]).toEqual([
      `${url}/c1`,
      'POST',
      {
        add: [
          { topic: 'orders/2', lastEventId: null },
          { topic: 'orders/3', lastEventId: 'e~0-5' },
        ],
        remove: ['orders/1'],
      },
    ]);
    expect([one.told, two.told, three.told]).toEqual([[], [['b', 'e~3-0']], [['c', 'e~0-9']]]);
    expect(one.states.at(-1)).toBe('closed client-left');
    expect([client.cursor, three.subscription.cursor]).toEqual(['e~3-0', 'e~0-9']);
  });

  it('shares a topic among its subscriptions, and takes it out with the last', async () => {
    connect();
    const [first, second, other] = [follow(1), follow(1), follow(2)];
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~1-0');
    await event(stream, 1, 'a', 'e~2-0');
    first.subscription.close();
    await event(stream, 1, 'b', 'e~3-0');
    await advance(10);
    const whileShared = server.requests.length;
    second.subscription.close();
    await advance(0);

    expect(first.told).toEqual([['a', 'e~2-0']]);
    expect(second.told).toEqual([
      ['a', 'e~2-0'],
      ['b', 'e~3-0'],
    ]);
    expect(whileShared).toBe(1);
    await server.next().then((request) => expect(bodyOf(request)).toEqual({ add: [], remove: ['orders/1'] }));
    expect(other.told).toEqual([]);
  });

  it('makes no request for a topic that is taken out and in again in one go', async () => {
    connect();
    const early = follow(1);
    early.subscription.close();
    follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    await advance(0);
    const first = follow(1);
    first.subscription.close();
    const again = follow(1);
    await advance(0);
    await event(stream, 1, 'a', 'e~2-0');

    expect(server.requests).toHaveLength(1);
    expect(again.told).toEqual([['a', 'e~2-0']]);
  });

  it('does not take what a topic that is asked for anew still brings of before for its beginning', async () => {
    connect();
    follow(2);
    const first = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~1-0');
    first.subscription.close();
    await advance(0);
    const removal = await server.next();
    const again = follow(1);
    await event(stream, 1, 'of before', 'e~2-0');
    answer(removal);
    await stream.event('$closing', { topic: 'orders/1', reason: 'done', comeBack: false });
    await advance(0);
    const addition = await server.next();
    answer(addition);
    await opened(stream, ['orders/1'], 'e~5-0');
    await event(stream, 1, 'new', 'e~6-0');

    expect(bodyOf(addition)).toEqual({ add: [{ topic: 'orders/1', lastEventId: null }], remove: [] });
    expect(again.told).toEqual([['new', 'e~6-0']]);
    expect(again.states.at(-1)).toBe('open opened');
  });

  it('holds no connection while nothing is listened to, and begins without a cursor afterwards', async () => {
    connect();
    const one = follow(1);
    await advance(0);
    const first = await server.next();
    await opened(first.stream(), ['orders/1'], 'e~9-0');
    one.subscription.close();
    await advance(60_000);
    const { state } = client;
    const requests = server.requests.length;
    follow(2);
    await advance(0);
    const next = await server.next();

    expect([first.aborted, requests, state.status, state.reason]).toEqual([true, 1, 'stale', 'idle']);
    expect([next.url, next.headers['last-event-id']]).toEqual([`${url}?topic=orders%2F2`, undefined]);
  });
});

describe('a topic that is listened to anew', () => {
  it('while there is no stream is asked for at no place', async () => {
    connect();
    follow(2);
    const one = follow(1);
    await openAndCut([1, 2], 'e~7-0');
    (await server.next()).fail();
    await settle();
    one.subscription.close();
    await advance(1);
    follow(1);
    await advance(5_000);

    expect(bodyOf(await server.next())).toEqual({
      topics: ['orders/2', { topic: 'orders/1', lastEventId: null }],
    });
  });

  it('while its stream is asked for as before is asked for once more', async () => {
    connect();
    follow(2);
    const one = follow(1);
    await openAndCut([1, 2], 'e~7-0');
    const request = await server.next();
    one.subscription.close();
    await advance(1);
    const again = follow(1);
    await advance(1);
    const stream = request.stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~7-0', 'c2');
    await event(stream, 1, 'of before', 'e~8-0');
    await advance(1);
    const change = await server.next();
    answer(change);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~8-0', 'c2');
    await behind(stream, 1, 'first', 'e~6-0');
    await behind(stream, 1, 'of before', 'e~8-0');

    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/1', lastEventId: null }], remove: [] });
    expect(again.told).toEqual([
      ['first', 'e~6-0'],
      ['of before', 'e~8-0'],
    ]);
  });

  it('while a change is on its way is given from its beginning once more', async () => {
    connect();
    follow(2);
    const one = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~4-0');
    follow(3);
    await advance(0);
    const first = await server.next();
    one.subscription.close();
    await advance(1);
    const again = follow(1);
    await advance(1);
    await event(stream, 1, 'of before', 'e~5-0');
    answer(first);
    await advance(1);
    const second = await server.next();
    answer(second);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~5-0');
    await behind(stream, 1, 'first', 'e~3-0');

    expect(bodyOf(first)).toEqual({ add: [{ topic: 'orders/3', lastEventId: null }], remove: [] });
    expect(bodyOf(second)).toEqual({ add: [{ topic: 'orders/1', lastEventId: null }], remove: [] });
    expect(again.told).toEqual([['first', 'e~3-0']]);
  });

  it('after nothing was is at no place', async () => {
    connect();
    const one = follow(1);
    await advance(0);
    await opened((await server.next()).stream(), ['orders/1'], 'e~9-0');
    one.subscription.close();
    await advance(10_000);
    follow(1);
    await advance(0);

    expect((await server.next()).headers).not.toHaveProperty('last-event-id');
  });
});

describe('a topic behind the stream', () => {
  it('is resumed at its own place until the stream covers it', async () => {
    connect();
    follow(1);
    const two = follow(2, { lastEventId: 'e~2-0' });
    await advance(0);
    const first = await server.next();
    const stream = first.stream();
    await opened(stream, ['orders/1', { topic: 'orders/2', behind: true }], 'e~9-0');
    await behind(stream, 2, 'a', 'e~3-0');
    await advance(2_000);
    await stream.cut();
    await advance(1_000);
    const second = await server.next();
    const next = second.stream();
    await opened(next, ['orders/1', { topic: 'orders/2', behind: true }], 'e~9-0', 'c2');
    await behind(next, 2, 'a', 'e~3-0');
    await behind(next, 2, 'b', 'e~4-0');
    await next.event('$live', { topic: 'orders/2' });
    await advance(2_000);
    await next.cut();
    await advance(1_000);

    expect(bodyOf(first)).toEqual({ topics: ['orders/1', { topic: 'orders/2', lastEventId: 'e~2-0' }] });
    expect(bodyOf(second)).toEqual({ topics: ['orders/1', { topic: 'orders/2', lastEventId: 'e~3-0' }] });
    expect(second.headers['last-event-id']).toBe('e~9-0');
    expect(two.told).toEqual([
      ['a', 'e~3-0'],
      ['b', 'e~4-0'],
    ]);
    expect((await server.next()).url).toBe(`${url}?topic=orders%2F1&topic=orders%2F2`);
  });

  it('that was never given is asked for at no place, beside those that resume', async () => {
    connect();
    follow(1);
    await openAndCut([1], 'e~5-0');
    follow(2);
    await advance(0);
    const second = await server.next();

    // The request was out before the topic was there; the stream is asked for it as soon as it is open.
    const stream = second.stream();
    await opened(stream, ['orders/1'], 'e~5-0', 'c2');
    await advance(0);
    const change = await server.next();
    await advance(2_000);
    await stream.cut();
    await advance(1_000);
    const third = await server.next();

    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
    expect(bodyOf(third)).toEqual({ topics: ['orders/1', { topic: 'orders/2', lastEventId: null }] });
    expect(third.headers['last-event-id']).toBe('e~5-0');
  });

  it('moves when its handler is done', async () => {
    connect();
    follow(1);
    const two = client.subscribe('orders/:orderId', { orderId: 2 }, { lastEventId: 'e~2-0' });
    let finish = (): void => undefined;
    two.on(() => new Promise<void>((resolve) => (finish = resolve)));
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', { topic: 'orders/2', behind: true }], 'e~9-0');
    await behind(stream, 2, 'a', 'e~3-0');
    const before = two.cursor;
    finish();
    await settle();

    expect([before, two.cursor]).toEqual(['e~2-0', 'e~3-0']);
  });
});

describe('a topic that is refused', () => {
  it('ends its own subscriptions, with what was answered, and no other', async () => {
    connect();
    const [one, two] = [follow(1), follow(2)];
    const loop = (async () => {
      for await (const _ of two.subscription) throw new Error('nothing comes');
    })();
    const thrown = loop.catch((error: unknown) => error);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    await stream.event('$error', { topic: 'orders/2', status: 403, message: 'not yours', comeBack: false });
    await event(stream, 1, 'a', 'e~2-0');
    await advance(2_000);
    await stream.cut();
    await advance(1_000);

    expect(await thrown).toMatchObject({ code: 'STREAM_REFUSED', status: 403 });
    expect(two.states.at(-1)).toBe('closed refused 403');
    expect(two.subscription.state.error?.message).toContain('not yours');
    expect(one.told).toEqual([['a', 'e~2-0']]);
    expect((await server.next()).url).toBe(`${url}?topic=orders%2F1`);
    expect(errors).toEqual([]);
  });

  it('when it is added is told by the answer', async () => {
    connect();
    const one = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    const two = follow(2);
    await advance(0);
    answer(await server.next(), [{ topic: 'orders/2', status: 404, message: 'no such', comeBack: false }]);
    await advance(60_000);

    expect([one.states.at(-1), two.states.at(-1)]).toEqual(['open opened', 'closed refused 404']);
    expect(server.requests).toHaveLength(2);
  });

  it('for now is asked for again in a while', async () => {
    connect();
    follow(1);
    const two = follow(2);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    await stream.event('$error', { topic: 'orders/2', status: 503, message: 'later', comeBack: true });
    await advance(2_999);
    const before = server.requests.length;
    await advance(1);
    const change = await server.next();
    answer(change);
    await opened(stream, ['orders/2'], 'e~1-0');

    expect([before, bodyOf(change)]).toEqual([1, { add: [{ topic: 'orders/2', lastEventId: null }], remove: [] }]);
    expect(two.states.slice(-2)).toEqual(['stale refused', 'open opened']);
  });

  it('for now by the answer to a change is asked for again in a while, whatever else is asked for meanwhile', async () => {
    connect();
    follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    follow(2);
    await advance(0);
    answer(await server.next(), [{ topic: 'orders/2', status: 500, message: 'Internal server error', comeBack: true }]);
    await advance(1_000);
    const before = server.requests.length;
    follow(3);
    await advance(0);
    const other = await server.next();
    answer(other);
    await opened(stream, ['orders/3'], 'e~1-0');
    await advance(1_999);
    const between = server.requests.length;
    await advance(1);
    const again = await server.next();

    expect([before, between]).toEqual([2, 3]);
    expect(bodyOf(other)).toEqual({ add: [{ topic: 'orders/3', lastEventId: null }], remove: [] });
    expect(bodyOf(again)).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
  });

  it('by a 401 is asked for again where the application has an answer to that, whenever it comes', async () => {
    const onUnauthorized = jest.fn(() => true);
    connect({ onUnauthorized });
    const one = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    const later = [];
    for (const order of [2, 3]) {
      later.push(follow(order));
      await advance(0);
      (await server.next()).answer(401);
      const again = await server.next();
      expect(bodyOf(again)).toEqual({ add: [{ topic: `orders/${order}`, lastEventId: null }], remove: [] });
      answer(again);
      await opened(stream, [`orders/${order}`], 'e~1-0');
    }

    expect(onUnauthorized).toHaveBeenCalledTimes(2);
    expect([one, ...later].map(({ subscription }) => subscription.state.status)).toEqual(['open', 'open', 'open']);
  });

  it('by a request for too many ends those that it named', async () => {
    connect();
    const one = follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    const two = follow(2);
    await advance(0);
    (await server.next()).answer(400, { body: 'one stream carries 1 at most' });
    await settle();

    expect([one.states.at(-1), two.states.at(-1)]).toEqual(['open opened', 'closed refused 400']);
    expect(two.subscription.state.error?.message).toContain('carries 1 at most');
  });
});

describe('a topic that ends', () => {
  it('for good closes its subscriptions without an error', async () => {
    connect();
    const [one, two] = [follow(1), follow(2)];
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~1-0');
    await stream.event('$closing', { topic: 'orders/2', reason: 'revoked', comeBack: false });
    await event(stream, 1, 'a', 'e~2-0');

    expect([two.states.at(-1), one.told]).toEqual(['closed revoked', [['a', 'e~2-0']]]);
  });

  it('but may come back is asked for again, from where the stream was', async () => {
    connect();
    follow(1);
    const two = follow(2);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~4-0');
    await stream.event('$closing', { topic: 'orders/2', reason: 'expired', comeBack: true });
    await event(stream, 1, 'a', 'e~8-0');
    await advance(3_000);
    const change = await server.next();
    answer(change);
    await opened(stream, [{ topic: 'orders/2', behind: true }], 'e~8-0');
    await behind(stream, 2, 'b', 'e~5-0');

    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/2', lastEventId: 'e~4-0' }], remove: [] });
    expect(two.states.slice(-2)).toEqual(['stale expired', 'open opened']);
    expect(two.told).toEqual([['b', 'e~5-0']]);
  });
});

describe('a change that fails', () => {
  it.each([
    ['since the stream is another node’s', (request: ScriptedRequest) => request.answer(404)],
    ['in the network', (request: ScriptedRequest) => request.fail()],
    ['for now', (request: ScriptedRequest) => request.answer(503)],
  ])('%s makes the stream be asked for anew, with all topics', async (_why, fail) => {
    connect();
    follow(1);
    await advance(0);
    const first = await server.next();
    await opened(first.stream(), ['orders/1'], 'e~1-0');
    follow(2);
    await advance(0);
    fail(await server.next());
    await advance(0);
    const again = await server.next();

    expect(first.aborted).toBe(true);
    expect(bodyOf(again)).toEqual({ topics: ['orders/1', { topic: 'orders/2', lastEventId: null }] });
    expect(client.state.status).toBe('open');
  });

  it('of a stream that is gone meanwhile is forgotten', async () => {
    connect();
    follow(1);
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0');
    follow(2);
    await advance(0);
    const change = await server.next();
    await advance(2_000);
    await stream.cut();
    await advance(1_000);
    const next = await server.next();
    await opened(next.stream(), ['orders/1', 'orders/2'], 'e~1-0', 'c2');
    change.fail();
    await advance(100);

    expect(next.aborted).toBe(false);
    expect(server.requests).toHaveLength(3);
  });
});

describe('gaps and doubles', () => {
  it('are of their topic alone', async () => {
    connect();
    const [one, two] = [follow(1), follow(2)];
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, [{ topic: 'orders/1', gap: 'trimmed' }, 'orders/2'], 'e~1-0');
    await stream.event('$gap', { topic: 'orders/1', reason: 'trimmed' }, 'e~3-0');
    await event(stream, 2, 'b', 'e~4-0');
    await event(stream, 2, 'b', 'e~4-0');
    await event(stream, 1, 'a', 'e~5-0');

    expect(one.told).toEqual([
      ['gap: trimmed', 'e~3-0'],
      ['a', 'e~5-0'],
    ]);
    expect(two.told).toEqual([['b', 'e~4-0']]);
  });
});

describe('what is kept', () => {
  it('places each topic after a reload, and new ones where their routes say', async () => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: async (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    connect({ storage });
    follow(1);
    follow(2);
    follow(3, { lastEventId: 'e~2-0' });
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2', { topic: 'orders/3', behind: true }], 'e~5-0');
    await behind(stream, 3, 'c', 'e~3-0');
    client.close();
    connect({ storage });
    follow(2);
    follow(3);
    follow(4);
    await advance(0);
    const again = await server.next();
    const next = again.stream();
    await opened(next, ['orders/2', { topic: 'orders/3', behind: true }, 'orders/4'], 'e~5-0', 'c2');
    const late = follow(1);
    await advance(0);
    const change = await server.next();
    late.subscription.close();

    expect(again.headers['last-event-id']).toBe('e~5-0');
    expect(bodyOf(again)).toEqual({
      topics: ['orders/2', { topic: 'orders/3', lastEventId: 'e~3-0' }, { topic: 'orders/4', lastEventId: null }],
    });
    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/1', lastEventId: 'e~5-0' }], remove: [] });
  });

  it('is begun without where it is no longer readable, which is told', async () => {
    connect({ storage: { getItem: () => 'e~5-0', setItem: () => undefined } });
    follow(1);
    await advance(0);

    expect((await server.next()).headers).not.toHaveProperty('last-event-id');
    expect(errors).toMatchObject([{ code: 'CALLBACK_FAILED' }]);
  });

  it('goes behind a cursor that the page came with, which is for the topics that it begins with', async () => {
    connect({ lastEventId: 'e~6-0' });
    follow(1);
    await advance(0);
    const request = await server.next();
    await opened(request.stream(), ['orders/1'], 'e~6-0');
    follow(2);
    await advance(0);

    expect([request.url, request.headers['last-event-id']]).toEqual([`${url}?topic=orders%2F1`, 'e~6-0']);
    expect(bodyOf(await server.next())).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
  });
});

describe('schemas', () => {
  it('are for the events of all topics', async () => {
    const evens: StandardSchema<unknown, number> = {
      '~standard': {
        version: 1,
        vendor: 'spec',
        validate: (value) =>
          Number(value) % 2 === 0 ? { value: Number(value) / 2 } : { issues: [{ message: 'is odd' }] },
      },
    };
    connect({ validate: { 'order.noted': evens } });
    const [one, two] = [follow(1), follow(2)];
    await advance(0);
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1', 'orders/2'], 'e~1-0');
    await event(stream, 1, 8, 'e~2-0');
    await event(stream, 2, 3, 'e~3-0');
    await event(stream, 2, 4, 'e~4-0');

    expect([one.told, two.told]).toEqual([[[4, 'e~2-0']], [[2, 'e~4-0']]]);
    expect(errors).toMatchObject([{ code: 'EVENT_INVALID' }]);
  });
});

describe('signals', () => {
  it('close a subscription, or the client with all of them', async () => {
    const all = new AbortController();
    connect({ signal: all.signal });
    const own = new AbortController();
    const one = follow(1, { signal: own.signal });
    const two = follow(2);
    const dead = client.subscribe('orders/:orderId', { orderId: 3 }, { signal: AbortSignal.abort() });
    await advance(0);
    const request = await server.next();
    await opened(request.stream(), ['orders/1', 'orders/2'], 'e~1-0');
    own.abort();
    await advance(0);
    const afterOne = [one.states.at(-1), two.states.at(-1)];
    all.abort();

    expect(dead.state.status).toBe('closed');
    expect(afterOne).toEqual(['closed client-left', 'open opened']);
    expect([two.states.at(-1), client.state.status, request.aborted]).toEqual(['closed client-left', 'closed', true]);
  });
});

describe('long-polling a hub', () => {
  const polled = (events: unknown[], cursor: string): Response =>
    new Response(JSON.stringify({ events, cursor, more: false, retryMs: 10 }), {
      headers: { 'content-type': 'application/json' },
    });
  const open = (topics: unknown[]) => ({
    id: 'e~1-0',
    event: '$open',
    data: { protocol: 1, connection: String(Math.random()), heartbeatMs: 60_000, topics },
  });
  const topic = (name: string, more: object = {}) => ({ topic: name, resumed: true, gap: null, ...more });

  it('asks for the topics that are wanted now, and anew when they change', async () => {
    connect({ longPoll: 'always' });
    const one = follow(1);
    await advance(0);
    const first = await server.next();
    first.respond(
      polled(
        [
          open([topic('orders/1', { behind: true })]),
          { cursor: 'e~0-7', topic: 'orders/1', event: 'order.noted', data: 'a' },
        ],
        'e~3-0',
      ),
    );
    await advance(0);
    const second = await server.next();
    const two = follow(2);
    await advance(1);
    await advance(1);
    const third = await server.next();
    third.respond(
      polled(
        [
          open([topic('orders/1'), topic('orders/2')]),
          { event: '$live', data: { topic: 'orders/1' } },
          { id: 'e~4-0', topic: 'orders/2', event: 'order.noted', data: 'b' },
        ],
        'e~4-0',
      ),
    );
    await advance(0);

    expect(first.url).toBe(`${url}?topic=orders%2F1&waitMs=0`);
    expect(bodyOf(second)).toEqual({ topics: [{ topic: 'orders/1', lastEventId: 'e~0-7' }] });
    expect([second.aborted, second.url]).toEqual([true, `${url}?waitMs=25000`]);
    expect(bodyOf(third)).toEqual({ topics: [{ topic: 'orders/1', lastEventId: 'e~0-7' }, 'orders/2'] });
    expect((await server.next()).url).toBe(`${url}?topic=orders%2F1&topic=orders%2F2&waitMs=25000`);
    expect([one.told, two.told]).toEqual([[['a', 'e~0-7']], [['b', 'e~4-0']]]);
    expect([one.states.at(-1), two.states.at(-1)]).toEqual(['open opened', 'open opened']);
  });

  it('names a thousand topics in a request, and adds the others when the stream is there, from where it began without them', async () => {
    connect();
    for (let order = 0; order < 1_200; order += 1) follow(order);
    await advance(0);
    const all = Array.from({ length: 1_200 }, (_, order) => `orders/${order}`);
    const first = server.requests[0] as ScriptedRequest;
    const stream = first.stream();
    await opened(stream, all.slice(0, 1_000), 'e~1-0');
    await advance(0);
    const second = server.requests[1] as ScriptedRequest;
    answer(second);
    await opened(stream, all.slice(1_000), 'e~1-0');
    await event(stream, 1, 'one', 'e~2-0');
    void stream.end();
    await advance(1_000);
    const third = server.requests[2] as ScriptedRequest;
    await opened(third.stream(), all.slice(0, 1_000), 'e~3-0', 'c2');
    await advance(0);
    const fourth = server.requests[3] as ScriptedRequest;

    expect(bodyOf(first)).toEqual({ topics: all.slice(0, 1_000) });
    expect(bodyOf(second)).toEqual({
      add: all.slice(1_000).map((name) => ({ topic: name, lastEventId: null })),
      remove: [],
    });
    expect(new Headers(third.init.headers).get('last-event-id')).toBe('e~2-0');
    expect(bodyOf(third)).toEqual({ topics: all.slice(0, 1_000) });
    expect(bodyOf(fourth)).toEqual({
      add: all.slice(1_000).map((name) => ({ topic: name, lastEventId: 'e~2-0' })),
      remove: [],
    });
  });

  it('names no more of a request than a body may hold', async () => {
    connect();
    const subject = 'x'.repeat(1_000);
    for (let order = 0; order < 200; order += 1) {
      client.subscribe('news/:subject', { subject: `${subject}${order}` }).on(() => undefined);
    }
    await advance(0);
    const { init } = server.requests[0] as ScriptedRequest;

    expect((init.body as string).length).toBeGreaterThan(80_000);
    expect((init.body as string).length).toBeLessThan(100_000);
  });

  it('refuses those alone that a long poll cannot name', async () => {
    connect({ longPoll: 'always' });
    const followed = Array.from({ length: 1_001 }, (_, order) => follow(order));
    await advance(0);
    const request = server.requests[0] as ScriptedRequest;
    request.respond(
      new Response(JSON.stringify({ events: [], cursor: 'e~1-0' }), {
        headers: { 'content-type': 'application/json' },
      }),
    );
    await advance(0);
    const late = follow(2_000);
    await advance(0);

    expect((bodyOf(request) as { topics: string[] }).topics).toHaveLength(1_000);
    const refused = followed.filter(({ subscription }) => subscription.state.status === 'closed');
    expect(refused.map(({ subscription }) => subscription.topic)).toEqual(['orders/1000']);
    expect(late.states.at(-1)).toBe('closed refused 400');
  });
});
