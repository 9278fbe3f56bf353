import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { SseChannelsError } from '@sse-channels/protocol';
import { hub, type SseHubClient } from '../hub/hub-client.js';
import { ScriptedFetch, settle, type ScriptedRequest, type ScriptedStream } from '../scripted-fetch.js';
import { createSseClient, type SseHubClientOptions } from '../sse-client.js';
import { openBrowser, ScriptedChannel, type ScriptedLocks } from './scripted-browser.js';
import { sharedTabs } from './shared-tabs.js';

const url = 'https://shop.example/live';

let server: ScriptedFetch;
let tabs: SseHubClient[];
let errors: SseChannelsError[];
let closeBrowser: () => void;

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick', 'performance'] });
  server = new ScriptedFetch();
  tabs = [];
  errors = [];
  closeBrowser = openBrowser();
});

afterEach(async () => {
  for (const tab of tabs) tab.close();
  await pass();
  closeBrowser();
  jest.useRealTimers();
});

/** Lets tabs talk with one another, and what is put off for a moment be done. */
async function pass(ms = 50): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await jest.advanceTimersByTimeAsync(ms / 5);
    await settle();
  }
}

/** Opens a tab that follows orders. */
function openTab(orders: readonly number[], options: Omit<SseHubClientOptions, 'hub'> = {}) {
  const client = createSseClient(url, {
    hub,
    tabs: sharedTabs(),
    fetch: server.fetch,
    onError: (error) => errors.push(error),
    ...options,
  });
  tabs.push(client);
  const told: unknown[] = [];
  const follow = (orderId: number) => {
    const subscription = client.subscribe('orders/:orderId', { orderId });
    subscription.on(({ data }) => told.push(data));
    subscription.onGap(({ reason }) => told.push(reason));
    return subscription;
  };
  return { client, told, follow, subscriptions: orders.map(follow) };
}

type Topics = Array<string | { readonly topic: string; readonly behind?: true }>;

const opened = (stream: ScriptedStream, topics: Topics, id: string, connection: string): Promise<void> =>
  stream.event(
    '$open',
    {
      protocol: 1,
      connection,
      heartbeatMs: 600_000,
      topics: topics.map((topic) => ({ resumed: true, gap: null, ...(typeof topic === 'string' ? { topic } : topic) })),
    },
    id,
  );
const event = (stream: ScriptedStream, order: number, data: unknown, id: string): Promise<void> =>
  stream.send(`id: ${id}\ntopic: orders/${order}\nevent: order.noted\ndata: ${JSON.stringify(data)}\n\n`);
const beside = (stream: ScriptedStream, order: number, data: unknown, cursor: string): Promise<void> =>
  stream.send(`cursor: ${cursor}\ntopic: orders/${order}\nevent: order.noted\ndata: ${JSON.stringify(data)}\n\n`);
const bodyOf = ({ init }: ScriptedRequest): unknown => JSON.parse(init.body as string);
const accept = (request: ScriptedRequest, refused: unknown[] = []): void =>
  request.respond(
    new Response(JSON.stringify({ added: [], removed: [], refused }), {
      headers: { 'content-type': 'application/json' },
    }),
  );

