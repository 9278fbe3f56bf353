/** Signed cursors on a hub: a stream's one cursor places its client in all topics, whichever of them the client goes on with. */
import type { Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, ParseIntPipe, Req, type Type } from '@nestjs/common';
import { createSseClient, hub, type CursorStorage, type SseHubClient } from '@sse-channels/client';
import {
  CursorSeal,
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  type CursorSealOptions,
} from '@sse-channels/nest';
import { eventually, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('number.counted')
class Counted {
  static readonly eventName = 'number.counted';
  @IsInt() number!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [Counted] });
const order = (orderId: number) => ordersChannel.topic({ orderId });

/** Topics that nobody is given for now. */
const withheld = new Set<string>();

@Controller()
class LiveController {
  @SseChannel(ordersChannel, 'orders/:orderId/events', {
    reauthorizeMs: 100,
    authorize: (_request, topic) => !withheld.has(topic.name),
  })
  orders(@Param('orderId', ParseIntPipe) orderId: number) {
    return order(orderId);
  }

  /** All orders that are named, the last of which is another one each time. */
  @SseChannel(ordersChannel, 'orders')
  several(@Req() request: { query: { ids: string } }) {
    return request.query.ids.split(',').map((id) => order(Number(id)));
  }

  @SseHub('live', { channels: [ordersChannel] })
  live() {}
}

const SECRET = 'a secret of this test, thirty-two bytes';
const userOf = (request: unknown) => (request as { headers: Record<string, string | undefined> }).headers['x-user'];

function moduleWith(cursor: CursorSealOptions): Type {
  @Module({
    imports: [SseChannelsModule.forRoot({ cursor, heartbeatMs: 300, retryMs: 10, principal: userOf })],
    controllers: [LiveController],
  })
  class LiveModule {}
  return LiveModule;
}

const cases = adapters.flatMap((one) => (['topic', 'principal'] as const).map((bindTo) => ({ ...one, bindTo })));

