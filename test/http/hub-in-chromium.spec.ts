import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Module, Param } from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  Hub,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  type Topic,
} from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import type { Browser, Page } from 'playwright-core';
import { chromiumPath, launchChromium } from '../chromium.js';
import { FaultyLink } from '../faulty-link.js';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('order.shipped')
class OrderShipped {
  @IsInt() n!: number;
}

@SseEvent('news.told')
class NewsTold {
  @IsInt() n!: number;
}

const ordersChannel = defineChannel('orders/:orderId', { events: [OrderShipped] });
const newsChannel = defineChannel('news', { events: [NewsTold] });

@Controller()
class StreamsController {
  @SseChannel(ordersChannel, 'orders/:orderId/events')
  orders(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(newsChannel, 'news/events')
  news() {
    return newsChannel.topic();
  }

  @SseHub('live', { channels: [ordersChannel, newsChannel] })
  live() {}

  @Get()
  @Header('content-type', 'text/html')
  page(): string {
    return '<!doctype html><link rel="icon" href="data:,">';
  }
}

@Module({
  imports: [SseChannelsModule.forRoot({ retryMs: 50 })],
  controllers: [StreamsController],
})
class AppModule {}

(chromiumPath === null ? describe.skip : describe)('an EventSource of Chromium on a hub', () => {
  describe.each(adapters)('on $adapter', ({ make }) => {
    let running: RunningApp;
    let link: FaultyLink;
    let browser: Browser;
    let page: Page;

    beforeAll(async () => {
      running = await startApp(make, AppModule);
      link = await FaultyLink.listen(running.url);
      browser = await launchChromium();
    }, 60_000);

    afterAll(async () => {
      await browser?.close();
      await link?.close();
      await running?.app.close();
    }, 30_000);

    const open = async (path: string): Promise<void> => {
      page = await browser.newPage();
      await page.goto(link.origin);
      await page.evaluate(`{
        const source = new EventSource(${JSON.stringify(path)});
        self.seen = [];
        for (const name of ['order.shipped', 'news.told'])
          source.addEventListener(name, (event) => self.seen.push([event.type, JSON.parse(event.data)]));
      }`);
      await connected();
    };
    const connected = (): Promise<void> =>
      eventually(() => running.app.get(Hub).snapshot().connections === 1, 'the stream is open');
    const seen = async (count: number): Promise<unknown[]> => {
      const all = (): Promise<unknown[]> => page.evaluate<unknown[]>('self.seen');
      await eventually(async () => (await all()).length >= count, `${count} events were seen`);
      return all();
    };
    /** Publishes one on each topic, cuts the stream, publishes again, and gives what was seen of all. */
    const seenOverACut = async (topics: readonly Topic[]): Promise<unknown[]> => {
      const bus = running.app.get(EventBus);
      const publishAll = async (n: number): Promise<void> => {
        for (const topic of topics)
          await bus.publish(topic, topic.channel === newsChannel ? NewsTold : OrderShipped, { n });
      };
      await publishAll(1);
      await seen(topics.length);
      link.cut();
      await publishAll(2);
      await seen(2 * topics.length);
      await publishAll(3);
      const all = await seen(3 * topics.length);
      await page.close();
      await eventually(() => running.app.get(Hub).snapshot().connections === 0, 'the stream is closed');
      return all;
    };

    it('is given the events of topics of several channels by their names, each once and in order over a cut', async () => {
      await open('/live?topic=orders/1&topic=news');
      expect(await seenOverACut([ordersChannel.topic({ orderId: '1' }), newsChannel.topic()])).toEqual(
        [1, 2, 3].flatMap((n) => [
          ['order.shipped', { n }],
          ['news.told', { n }],
        ]),
      );
    });

    it('is told the topic in the data where it asks for envelopes, each event once and in order over a cut', async () => {
      await open('/live?frames=envelope&topic=orders/2&topic=orders/3');
      const topics = ['2', '3'].map((orderId) => ordersChannel.topic({ orderId }));
      expect(await seenOverACut(topics)).toEqual(
        [1, 2, 3].flatMap((n) => ['orders/2', 'orders/3'].map((topic) => ['order.shipped', { topic, data: { n } }])),
      );
    });
  });
});
