/** What holds for a stream whatever lies between application and client: a list of claims for each way between them. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { EventBus, Hub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import type { RunningApp } from '../http/adapters.js';
import { OrderPlaced, ordersChannel, OrderShipped, parcelsChannel } from '../http/orders.module.js';
import type { OpenStream, RequestHeaders, StreamReader } from './stream-reader.js';

/** An application and a way to it. */
export interface Way {
  readonly running: RunningApp;
  readonly open: OpenStream;
  /** Called before the application is closed. */
  stop(): Promise<void>;
}

export interface ClaimOptions {
  /** Sent with every request. */
  readonly headers?: RequestHeaders;
  /** What the headers of a stream are, beside those that always are. */
  readonly expected?: Readonly<Record<string, string | undefined>>;
  /** When the application hears of a client that left. @default 'at once' */
  readonly released?: 'at once' | 'when something is sent';
}

const NOTHING = { connections: 0, feeds: 0, subscriptions: 0 };

/** Registers the claims; they are the same for every way. */
export function claimStreamsPass(
  start: () => Promise<Way>,
  { headers = {}, expected = {}, released = 'at once' }: ClaimOptions = {},
): void {
  let way: Way | undefined;
  let bus: EventBus;
  let hub: Hub;
  const readers: StreamReader[] = [];

  const open = async (path: string, more: RequestHeaders = {}): Promise<StreamReader> => {
    if (way === undefined) throw new Error('No way.');
    const reader = await way.open(path, { ...headers, ...more });
    readers.push(reader);
    return reader;
  };
  const place = (number: number): Promise<string> =>
    bus.publish(ordersChannel.topic({ orderId: '7' }), OrderPlaced, { number });

  beforeEach(async () => {
    way = await start();
    bus = way.running.app.get(EventBus);
    hub = way.running.app.get(Hub);
  });

  afterEach(async () => {
    for (const reader of readers.splice(0)) reader.leave();
    await way?.stop();
    await way?.running.app.close();
    way = undefined;
  });

  it('is given every event before the next one is published', async () => {
    const reader = await (await open('/orders/7/events')).opened();
    const seen: number[][] = [];
    for (let number = 1; number <= 3; number += 1) {
      await place(number);
      await reader.receive(number);
      seen.push([...reader.numbers]);
    }
    expect(seen).toEqual([[1], [1, 2], [1, 2, 3]]);
  });

  it('is given every event of a compressed channel before the next one is published', async () => {
    const reader = await (await open('/orders/parcels/berlin', { 'accept-encoding': 'gzip' })).opened();
    for (let number = 1; number <= 3; number += 1) {
      await bus.publish(parcelsChannel.topic({ depot: 'berlin' }), OrderShipped, { number, carrier: 'DHL' });
      await reader.receive(number);
    }
    expect([reader.headers['content-encoding'], reader.numbers]).toEqual(['gzip', [1, 2, 3]]);
  });

  it('is given a long replay whole and in order', async () => {
    const carrier = randomBytes(33_000).toString('base64');
    for (let number = 1; number <= 20; number += 1) {
      await bus.publish(ordersChannel.topic({ orderId: '7' }), OrderShipped, { number, carrier });
    }
    const reader = await open('/orders/7/earliest');
    expect(await reader.receive(20)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  });

  it('resumes where Last-Event-ID says', async () => {
    const reader = await (await open('/orders/7/events')).opened();
    await place(1);
    await reader.receive(1);
    const { cursor } = reader;
    reader.leave();
    await place(2);
    const resumed = await open('/orders/7/events', { 'last-event-id': cursor });
    await resumed.receive(1);
    expect([resumed.open?.topics, resumed.numbers]).toEqual([[{ topic: 'orders/7', resumed: true, gap: null }], [2]]);
  });

  it(`is released in the application when it leaves, ${released}`, async () => {
    const reader = await (await open('/orders/7/events')).opened();
    expect(hub.snapshot()).toEqual({ connections: 1, feeds: 1, subscriptions: 1 });
    reader.leave();
    let number = 0;
    await eventually(async () => {
      if (released === 'when something is sent') await place((number += 1));
      return hub.snapshot().connections === 0;
    }, 'the connection released');
    expect(hub.snapshot()).toEqual(NOTHING);
  });

  it('is told that the application ends', async () => {
    const reader = await (await open('/orders/7/events')).opened();
    await place(1);
    await way?.running.app.close();
    await eventually(() => reader.ended, 'the end of the response');
    expect([reader.numbers, reader.closing]).toEqual([[1], { reason: 'drained', comeBack: true }]);
  });

  it('is told that a stream is over, and then 204', async () => {
    const reader = await open('/streams/count/3');
    await eventually(() => reader.ended, 'the end of the response');
    const again = await open('/streams/count/3', { 'last-event-id': reader.cursor });
    expect([reader.closing, again.status]).toEqual([{ reason: 'done', comeBack: false }, 204]);
  });

  it('has the headers of an event stream', async () => {
    const reader = await open('/orders/7/events');
    const all = {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-cache, must-revalidate, no-transform',
      'x-content-type-options': 'nosniff',
      ...expected,
    };
    expect([reader.status, Object.fromEntries(Object.keys(all).map((name) => [name, reader.headers[name]]))]).toEqual([
      200,
      all,
    ]);
  });
}

/**
 * Registers the claim on idle streams.
 * @param start a way with a time-out for idle streams that is shorter than the 10 s heartbeat of an order's stream
 */
export function claimHeartbeatsKeepIdleStreams(start: () => Promise<Way>): void {
  let way: Way | undefined;

  afterEach(async () => {
    await way?.stop();
    await way?.running.app.close();
    way = undefined;
  });

  it('is cut when idle, but not while heartbeats come, and loses nothing', async () => {
    way = await start();
    const { running, open } = way;
    const bus = running.app.get(EventBus);
    const beating = await (await open('/orders/quiet')).opened();
    const silent = await (await open('/orders/7/events')).opened();

    await eventually(() => silent.ended, 'the silent stream cut', 10_000);
    const { heartbeats, ended } = beating;
    await bus.publish(ordersChannel.topic({ orderId: '7' }), OrderPlaced, { number: 1 });
    const resumed = await open('/orders/7/events', { 'last-event-id': silent.cursor });
    await resumed.receive(1);
    await eventually(() => beating.heartbeats > heartbeats, 'another heartbeat');

    expect([silent.closing, ended, beating.ended]).toEqual([undefined, false, false]);
    expect([resumed.numbers, resumed.names]).toEqual([[1], ['$open', 'order.placed']]);
  }, 20_000);
}
