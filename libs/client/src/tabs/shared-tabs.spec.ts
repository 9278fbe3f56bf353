import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { SseChannelsError } from '@sse-channels/protocol';
import { hub, type SseHubClient } from '../hub/hub-client.js';
import { ScriptedFetch, settle, type ScriptedRequest, type ScriptedStream } from '../scripted-fetch.js';
import { createSseClient, type SseHubClientOptions } from '../sse-client.js';
import { openBrowser } from './scripted-browser.js';
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

  it('take a topic out when the last tab that wanted it has closed', async () => {
    openTab([1]);
    await pass();
    const stream = (await server.next()).stream();
    await opened(stream, ['orders/1'], 'e~1-0', 'c1');
    const second = openTab([2]);
    await pass();
    accept(await server.next());
    await opened(stream, ['orders/2'], 'e~1-0', 'c1');
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

  it('take the lead from one that sleeps with it', async () => {
    const first = openTab([1]);
    await pass();
    const old = await server.next();
    await opened(old.stream(), ['orders/1'], 'e~5-0', 'c1');
    const second = openTab([1]);
    await pass();
    accept(await server.next());
    await pass();
    // Nothing of the first one is heard any more.
    const channels = jest.spyOn(globalThis.BroadcastChannel.prototype, 'postMessage');
    channels.mockImplementation(() => undefined);
    await pass(30_000);
    channels.mockRestore();
    await pass(1_000);

    expect(old.aborted).toBe(true);
    expect([first.client.state.status, second.client.state.status]).not.toContain('closed');
  });

  it('have each its own connection where a browser cannot share', async () => {
    Object.defineProperty(globalThis, 'navigator', { configurable: true, value: {} });
    openTab([1]);
    openTab([1]);
    await pass();

    expect(server.requests).toHaveLength(2);
  });
});
