/** The client: typed by the contract alone, whatever kind of contract it is. */
import {
  createSseClient,
  hub,
  type ClientEvent,
  type CursorStorage,
  type HubSubscription,
  type JsonOf,
  type SseClient,
  type SseClientOptions,
  type SseHubClient,
} from '@sse-channels/client';
import { from } from 'rxjs';
import { z } from 'zod';
import type { OrderPlaced, orderNoted, ordersChannel, OrderShipped, quietChannel, scalesChannel } from './contract.js';
import { same, type Equal } from './equal.js';

declare const localStore: CursorStorage;

type Flat<T> = T extends object ? { [K in keyof T]: Flat<T[K]> } : T;
type Placed = { total: number; placedAt?: string; parcels?: { grams: number }[] };
type Shipped = { orderId: string; carrier: string };
type Noted = { note: string; tags: string[]; at: number };

// What JSON makes of it.
same<Equal<Flat<JsonOf<OrderPlaced>>, Placed>>();
same<Equal<JsonOf<Date>, string>>();
same<Equal<JsonOf<string | null | number[]>, string | null | number[]>>();
same<Equal<JsonOf<unknown>, unknown>>();
same<Equal<JsonOf<readonly [Date, 1]>, readonly [string, 1]>>();

export async function accepted(signal: AbortSignal, token: () => Promise<string>): Promise<void> {
  const orders = createSseClient<typeof ordersChannel>('/orders/42/events', {
    headers: async () => ({ authorization: await token() }),
    query: { since: 1, tags: ['a', 'b'], none: null },
    signal,
    storage: { getItem: () => null, setItem: () => undefined },
    validate: { 'order.shipped': z.object({ orderId: z.string(), carrier: z.string() }) },
    onError: ({ code, message }) => void [code satisfies string, message],
  });
  const leave = orders.on('order.shipped', (data, event) => {
    same<Equal<Flat<typeof data>, Shipped>>();
    same<Equal<(typeof event)['name'], 'order.shipped'>>();
    return data.carrier.toUpperCase();
  });
  leave();
  orders.on('order.placed', ({ placedAt }) => void (placedAt satisfies string | undefined), { signal });
  orders.on('order.noted', async (data) => {
    same<Equal<Flat<typeof data>, Noted>>();
  });
  orders.on((event) => {
    same<Equal<(typeof event)['name'], 'order.placed' | 'order.shipped' | 'order.noted'>>();
    if (event.name === 'order.noted') void (event.data.tags satisfies string[]);
  });
  for await (const event of orders) {
    if (event.name === 'order.placed') void (event.data.total satisfies number);
    void [event.cursor satisfies string, event.topic satisfies string | null];
  }
  for await (const { name } of orders.events({ signal, maxWaiting: 10, whenFull: 'drop-oldest' })) void name;
  from(orders).subscribe((event) => void (event.name satisfies 'order.placed' | 'order.shipped' | 'order.noted'));
  orders.onGap(({ topic, reason, skipped }) => void [topic, reason, skipped]);
  orders.onState(({ status, reason, error }) => void [status, reason, error?.status, error?.body]);

  // A list of events, for a stream of one connection.
  const report = createSseClient<[typeof OrderPlaced, typeof orderNoted]>('/reports/7');
  report.on('order.noted', ({ at }) => void (at satisfies number));

  // Data by name, for a server that has no contract.
  const ticks = createSseClient<{ tick: { price: number } }>('https://elsewhere.example/ticks');
  ticks.on('tick', ({ price }) => void (price satisfies number));

  // Nothing is known: any name, and data that has to be looked at.
  const anything = createSseClient(new URL('https://elsewhere.example/'));
  anything.on('whatever', (data) => {
    same<Equal<typeof data, unknown>>();
  });
  void (anything satisfies SseClient);

  // A class that does not say its name to the compiler: any name passes, known ones stay exact.
  const scales = createSseClient<typeof scalesChannel>('/scales');
  scales.on('order.placed', (data) => {
    same<Equal<Flat<typeof data>, Placed>>();
  });
  scales.on('order.weighed', (data) => {
    same<Equal<Flat<typeof data>, { grams: number }>>();
  });
  createSseClient<typeof quietChannel>('/quiet').on((event) => {
    same<Equal<Flat<(typeof event)['data']>, { grams: number }>>();
  });
  void ({ retryMs: 1, longPoll: 'always', cursorIn: 'query' } satisfies SseClientOptions);

  // A hub: of several channels, of a list of them, of an object of them.
  type Channels = typeof ordersChannel | typeof scalesChannel;
  const live = createSseClient<Channels>('/live', { hub, storage: localStore });
  const one = live.subscribe('orders/:orderId', { orderId: 42 }, { signal, lastEventId: 'e~1-0' });
  one.on('order.shipped', (data, event) => {
    same<Equal<Flat<typeof data>, Shipped>>();
    same<Equal<(typeof event)['name'], 'order.shipped'>>();
  });
  for await (const event of one) void (event.name satisfies 'order.placed' | 'order.shipped' | 'order.noted');
  from(one).subscribe((event) => void (event.name satisfies 'order.placed' | 'order.shipped' | 'order.noted'));
  one.onState(({ status, error }) => void [status, error?.status, one.topic]);
  one.close();
  live.subscribe('scales').on('order.placed', ({ total }) => void (total satisfies number));
  live.subscribe('scales', {}, { signal });
  const byList = createSseClient<[typeof ordersChannel, typeof scalesChannel]>('/live', { hub });
  byList.subscribe('orders/:orderId', { orderId: '42' }).on('order.noted', ({ at }) => void (at satisfies number));
  const byName = createSseClient<{ orders: typeof ordersChannel; scales: typeof scalesChannel }>('/live', {
    hub,
    validate: { 'order.shipped': z.object({ orderId: z.string(), carrier: z.string() }) },
  });
  byName.subscribe('orders/:orderId', { orderId: 1 }).on('order.placed', ({ total }) => void (total satisfies number));
  byName.subscribe({ pattern: 'orders/:orderId' }, { orderId: 1 });
  void (live satisfies SseHubClient<Channels>);
  void (one satisfies HubSubscription<typeof ordersChannel>);
  createSseClient('/live', { hub })
    .subscribe('anything/:id', { id: 1 })
    .on('what.ever', (data) => {
      same<Equal<typeof data, unknown>>();
    });
  void (null as unknown as ClientEvent<'order.shipped', OrderShipped>);
}

