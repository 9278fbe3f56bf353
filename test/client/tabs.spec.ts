/** Tabs of one Chromium that share one connection, through a proxy that cuts; the one that leads is closed, and killed. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Module, Param } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { bundleClient } from '../../.ci/client-bundle.mjs';
import { chromiumPath, launchChromium } from '../chromium.js';
import { FaultyLink } from '../faulty-link.js';
import { startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('number.counted')
class Counted {
  @IsInt() number!: number;
}

const countsChannel = defineChannel('counts/:name', { events: [Counted] });
const TOPICS = 'abcdefghijklmnopqrst'.split('');

/** What the server knows of streams: how many are open, the most that ever were at a time, and how many there were. */
const streams = { open: 0, most: 0, all: 0 };
let bundle: string;

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    // Of the others whoever comes without a place has missed what was before.
    return { topic: countsChannel.topic({ name }), start: name < 'k' ? ('earliest' as const) : ('latest' as const) };
  }

  @SseHub('live', { channels: [countsChannel] })
  live() {}

  @Get('page')
  @Header('content-type', 'text/html')
  page(): string {
    return '<!doctype html><link rel="icon" href="data:,">';
  }

  @Get('client.js')
  @Header('content-type', 'text/javascript')
  client(): string {
    return bundle;
  }
}

@Module({
  imports: [
    SseChannelsModule.forRoot({
      retryMs: 20,
      // A place is good for whichever tab goes on from it, with whichever topics.
      cursor: { secret: 'a secret of the tabs, thirty-two bytes' },
      observer: {
        connectionOpened: () => {
          streams.all += 1;
          streams.open += 1;
          streams.most = Math.max(streams.most, streams.open);
        },
        connectionEnded: () => {
          streams.open -= 1;
        },
      },
    }),
  ],
  controllers: [CountsController],
})
class CountsModule {}