describe('tabs that share', () => {
  it('have one connection for what all of them want, and each is told what it wants', async () => {
    const first = openTab([1]);
    await pass();
    const request = await server.next();
    const stream = request.stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([2]);
    await pass();
    const change = await server.next();
    accept(change);
    await opened(stream, ['orders/2'], 'e~1-0', 'c1');
    await event(stream, 1, 'a', 'e~2-0');
    await event(stream, 2, 'b', 'e~3-0');
    await pass();

    expect(request.url).toBe(`${url}?topic=orders%2F1`);
    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
    expect([first.told, second.told]).toEqual([['a'], ['b']]);
    expect(server.requests).toHaveLength(2);
    expect([second.client.state, second.subscriptions[0]?.state]).toMatchObject([
      { status: 'open' },
      { status: 'open' },
    ]);
    expect(second.client.cursor).toBe('e~3-0');
  });

  it('give a topic from its beginning to one that joins, and the others nothing twice', async () => {
    const first = openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    await event(stream, 1, 'a', 'e~2-0');
    await event(stream, 1, 'b', 'e~3-0');
    const second = openTab([1]);
    await pass();
    const change = await server.next();
    await event(stream, 1, 'not from where it begins', 'e~4-0');
    accept(change);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~4-0', 'c1');
    await beside(stream, 1, 'b', 'e~3-0');
    await beside(stream, 1, 'not from where it begins', 'e~4-0');
    await beside(stream, 1, 'c', 'e~5-0');
    await stream.event('$live', { topic: 'orders/1' });
    await event(stream, 1, 'd', 'e~6-0');
    await pass();

    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/1', lastEventId: null }], remove: [] });
    expect(first.told).toEqual(['a', 'b', 'not from where it begins', 'c', 'd']);
    expect(second.told).toEqual(['b', 'not from where it begins', 'c', 'd']);
  });

  it('go on from where they stand when the one that leads closes, and drop what they had', async () => {
    const first = openTab([1]);
    await pass();
    const old = (await server.next()).stream();
    await opened(old, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([1]);
    await pass();
    accept(await server.next());
    await opened(old, ['orders/1'], 'e~1-0', 'c1');
    await event(old, 1, 'a', 'e~2-0');
    await pass();
    first.client.close();
    await pass(600);
    const request = await server.next();
    const stream = request.stream();
    await opened(stream, ['orders/1'], 'e~2-0', 'c2');
    await event(stream, 1, 'a', 'e~2-0');
    await event(stream, 1, 'b', 'e~3-0');
    await pass();

    expect([request.url, request.headers['last-event-id']]).toEqual([`${url}?topic=orders%2F1`, 'e~2-0']);
    expect(second.told).toEqual(['a', 'b']);
  });

  it('go on together: who leads next asks for what all of them want, when the one before is gone for certain', async () => {
    const first = openTab([1]);
    await pass();
    const old = (await server.next()).stream();
    await opened(old, ['orders/1'], 'e~1-0', 'c1');
    const rest = [openTab([1, 2]), openTab([3])];
    await pass();
    accept(await server.next());
    await opened(old, ['orders/1', 'orders/2', 'orders/3'], 'e~1-0', 'c1');
    await event(old, 3, 'a', 'e~2-0');
    await pass();
    const before = server.requests.length;
    first.client.close();
    await pass(90);
    const early = server.requests.length - before;
    await pass(600);
    const request = await server.next();
    await opened(request.stream(), ['orders/1', 'orders/2', 'orders/3'], 'e~2-0', 'c2');
    await pass();

    expect([early, server.requests.length - before]).toEqual([0, 1]);
    expect(new URL(request.url).searchParams.getAll('topic').sort()).toEqual(['orders/1', 'orders/2', 'orders/3']);
    expect(request.headers['last-event-id']).toBe('e~2-0');
    for (const { client } of rest) expect(client.state.status).toBe('open');
  });

  it.each([
    ['closed', () => undefined],
    ['died without a word', () => ScriptedChannel.all.at(-1)?.sleep()],
  ])('take a topic out when the last tab that wanted it has %s', async (_how, silence) => {
    openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([2]);
    await pass();
    accept(await server.next());
    await opened(stream, ['orders/2'], 'e~1-0', 'c1');
    silence();
    second.client.close();
    await pass();

    expect(bodyOf(await server.next())).toEqual({ add: [], remove: ['orders/2'] });
  });

  it('are all told of a topic that is refused, with its status', async () => {
    openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([2]);
    await pass();
    accept(await server.next(), [{ topic: 'orders/2', status: 403, message: 'not yours', comeBack: false }]);
    await pass();

    expect(second.subscriptions[0]?.state).toMatchObject({
      status: 'closed',
      reason: 'refused',
      error: { status: 403, code: 'STREAM_REFUSED' },
    });
    expect(second.client.state.status).toBe('open');

    second.follow(2);
    await pass();
    expect(bodyOf(await server.next())).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
  });

  it('are all closed where the server refuses the stream for good', async () => {
    const [first, second] = [openTab([1]), openTab([2])];
    await pass();
    (await server.next()).answer(401);
    await pass();

    expect([first.client.state, second.client.state]).toMatchObject([
      { status: 'closed', error: { status: 401 } },
      { status: 'closed', error: { status: 401 } },
    ]);
  });

  it('tell one whose handlers do not keep up what it is not given', async () => {
    const first = openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([]);
    const slow = second.client.subscribe('orders/:orderId', { orderId: 1 });
    let finish = (): void => undefined;
    const told: unknown[] = [];
    slow.on(({ data }) => {
      told.push(data);
      return data === 0 ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    slow.onGap(({ reason, skipped }) => told.push([reason, skipped]));
    await pass();
    accept(await server.next());
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    for (let count = 0; count <= 10_001; count += 100) {
      await stream.send(
        Array.from(
          { length: 100 },
          (_, index) =>
            `id: e~${(count + index + 100).toString(36)}-0\ntopic: orders/1\nevent: order.noted\ndata: ${count + index}\n\n`,
        ).join(''),
      );
    }
    await pass();
    finish();
    await pass();

    expect(told.slice(0, 2)).toEqual([0, ['skipped', 10_001]]);
    expect(told.at(-1)).toBe(10_099);
    expect(first.told).toHaveLength(10_100);
  });

  it('wait each for its own handlers alone, the one that leads as well, and stand where those are', async () => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    const first = openTab([], { storage });
    let finish = (): void => undefined;
    const told: unknown[] = [];
    first.client.subscribe('orders/:orderId', { orderId: 1 }).on(({ data }) => {
      told.push(data);
      return data === 'b' ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([1]);
    await pass();
    accept(await server.next());
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    await event(stream, 1, 'a', 'e~2-0');
    await stream.send(
      ['b', 'c']
        .map((data, n) => `id: e~${n + 3}-0\ntopic: orders/1\nevent: order.noted\ndata: "${data}"\n\n`)
        .join(''),
    );
    await pass();
    const meanwhile = [[...told], [...second.told], first.client.cursor, second.client.cursor, [...kept.values()]];
    finish();
    await pass();

    expect(meanwhile).toEqual([['a', 'b'], ['a', 'b', 'c'], 'e~2-0', 'e~4-0', ['{"orders/1":"e~2-0"}']]);
    expect([told, first.client.cursor, [...kept.values()]]).toEqual([
      ['a', 'b', 'c'],
      'e~4-0',
      ['{"orders/1":"e~4-0"}'],
    ]);
  });

  it('take the lead from one that sleeps with it, and go on from where they stand', async () => {
    const first = openTab([1]);
    await pass();
    const old = await server.next();
    const [asleep] = ScriptedChannel.all;
    const oldStream = old.stream();
    await opened(oldStream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([1]);
    await pass();
    accept(await server.next());
    await opened(oldStream, ['orders/1'], 'e~1-0', 'c1');
    await event(oldStream, 1, 'a', 'e~2-0');
    await pass();
    asleep?.sleep();
    await pass(8_000);
    const isLeftAlone = !old.aborted && server.requests.length === 2;
    for (let passed = 0; passed < 22 && !old.aborted; passed += 1) await pass(1_000);
    const isOvertaken = old.aborted;
    await pass(1_000);
    const request = await server.next();
    const stream = request.stream();
    await opened(stream, ['orders/1'], 'e~2-0', 'c2');
    await event(stream, 1, 'b', 'e~3-0');
    asleep?.wake();
    await pass();
    const change = await server.next();
    accept(change);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~3-0', 'c2');
    await beside(stream, 1, 'b', 'e~3-0');
    await stream.event('$live', { topic: 'orders/1' });
    await event(stream, 1, 'c', 'e~4-0');
    await pass();
    // Who lost the lead gets it back only when the other one is gone.
    second.client.close();
    await pass(1_000);

    expect([isLeftAlone, isOvertaken, request.aborted]).toEqual([true, true, true]);
    expect([request.url, request.headers['last-event-id']]).toEqual([`${url}?topic=orders%2F1`, 'e~2-0']);
    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/1', lastEventId: 'e~2-0' }], remove: [] });
    expect([first.told, second.told]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ]);
    expect((await server.next()).headers['last-event-id']).toBe('e~4-0');
    expect(server.requests).toHaveLength(5);
    expect(first.client.state.status).toBe('stale');
  });

  it('neither take the lead nor rest while they are hidden', async () => {
    Object.defineProperty(globalThis, 'document', { configurable: true, value: { visibilityState: 'hidden' } });
    try {
      openTab([1], { pauseHiddenAfterMs: 1_000 });
      await pass();
      const request = await server.next();
      const [asleep] = ScriptedChannel.all;
      await opened(request.stream(), ['orders/1'], 'e~1-0', 'c1');
      openTab([1]);
      await pass();
      accept(await server.next());
      asleep?.sleep();
      await pass(60_000);

      expect([request.aborted, server.requests.length]).toEqual([false, 2]);
    } finally {
      Reflect.deleteProperty(globalThis, 'document');
    }
  });

  it('go on each from where its own storage says, and keep there where it stands', async () => {
    const first = openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~5-0', 'c1');
    const kept = new Map([[`sse-channels:${url}`, '{"orders/1":"e~3-0","orders/2":"e~4-0","orders/3":"e~2-0"}']]);
    const storage = {
      getItem: async (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    const second = openTab([1, 2], { storage });
    await pass();
    const change = await server.next();
    accept(change);
    const cursors = second.subscriptions.map(({ cursor }) => cursor);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~5-0', 'c1');
    await beside(stream, 1, 'a', 'e~4-0');
    await pass();
    const behind = [...kept.values()];
    await opened(stream, [{ topic: 'orders/2', behind: true }], 'e~5-0', 'c1');
    await beside(stream, 2, 'b', 'e~5-0');
    await stream.event('$live', { topic: 'orders/1' });
    await stream.event('$live', { topic: 'orders/2' });
    await event(stream, 1, 'c', 'e~6-0');
    await pass();
    const live = [...kept];
    // What was gone on from once is not gone on from again.
    second.subscriptions[1]?.close();
    await pass();
    accept(await server.next());
    second.follow(2);
    second.follow(3);
    await pass();

    expect(cursors).toEqual(['e~3-0', 'e~4-0']);
    expect(bodyOf(change)).toEqual({
      add: [
        { topic: 'orders/1', lastEventId: 'e~3-0' },
        { topic: 'orders/2', lastEventId: 'e~4-0' },
      ],
      remove: [],
    });
    expect(behind).toEqual(['{"orders/1":"e~4-0","orders/2":"e~4-0"}']);
    expect([first.told, second.told]).toEqual([['c'], ['a', 'b', 'c']]);
    expect(live).toEqual([[`sse-channels:${url}`, '{"orders/1":"e~6-0","orders/2":"e~6-0"}']]);
    expect(bodyOf(await server.next())).toEqual({
      add: [
        { topic: 'orders/2', lastEventId: null },
        { topic: 'orders/3', lastEventId: 'e~2-0' },
      ],
      remove: [],
    });
  });

  it('begin each at the cursor that it was brought, with the topics that it begins with', async () => {
    const first = openTab([1], { lastEventId: 'e~2-0' });
    await pass();
    const request = await server.next();
    const stream = request.stream();
    await opened(stream, ['orders/1'], 'e~5-0', 'c1');
    const second = openTab([1], { lastEventId: 'e~3-0' });
    await pass();
    const change = await server.next();
    accept(change);
    await opened(stream, [{ topic: 'orders/1', behind: true }], 'e~5-0', 'c1');
    await beside(stream, 1, 'a', 'e~4-0');
    await stream.event('$live', { topic: 'orders/1' });
    second.follow(2);
    await pass();

    expect(bodyOf(request)).toEqual({ topics: [{ topic: 'orders/1', lastEventId: 'e~2-0' }] });
    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/1', lastEventId: 'e~3-0' }], remove: [] });
    expect([first.told, second.told]).toEqual([[], ['a']]);
    expect(bodyOf(await server.next())).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
  });

  it('try at once when any of them is woken, and leave a stream that lives alone', async () => {
    const first = openTab([1], { retryMs: 600_000, maxRetryMs: 600_000 });
    await pass();
    (await server.next()).answer(503);
    const second = openTab([1]);
    await pass();
    const waiting = [first.client.state, second.client.state].map(({ retryInMs }) => retryInMs);
    second.client.wake();
    await pass();
    const request = await server.next();
    await opened(request.stream(), ['orders/1'], 'e~1-0', 'c1');
    second.client.wake();
    first.client.wake();
    await pass();

    expect(waiting[0]).toBeGreaterThan(1_000);
    expect(waiting[1]).toBe(waiting[0]);
    expect([request.aborted, second.client.state.status]).toEqual([false, 'open']);
  });

  it('wake one that leads and is late, as timers of hidden pages are, if they are seen themselves', async () => {
    const leader = new ScriptedChannel(`sse-channels/1  ${url}`);
    const heard: unknown[] = [];
    leader.addEventListener('message', ({ data }) => heard.push((data as { readonly kind: string }).kind));
    const { navigator } = globalThis as unknown as { readonly navigator: { readonly locks: ScriptedLocks } };
    void navigator.locks.request(leader.name, {}, () => new Promise(() => undefined));
    const { client, subscriptions } = openTab([1]);
    await pass();
    const tell = (state: object): void =>
      leader.postMessage({
        kind: 'state',
        state: { transport: 'stream', retryInMs: null, error: undefined, ...state },
        topics: [],
        cursor: '',
      });
    tell({ status: 'open', reason: 'opened' });
    await pass();
    tell({ status: 'stale', reason: 'cut', retryInMs: 500 });
    await pass(1_400);
    const early = heard.includes('wake');
    await pass(200);
    const late = heard.splice(0).includes('wake');
    tell({ status: 'stale', reason: 'cut', retryInMs: 500 });
    tell({ status: 'open', reason: 'opened' });
    await pass(2_000);
    const open = heard.splice(0).includes('wake');
    // A new one opens what this tab had open: that is not new here.
    tell({ status: 'connecting', reason: 'started' });
    await pass();

    expect([early, late, open]).toEqual([false, true, false]);
    expect([client.state.status, subscriptions[0]?.state.status]).toEqual(['stale', 'stale']);
    expect(server.requests).toHaveLength(0);
  });

  it('have each its own connection where locks are denied, as in a frame without an origin', async () => {
    const request = (): Promise<never> => Promise.reject(new DOMException('denied', 'SecurityError'));
    Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks: { request } } });
    const [first, second] = [openTab([1]), openTab([1])];
    await pass();
    const streams = [(await server.next()).stream(), (await server.next()).stream()] as const;
    for (const stream of streams) await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    await event(streams[0], 1, 'a', 'e~2-0');
    await event(streams[1], 1, 'b', 'e~2-0');
    first.follow(2);
    await pass();
    const change = await server.next();
    first.client.close();
    await pass();

    expect([first.told, second.told]).toEqual([['a'], ['b']]);
    expect(bodyOf(change)).toEqual({ add: [{ topic: 'orders/2', lastEventId: null }], remove: [] });
    expect(server.requests.map(({ aborted }) => aborted)).toEqual([true, false, false]);
    expect([errors, second.client.state.status]).toEqual([[], 'open']);
  });

  it('ask again and again together where streams do not last, and each is told what it wants', async () => {
    const [first, second] = [openTab([1], { longPoll: 'always' }), openTab([], { longPoll: 'always' })];
    const answerWith = async (topics: readonly string[], numbers: readonly number[], cursor: string) => {
      const request = await server.next();
      const open = { protocol: 1, connection: 'c', heartbeatMs: 600_000 };
      request.respond(
        Response.json({
          events: [
            {
              event: '$open',
              id: numbers.length === 0 ? cursor : 'e~1-0',
              data: { ...open, topics: topics.map((topic) => ({ topic, resumed: true, gap: null })) },
            },
            ...numbers.map((number) => ({
              event: 'order.noted',
              topic: number === 3 ? 'orders/1' : topics.at(-1),
              id: `e~${number}-0`,
              data: number,
            })),
          ],
          cursor,
        }),
      );
      await pass();
      return request;
    };
    await pass();
    await answerWith(['orders/1'], [2], 'e~2-0');
    second.follow(1);
    second.follow(2);
    await pass();
    const held = await server.next();
    const renewed = await answerWith(['orders/1', 'orders/2'], [3, 4], 'e~4-0');
    const state = second.client.state;
    await server.next();
    const third = openTab([2], { longPoll: 'always' });
    await pass();
    const joined = await answerWith(['orders/1', 'orders/2'], [], 'e~4-0');
    const given = third.subscriptions[0]?.state.status;
    first.client.close();
    await pass(600);
    await server.next();
    const handedOn = await server.next();

    expect([first.told, second.told]).toEqual([
      [2, 3],
      [3, 4],
    ]);
    expect([held.aborted, renewed.url]).toEqual([true, `${url}?waitMs=0`]);
    expect(bodyOf(renewed)).toEqual({ topics: ['orders/1', { topic: 'orders/2', lastEventId: null }] });
    expect(state).toMatchObject({ status: 'open', transport: 'long-poll' });
    expect([joined.url, given]).toEqual([`${url}?topic=orders%2F1&topic=orders%2F2&waitMs=0`, 'open']);
    expect([handedOn.url, handedOn.headers['last-event-id']]).toEqual([
      `${url}?topic=orders%2F1&topic=orders%2F2&waitMs=0`,
      'e~4-0',
    ]);
  });

  it('have each its own connection where a browser cannot share', async () => {
    Object.defineProperty(globalThis, 'navigator', { configurable: true, value: {} });
    openTab([1]);
    openTab([1]);
    await pass();

    expect(server.requests).toHaveLength(2);
  });
});
