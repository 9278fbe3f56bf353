/** The client on a hub of the library's own: many topics on one connection, each given or refused by its own route. */
import type { Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, ForbiddenException, Module, Param, ParseIntPipe } from '@nestjs/common';
import { createSseClient, hub, type HubSubscription, type SseHubClient } from '@sse-channels/client';
import { defineChannel, EventBus, Hub, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('number.counted')
class Counted {
  static readonly eventName = 'number.counted';
  @IsInt() number!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [Counted] });
const newsChannel = defineChannel('news/:subject', { events: [Counted] });

@Controller()
class LiveController {
  @SseChannel(ordersChannel, 'orders/:orderId/events')
  orders(@Param('orderId', ParseIntPipe) orderId: number) {
    if (orderId >= 1_000) throw new ForbiddenException(`Order ${orderId} is not yours`);
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(newsChannel, 'news/:subject/events')
  news(@Param('subject') subject: string) {
    return { topic: newsChannel.topic({ subject }), start: { last: 2 } };
  }

  @SseHub('live', { channels: [ordersChannel, newsChannel], maxTopics: 150 })
  live() {}

  @SseHub('few', { channels: [ordersChannel], maxTopics: 2 })
  few() {}
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 500, retryMs: 10, limits: { topicsPerConnection: 150 } })],
  controllers: [LiveController],
})
class LiveModule {}

type Channels = typeof ordersChannel | typeof newsChannel;

describe.each(adapters)('the client of a hub, on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let client: SseHubClient<Channels>;

  beforeEach(async () => {
    running = await startApp(make, LiveModule);
    bus = running.app.get(EventBus);
    client = createSseClient<Channels>(`${running.url}/live`, { hub, retryMs: 10, maxRetryMs: 50 });
  });

  afterEach(async () => {
    client.close();
    await running.app.close();
  });

  const publish = (orderId: number, number: number): Promise<string> =>
    bus.publish(ordersChannel.topic({ orderId }), Counted, { number });
  const topics = (): string[] => bus.connections.list().flatMap((connection) => [...connection.topics]);
  const isOpen = (...subscriptions: ReadonlyArray<HubSubscription<any>>): Promise<void> =>
    eventually(() => subscriptions.every(({ state }) => state.status === 'open'), 'the topics given');

  function follow(orderId: number) {
    const subscription = client.subscribe('orders/:orderId', { orderId });
    const numbers: number[] = [];
    subscription.on('number.counted', ({ number }) => numbers.push(number));
    return { subscription, numbers };
  }

  it('carries all that is subscribed to, adds and takes out while it is open, and shares a topic', async () => {
    const one = follow(1);
    await isOpen(one.subscription);
    const [two, again] = [follow(2), follow(1)];
    const news = client.subscribe('news/:subject', { subject: 'größe/x' });
    const read: number[] = [];
    await bus.publish(newsChannel.topic({ subject: 'größe/x' }), Counted, { number: 7 });
    news.on('number.counted', ({ number }) => read.push(number));
    await isOpen(two.subscription, again.subscription, news);
    await publish(1, 1);
    await publish(2, 2);
    await eventually(
      () => one.numbers.length + two.numbers.length + again.numbers.length + read.length === 4,
      'events',
    );
    one.subscription.close();
    two.subscription.close();
    await eventually(() => topics().length === 2, 'a topic gone');

    expect(topics().sort()).toEqual(['news/gr%C3%B6%C3%9Fe%2Fx', 'orders/1']);
    expect([one.numbers, two.numbers, again.numbers, read]).toEqual([[1], [2], [1], [7]]);
    expect(running.app.get(Hub).snapshot().connections).toBe(1);
    again.subscription.close();
    news.close();
    await eventually(() => running.app.get(Hub).snapshot().connections === 0, 'no connection for nothing');
  });

  it('comes back with one cursor for all, and those that were added have missed nothing either', async () => {
    const followed = [1, 2, 3].map(follow);
    await isOpen(...followed.map(({ subscription }) => subscription));
    followed.push(follow(4));
    await isOpen(...followed.map(({ subscription }) => subscription));
    for (let number = 1; number <= 20; number += 1) {
      for (const orderId of [1, 2, 3, 4]) await publish(orderId, number);
      if (number % 7 === 0) (running.app.getHttpServer() as Server).closeAllConnections();
    }
    await eventually(() => followed.every(({ numbers }) => numbers.length >= 20), 'all events');

    const all = Array.from({ length: 20 }, (_, n) => n + 1);
    expect(followed.map(({ numbers }) => numbers)).toEqual([all, all, all, all]);
  });

  it('ends the subscriptions of a topic that is refused, at first or later, and no others', async () => {
    const [mine, theirs] = [follow(1), follow(1_000)];
    await isOpen(mine.subscription);
    await eventually(() => theirs.subscription.state.status === 'closed', 'the first refusal');
    const later = follow(2_000);
    await eventually(() => later.subscription.state.status === 'closed', 'the later refusal');
    await publish(1, 1);
    await eventually(() => mine.numbers.length === 1, 'an event');

    expect(theirs.subscription.state.error).toMatchObject({ code: 'STREAM_REFUSED', status: 403 });
    expect(later.subscription.state.error?.message).toContain('Order 2000 is not yours');
  });

  it('closes what is beyond the topics that a stream carries, at first or later, and goes on with the others', async () => {
    client.close();
    client = createSseClient<Channels>(`${running.url}/few`, { hub, retryMs: 10, maxRetryMs: 50 });
    const [one, two, three] = [follow(1), follow(2), follow(3)];
    await isOpen(one.subscription, two.subscription);
    const four = follow(4);
    await eventually(() => four.subscription.state.status === 'closed', 'the later refusal');
    await publish(1, 1);
    await eventually(() => one.numbers.length === 1, 'an event');
    (running.app.getHttpServer() as Server).closeAllConnections();
    await publish(1, 2);
    await publish(2, 1);
    await eventually(() => one.numbers.length + two.numbers.length === 3, 'what came after the cut');
    one.subscription.close();
    const again = follow(3);
    await isOpen(again.subscription);

    const refused = { code: 'STREAM_REFUSED', status: 400 };
    expect([three, four].map(({ subscription }) => subscription.state.error)).toEqual([
      expect.objectContaining(refused),
      expect.objectContaining(refused),
    ]);
    expect(topics().sort()).toEqual(['orders/2', 'orders/3']);
  });

  it('names a hundred topics with long names in a body', async () => {
    const followed = Array.from({ length: 100 }, (_, n) =>
      client.subscribe('news/:subject', { subject: `${n}-${'long'.repeat(20)}` }),
    );
    for (const subscription of followed) subscription.on(() => undefined);
    await isOpen(...followed);

    expect(topics()).toHaveLength(100);
  });

  it('asks anew for a topic that the application ended for now', async () => {
    const one = follow(1);
    await isOpen(one.subscription);
    await publish(1, 1);
    await eventually(() => one.numbers.length === 1, 'an event');
    for (const { id } of bus.connections.list()) bus.connections.end({ id }, { comeBack: true });
    await publish(1, 2);
    await eventually(() => one.numbers.length === 2, 'another event');

    expect(one.numbers).toEqual([1, 2]);
  });
});