(chromiumPath === null ? describe.skip : describe)('tabs in Chromium', () => {
  let browser: Browser;
  let context: BrowserContext;
  let running: RunningApp;
  let link: FaultyLink;
  /** How many streams there were when the last was cut. */
  let allBefore: number;
  const last = new Map<string, number>();

  beforeAll(async () => {
    bundle = (await bundleClient(['createSseClient', 'hub', 'sharedTabs'])).code;
    browser = await launchChromium();
  }, 60_000);

  afterAll(() => browser?.close());

  beforeEach(async () => {
    Object.assign(streams, { open: 0, most: 0, all: 0 });
    last.clear();
    allBefore = 0;
    running = await startApp(() => new ExpressAdapter(), CountsModule);
    link = await FaultyLink.listen(running.url);
    context = await browser.newContext();
  });

  afterEach(async () => {
    await context.close();
    await link.close();
    await running.app.close();
  });

  /** Opens a tab that follows topics, and gathers what its handlers are called with. */
  async function openTab(topics: readonly string[], longPoll: false | 'always' = false): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${link.origin}/page`);
    await page.evaluate(`(async () => {
      const { createSseClient, hub, sharedTabs } = await import('/client.js');
      globalThis.told = {};
      globalThis.wrong = [];
      globalThis.subscriptions = [];
      // Cuts come fast: where long-polling is allowed it is soon all that is done.
      globalThis.client = createSseClient('/live', {
        hub, tabs: sharedTabs(), longPoll: ${JSON.stringify(longPoll)}, onError: (error) => wrong.push(error.message),
      });
      for (const name of ${JSON.stringify(topics)}) {
        told[name] = [];
        const subscription = client.subscribe('counts/:name', { name });
        subscription.on(({ data }) => told[name].push(data.number));
        subscription.onGap(({ reason }) => wrong.push(reason));
        subscriptions.push(subscription);
      }
    })()`);
    return page;
  }

  /** @param cutEach after so many events what is open is cut, at once and within the next bytes in turns; once it is open again */
  async function publish(count: number, cutEach = Infinity): Promise<void> {
    const bus = running.app.get(EventBus);
    for (let index = 0; index < count; index += 1) {
      const name = TOPICS[index % TOPICS.length] as string;
      const number = (last.get(name) ?? 0) + 1;
      last.set(name, number);
      await bus.publish(countsChannel.topic({ name }), Counted, { number });
      if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (index % cutEach !== cutEach - 1) continue;
      await eventually(hasReopened, 'another stream');
      allBefore = streams.all;
      if (index % (2 * cutEach) < cutEach) link.cut();
      else link.cutAfter(500);
    }
  }

  /** Whether there was another stream since the last cut. */
  function hasReopened(): boolean {
    return streams.all > allBefore;
  }

  /** The tab that holds the lead's lock. */
  async function leaderOf(pages: readonly Page[]): Promise<Page> {
    const holders = await Promise.all(
      pages.map((page) =>
        page.evaluate<boolean>(`navigator.locks.request('who ' + Math.random(), async ({ name: own }) => {
          const { held } = await navigator.locks.query();
          const me = held.find(({ name }) => name === own).clientId;
          return held.some(({ name, clientId }) => name.endsWith('/live') && clientId === me);
        })`),
      ),
    );
    const leaders = pages.filter((_, index) => holders[index]);
    expect(leaders).toHaveLength(1);
    return leaders[0] as Page;
  }

  const upTo = (name: string): number[] => Array.from({ length: last.get(name) ?? 0 }, (_, index) => index + 1);

  /** Waits until each tab was told all of its topics, and sees that it was told nothing else. */
  async function expectWhole(pages: readonly Page[]): Promise<void> {
    for (const page of pages) {
      const told = (): Promise<Record<string, number[]>> => page.evaluate('told');
      await eventually(
        async () => Object.entries(await told()).every(([name, numbers]) => numbers.length >= upTo(name).length),
        'everything in the tab',
        15_000,
      );
      const names = Object.keys(await told());
      expect(await told()).toEqual(Object.fromEntries(names.map((name) => [name, upTo(name)])));
      expect(await page.evaluate('wrong')).toEqual([]);
    }
  }

  it('share one connection, eight of them, over cuts, a tab that is closed and one that is killed while it leads', async () => {
    let pages: Page[] = [];
    for (let tab = 0; tab < 8; tab += 1) {
      pages.push(await openTab(tab % 2 === 0 ? TOPICS : TOPICS.filter((_, index) => (index + tab) % 4 < 2)));
    }
    for (const page of pages) {
      const isOpen = 'subscriptions.every(({ state }) => state.status === "open")';
      await eventually(() => page.evaluate<boolean>(isOpen), 'every topic given');
    }
    await publish(1_000, 200);
    await expectWhole(pages);

    const closed = await leaderOf(pages);
    pages = pages.filter((page) => page !== closed);
    const closing = closed.close();
    await publish(1_000, 200);
    await closing;
    await expectWhole(pages);

    const killed = await leaderOf(pages);
    const crashed = new Set<Page>();
    for (const page of pages) page.on('crash', () => crashed.add(page));
    const session = await context.newCDPSession(killed);
    const killing = session.send('Page.crash').catch(() => undefined);
    await publish(2_000, 200);
    await eventually(() => crashed.has(killed), 'the tab killed');
    void killing;
    pages = pages.filter((page) => !crashed.has(page));
    await publish(1_000, 200);
    await expectWhole(pages);

    expect(pages.length).toBeGreaterThan(1);
    expect(link.broken).toBeGreaterThan(10);
    // Whenever the server opened a stream, it knew of no other that had not ended.
    expect(streams).toEqual({ open: 1, most: 1, all: expect.any(Number) });
    for (const page of pages) await page.evaluate('client.close()');
    await eventually(() => streams.open === 0, 'no connection for nobody');
  }, 90_000);

  it('give one that is opened later, while events flow, each topic from its beginning, and go on when it is closed', async () => {
    const first = await openTab(['a', 'b']);
    await eventually(() => streams.open === 1, 'a connection');
    const during = async <T>(what: Promise<T>): Promise<T> => {
      const awaited = { isOver: false };
      void what.finally(() => (awaited.isOver = true));
      while (!awaited.isOver) await publish(20);
      return what;
    };
    const second = await during(openTab(['b', 'a', 'c']));
    await during(eventually(() => second.evaluate<boolean>('told.c.length > 0'), 'an event of its own'));
    await expectWhole([first, second]);
    await during(second.close());
    await publish(200);
    await expectWhole([first]);

    expect(streams).toEqual({ open: 1, most: 1, all: 1 });
  }, 60_000);

  it('ask again and again together where streams do not last, over a leader that is closed', async () => {
    let pages = [await openTab(['a'], 'always'), await openTab(['b'], 'always'), await openTab(['a', 'b'], 'always')];
    const isOpen = 'subscriptions.every(({ state }) => state.status === "open" && state.transport === "long-poll")';
    for (const page of pages) await eventually(() => page.evaluate<boolean>(isOpen), 'every topic given');
    await publish(400);
    await expectWhole(pages);
    const closed = await leaderOf(pages);
    pages = pages.filter((page) => page !== closed);
    const closing = closed.close();
    await publish(400);
    await closing;
    await publish(400);
    await expectWhole(pages);

    // The end of a poll that is given up may come to the server after the next one: a browser closes the one socket and asks on another.
    expect(streams.most).toBeLessThanOrEqual(2);
  }, 60_000);
});
