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

@Controller()
class ManyController {
  @SseChannel(ordersChannel, 'orders/:orderId/events')
  orders(@Param('orderId', ParseIntPipe) orderId: number) {
    return ordersChannel.topic({ orderId });
  }

  @SseHub('many', { channels: [ordersChannel] })
  many() {}

  @SseHub('hundred', { channels: [ordersChannel], maxTopics: 100 })
  hundred() {}
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 500, retryMs: 10, limits: { topicsPerConnection: 150 } })],
  controllers: [LiveController],
})
class LiveModule {}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 500, retryMs: 10, limits: { topicsPerConnection: 1_500 } })],
  controllers: [ManyController],
})
class ManyModule {}

type Channels = typeof ordersChannel | typeof newsChannel;

/** A subscription, and the numbers that came. */
function following(client: SseHubClient<Channels>, orderId: number) {
  const subscription = client.subscribe('orders/:orderId', { orderId });
  const numbers: number[] = [];
  subscription.on('number.counted', ({ number }) => numbers.push(number));
  return { subscription, numbers };
}

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

  const follow = (orderId: number) => following(client, orderId);

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

describe.each(adapters)('the client of a hub that wants 1,200 topics, on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let client: SseHubClient<Channels>;

  beforeEach(async () => {
    running = await startApp(make, ManyModule);
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    client.close();
    await running.app.close();
  });

  const publish = (orderId: number, number: number): Promise<string> =>
    bus.publish(ordersChannel.topic({ orderId }), Counted, { number });
  const stream = () => bus.connections.list().find(({ topics }) => topics.length > 0);

  function followAll(path: string) {
    client = createSseClient<Channels>(`${running.url}/${path}`, { hub, retryMs: 10, maxRetryMs: 50 });
    return Array.from({ length: 1_200 }, (_, orderId) => follow(orderId));
  }
  const follow = (orderId: number) => following(client, orderId);

  it('is given all of them where they may be as many, and misses nothing of any when it comes back', async () => {
    const followed = followAll('many');
    await eventually(
      () => followed.every(({ subscription }) => subscription.state.status === 'open'),
      'all topics',
      20_000,
    );
    await Promise.all(followed.map((_, orderId) => publish(orderId, 1)));
    await eventually(() => followed.every(({ numbers }) => numbers.length === 1), 'an event of each', 20_000);
    const before = stream()?.id;
    (running.app.getHttpServer() as Server).closeAllConnections();
    await Promise.all(followed.map((_, orderId) => publish(orderId, 2)));
    await eventually(() => followed.every(({ numbers }) => numbers.length >= 2), 'what came meanwhile', 20_000);

    expect(followed.every(({ numbers }) => numbers.join() === '1,2')).toBe(true);
    expect(stream()?.topics).toHaveLength(1_200);
    expect(stream()?.id).not.toBe(before);
  }, 60_000);

  it('is given as many as may be, told of each beyond alone, and given another when one was let go', async () => {
    const followed = followAll('hundred');
    const [given, refused] = [followed.slice(0, 100), followed.slice(100)];
    await eventually(
      () => refused.every(({ subscription }) => subscription.state.status === 'closed'),
      'refusals',
      20_000,
    );
    await Promise.all(followed.map((_, orderId) => publish(orderId, 1)));
    await eventually(() => given.every(({ numbers }) => numbers.length === 1), 'an event of each', 20_000);
    given[0]?.subscription.close();
    const late = follow(1_100);
    await eventually(() => late.subscription.state.status === 'open', 'the place that became free');
    await publish(1_100, 2);
    await eventually(() => late.numbers.length === 1, 'its event');

    expect(
      new Set(refused.map(({ subscription: { state, topic } }) => state.error?.message.replace(topic, '…'))),
    ).toEqual(
      new Set([
        '…: One stream carries 100 topics at most ("maxTopics" of the hub, "limits.topicsPerConnection"); let another go first.',
      ]),
    );
    expect(given.slice(1).every(({ subscription }) => subscription.state.status === 'open')).toBe(true);
    expect(stream()?.topics).toHaveLength(100);
  }, 60_000);
});