describe.each(cases)('on $adapter, with cursors bound to the $bindTo,', ({ make, bindTo }) => {
  let running: RunningApp;
  let bus: EventBus;
  const clients: Array<{ leave(): void }> = [];

  beforeEach(async () => {
    withheld.clear();
    running = await startApp(make, moduleWith({ secret: SECRET, bindTo }));
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  const publish = (orderId: number, number: number): Promise<string> =>
    bus.publish(order(orderId), Counted, { number });
  const open = async (path: string, { user = 'ada', ...request }: SseTestRequest & { user?: string } = {}) => {
    const client = await SseTestClient.connect(`${running.url}/${path}`, { headers: { 'x-user': user }, ...request });
    clients.push(client);
    return client.opened();
  };
  const told = (client: SseTestClient): unknown[] =>
    client.named<Counted>('number.counted').map(({ data }) => data.number);
  const cut = (): void => (running.app.getHttpServer() as Server).closeAllConnections();

  /** The client of the house, what it was given, and the gaps that it was told of. */
  const start = (storage?: CursorStorage) => {
    const client: SseHubClient<typeof ordersChannel> = createSseClient<typeof ordersChannel>(`${running.url}/live`, {
      hub,
      headers: { 'x-user': 'ada' },
      retryMs: 10,
      maxRetryMs: 50,
      ...(storage === undefined ? {} : { storage }),
    });
    clients.push({ leave: client.close });
    const numbers: number[] = [];
    const gaps: string[] = [];
    const follow = (orderId: number, lastEventId?: string) => {
      const subscription = client.subscribe('orders/:orderId', { orderId }, { lastEventId });
      subscription.onGap(({ reason }) => gaps.push(`${orderId} ${reason}`));
      subscription.on('number.counted', ({ number }) => numbers.push(number));
      return subscription;
    };
    return { client, numbers, gaps, follow };
  };
  type Followed = ReturnType<ReturnType<typeof start>['follow']>;
  const isOpen = (...subscriptions: readonly Followed[]): Promise<void> =>
    eventually(() => subscriptions.every(({ state }) => state.status === 'open'), 'the topics given');

  describe('a stream of many topics', () => {
    it('is gone on with from any of its cursors, whichever of its topics are left', async () => {
      const client = await open('live?topic=orders/1&topic=orders/2');
      const ofOpen = client.cursor;
      await publish(1, 1);
      await publish(2, 2);
      await client.receive(2);
      const [ofOne, ofTwo] = client.named('number.counted').map(({ cursor }) => cursor);
      await publish(1, 3);
      await publish(3, 4);

      const left = await open('live?topic=orders/1', { lastEventId: ofTwo! });
      const other = await open('live?topic=orders/3', { lastEventId: ofOne! });
      const begun = await open('live?topic=orders/2&topic=orders/3', { lastEventId: ofOpen });
      withheld.add('orders/2');
      const refused = await open('live?topic=orders/1&topic=orders/2', { lastEventId: ofTwo! });
      await Promise.all([left.receive(1), other.receive(1), begun.receive(2), refused.receive(1)]);

      expect([left, other, begun, refused].map(told)).toEqual([[3], [4], [2, 4], [3]]);
      expect([left, other, begun, refused].flatMap(({ gaps }) => gaps)).toEqual([]);
    });

    it('takes its cursor for a topic that is added, and the one that a heartbeat moved on to', async () => {
      const client = await open('live?topic=orders/1');
      const before = client.cursor;
      await client.until(({ comments }) => comments > 0, 'a heartbeat');
      await publish(2, 1);
      const change = async (lastEventId: string, topic: string): Promise<void> => {
        await fetch(`${running.url}/live/${client.open!.connection}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-user': 'ada' },
          body: JSON.stringify({ add: [{ topic, lastEventId }] }),
        });
      };
      await change(before, 'orders/2');
      await client.receive(1);
      await change(client.cursor, 'orders/3');
      await publish(3, 2);
      await client.receive(2);

      expect([told(client), client.gaps]).toEqual([[1, 2], []]);
    });

    it('signs what it tells of gaps as the rest, so that who leaves after one goes on from there', async () => {
      const client = await open('live?topic=orders/1&topic=orders/2', { lastEventId: 'garbage' });
      await client.until(({ gaps }) => gaps.length === 2, 'two gaps');
      await publish(3, 1);
      const again = await open('live?topic=orders/3', { lastEventId: client.cursor });
      await again.receive(1);
      expect([told(again), again.gaps]).toEqual([[1], []]);
    });

    it('takes no cursor that was not signed, was changed, or is of a stream of another topic alone', async () => {
      const client = await open('live?topic=orders/1');
      const alone = await open('orders/2/events');
      const [first] = [await publish(1, 1), await publish(2, 2)];
      await Promise.all([client.receive(1), alone.receive(1)]);
      const { cursor } = client;
      const last = cursor.at(-1) === 'A' ? 'B' : 'A';
      for (const lastEventId of [first, cursor.slice(0, -1) + last, alone.cursor]) {
        const again = await open('live?topic=orders/1', { lastEventId });
        await again.until(({ gaps }) => gaps.length === 1, 'a gap');
        expect(again.gaps).toEqual([{ topic: 'orders/1', reason: 'invalid' }]);
      }
    });

    it(`is ${bindTo === 'topic' ? 'for whoever' : 'for nobody else who'} comes with its cursor`, async () => {
      const client = await open('live?topic=orders/1&topic=orders/2');
      await publish(1, 1);
      await client.receive(1);
      await publish(1, 2);
      const other = await open('live?topic=orders/1', { lastEventId: client.cursor, user: 'bob' });
      await other.receive(bindTo === 'topic' ? 1 : 2);
      expect([told(other), other.gaps.map(({ reason }) => reason)]).toEqual(
        bindTo === 'topic' ? [[2], []] : [[1, 2], ['invalid']],
      );
    });

    it('begins where the application sealed a cursor for one of its topics, or for whichever it has', async () => {
      const [first] = [await publish(1, 1), await publish(1, 2), await publish(2, 3)];
      const seal = running.app.get(CursorSeal);
      const ofOne = await open('live?topic=orders/1', { lastEventId: seal.seal(first, order(1), 'ada') });
      const ofAny = await open('live?topic=orders/1&topic=orders/2', { lastEventId: seal.seal(first, null, 'ada') });
      await Promise.all([ofOne.receive(1), ofAny.receive(2)]);
      expect([told(ofOne), told(ofAny), ofOne.gaps, ofAny.gaps]).toEqual([[2], [2, 3], [], []]);
    });

    it("holds for a channel's own route, whose handler gives other topics the next time", async () => {
      const client = await open('orders?ids=1,2');
      await publish(2, 1);
      await client.receive(1);
      await publish(1, 2);
      await publish(3, 3);
      const again = await open('orders?ids=1,3', { lastEventId: client.cursor });
      const alone = await open('orders/3/events', { lastEventId: client.cursor });
      await Promise.all([again.receive(2), alone.receive(1)]);
      expect([told(again), told(alone), again.gaps, alone.gaps]).toEqual([[2, 3], [3], [], []]);
    });
  });

  describe('the client', () => {
    it('comes back without the topic whose event came last, and misses nothing', async () => {
      const { numbers, gaps, follow } = start();
      const [one, two] = [follow(1), follow(2)];
      await isOpen(one, two);
      await publish(1, 1);
      await publish(2, 2);
      await eventually(() => numbers.length === 2, 'two events');
      two.close();
      cut();
      await publish(1, 3);
      await eventually(() => numbers.length === 3, 'the event after the cut');
      expect([numbers, gaps]).toEqual([[1, 2, 3], []]);
    });

    it('adds a topic at the cursor where its stream stands', async () => {
      const { client, numbers, gaps, follow } = start();
      await isOpen(follow(1));
      await publish(1, 1);
      await eventually(() => numbers.length === 1, 'an event');
      const { cursor } = client;
      await publish(1, 2);
      await publish(2, 3);
      const two = follow(2, cursor);
      await isOpen(two);
      await publish(2, 4);
      await eventually(() => numbers.length === 4, 'all events');
      cut();
      await publish(2, 5);
      await eventually(() => numbers.length === 5, 'the event after the cut');
      expect([numbers, gaps]).toEqual([[1, 2, 3, 4, 5], []]);
    });

    it('asks again for a topic that was withdrawn for a while, from where its stream stood', async () => {
      const { numbers, gaps, follow } = start();
      const [one, two] = [follow(1), follow(2)];
      await isOpen(one, two);
      await publish(1, 1);
      await eventually(() => numbers.length === 1, 'an event');
      withheld.add('orders/2');
      await eventually(() => two.state.status === 'stale', 'the withdrawal');
      withheld.clear();
      await publish(2, 2);
      await eventually(() => numbers.length === 2, 'what was published meanwhile');
      expect([numbers, gaps]).toEqual([[1, 2], []]);
    });

    it('goes on from what it kept with other topics than it had', async () => {
      const kept = new Map<string, string>();
      const storage: CursorStorage = {
        getItem: (key) => kept.get(key),
        setItem: (key, value) => void kept.set(key, value),
      };
      const before = start(storage);
      const [one, two] = [before.follow(1), before.follow(2)];
      await isOpen(one, two);
      await publish(2, 1);
      await publish(1, 2);
      await eventually(() => before.numbers.length === 2, 'two events');
      const three = before.follow(3);
      await isOpen(three);
      await publish(3, 3);
      await eventually(() => before.numbers.length === 3, 'three events');
      await eventually(
        () => [...kept.values()].some((text) => text.includes(before.client.cursor)),
        'the place is kept',
      );
      before.client.close();
      await publish(1, 4);
      await publish(2, 5);
      await publish(4, 6);

      const after = start(storage);
      const [again, other] = [after.follow(2), after.follow(4)];
      await isOpen(again, other);
      await publish(4, 7);
      await eventually(() => after.numbers.length >= 2, 'what was missed, and what is new');
      expect([after.numbers, after.gaps]).toEqual([[5, 7], []]);
    });
  });
});