export function refused(): void {
  const orders = createSseClient<typeof ordersChannel>('/orders/42/events');
  // @ts-expect-error: no such event
  orders.on('order.shiped', () => undefined);
  // @ts-expect-error: no such property
  orders.on('order.shipped', ({ carier }) => carier);
  // @ts-expect-error: on the wire a date is text
  orders.on('order.placed', ({ placedAt }) => placedAt?.getTime());
  // @ts-expect-error: on the wire an object has no methods
  orders.on('order.placed', (placed) => placed.describe());
  // @ts-expect-error: control events are the client's own
  orders.on('$gap', () => undefined);
  // @ts-expect-error: a name is needed where there is no handler for all
  orders.on();
  orders.on((event) => {
    // @ts-expect-error: which event it is has not been asked
    void event.data.carrier;
  });
  // @ts-expect-error: the data of an unknown server has to be looked at
  createSseClient('/x').on('x', (data) => data.price);
  // @ts-expect-error: no such event to validate
  createSseClient<typeof ordersChannel>('/x', { validate: { 'order.shiped': z.unknown() } });
  // @ts-expect-error: the schema gives something else than the contract
  createSseClient<typeof ordersChannel>('/x', { validate: { 'order.shipped': z.object({ carrier: z.number() }) } });
  // @ts-expect-error: misspelt
  createSseClient('/x', { retry: 5 });
  // @ts-expect-error: a header is text
  createSseClient('/x', { headers: { a: 1 } });
  const live = createSseClient<typeof ordersChannel | typeof scalesChannel>('/live', { hub });
  // @ts-expect-error: no such channel
  live.subscribe('order/:orderId', { orderId: 1 });
  // @ts-expect-error: a parameter is missing
  live.subscribe('orders/:orderId');
  // @ts-expect-error: misspelt
  live.subscribe('orders/:orderId', { order: 1 });
  // @ts-expect-error: no such event on this channel
  live.subscribe('orders/:orderId', { orderId: 1 }).on('order.weighed', () => undefined);
  // @ts-expect-error: the topics are the request
  createSseClient('/live', { hub, body: {} });
  // @ts-expect-error: a hub has no events of its own
  live.on('order.shipped', () => undefined);
  // @ts-expect-error: a URL is needed
  createSseClient();
  // @ts-expect-error: a channel is a value; its type is `typeof ordersChannel`
  createSseClient<ordersChannel>('/x');
}
