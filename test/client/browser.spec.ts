/** The built client in a page: resuming, the network's coming and going, a tab that is hidden, a reload, redirects. */
import type { Server } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Module, Param } from '@nestjs/common';
import { defineChannel, EventBus, Hub, SseChannel, SseChannelsModule, SseEvent } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { bundleClient } from '../../.ci/client-bundle.mjs';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { chromiumPath, launchChromium } from '../chromium.js';
import { RawServer, streamOf, type Answer } from './raw-server.js';

const HTML = '<!doctype html><link rel="icon" href="data:,">';
let bundle: string;

@SseEvent('number.counted')
class Counted {
  @IsInt() number!: number;
}

const countsChannel = defineChannel('counts/:name', { events: [Counted], heartbeatMs: 500, retryMs: 20 });

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    return countsChannel.topic({ name });
  }

  @Get('page')
  @Header('content-type', 'text/html')
  page(): string {
    return HTML;
  }

  @Get('client.js')
  @Header('content-type', 'text/javascript')
  client(): string {
    return bundle;
  }
}

@Module({ imports: [SseChannelsModule.forRoot({ retryMs: 20 })], controllers: [CountsController] })
class CountsModule {}

/** Opens a client in a page, with options as they are written there; `seen` has its events, `states` its states. */
async function open(page: Page, url: string, options = '{}'): Promise<void> {
  await page.evaluate(`(async () => {
    const { createSseClient } = await import('/client.js');
    globalThis.seen = [];
    globalThis.gaps = [];
    globalThis.states = [];
    globalThis.client = createSseClient('${url}', ${options});
    client.on(({ name, data }) => seen.push(data.number ?? name));
    client.onGap((gap) => gaps.push(gap));
    client.onState(({ status, reason }) => states.push(status + ' ' + reason));
  })()`);
}

const seen = (page: Page): Promise<unknown[]> => page.evaluate('seen');
const states = (page: Page): Promise<string[]> => page.evaluate('states');
const until = (page: Page, what: string): Promise<void> =>
  eventually(() => page.evaluate<boolean>(what), `${what} in the page`, 10_000);

(chromiumPath === null ? describe.skip : describe)('the client in Chromium', () => {
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    bundle = (await bundleClient()).code;
    browser = await launchChromium();
  }, 60_000);

  afterAll(() => browser?.close());

  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
  });

  afterEach(() => context.close());

  describe.each(adapters)('on an application of the library, on $adapter', ({ make }) => {
    let running: RunningApp;

    beforeEach(async () => {
      running = await startApp(make, CountsModule);
      await page.goto(`${running.url}/page`);
    });

    afterEach(() => running.app.close());

    const publish = (number: number): Promise<string> =>
      running.app.get(EventBus).publish(countsChannel.topic({ name: 'a' }), Counted, { number });
    const connections = (): number => running.app.get(Hub).snapshot().connections;

    it('comes back after each cut, and misses and doubles nothing', async () => {
      await open(page, '/counts/a');
      await until(page, 'states.at(-1) === "open opened"');
      for (let number = 1; number <= 60; number += 1) {
        await publish(number);
        if (number % 20 === 0) (running.app.getHttpServer() as Server).closeAllConnections();
      }
      await until(page, 'seen.length >= 60');

      expect(await seen(page)).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
      expect(await page.evaluate('gaps')).toEqual([]);
    }, 30_000);

    it('goes on after a reload where it was, with what localStorage kept', async () => {
      const options = '{ storage: localStorage }';
      await open(page, '/counts/a', options);
      await until(page, 'states.at(-1) === "open opened" && client.cursor !== ""');
      await publish(1);
      await until(page, 'seen.length === 1');

      await page.reload();
      await publish(2);
      await open(page, '/counts/a', options);
      await publish(3);
      await until(page, 'seen.length >= 2');

      expect(await seen(page)).toEqual([2, 3]);
    }, 30_000);

    it('leaves when it is closed, and when the page is', async () => {
      await open(page, '/counts/a');
      await eventually(() => connections() === 1, 'a connection');
      await page.evaluate('client.close()');
      await eventually(() => connections() === 0, 'no connection');

      await open(page, '/counts/a');
      await eventually(() => connections() === 1, 'a connection');
      await page.close();
      await eventually(() => connections() === 0, 'no connection');
    }, 30_000);
  });

  describe('on a server of raw bytes', () => {
    let server: RawServer;
    let other: RawServer;
    const streams = (): number => server.requests.filter(({ url }) => url.startsWith('/stream')).length;

    beforeEach(async () => {
      server = await RawServer.listen();
      other = await RawServer.listen();
    });

    afterEach(async () => {
      await context.close();
      await server.close();
      await other.close();
    });

    /** Serves the page and the client, and answers anything else so. */
    async function serve(answer: Answer): Promise<void> {
      server.answer((response, request, number) => {
        if (request.url === '/client.js') response.setHeader('content-type', 'text/javascript').end(bundle);
        else if (request.url === '/') response.setHeader('content-type', 'text/html').end(HTML);
        else return answer(response, request, number);
      });
      await page.goto(server.origin);
    }

    it('tries at once when the network is back', async () => {
      await serve(streamOf('data: {}\n\n'));
      await open(page, '/stream', '{ retryMs: 600_000 }');
      await until(page, 'seen.length === 1');

      await context.setOffline(true);
      server.cut();
      await until(page, 'states.at(-1) === "stale cut"');
      const before = streams();
      await context.setOffline(false);
      await until(page, 'seen.length === 2');

      expect([before, streams()]).toEqual([1, 2]);
    }, 30_000);

    it('does not trust what was open when the network went away and came back', async () => {
      await serve(streamOf('data: {}\n\n'));
      await open(page, '/stream', '{ retryMs: 600_000 }');
      await until(page, 'seen.length === 1');

      await page.evaluate('dispatchEvent(new Event("online"))');
      await until(page, 'seen.length === 2');

      expect(await states(page)).toContain('stale woken');
    }, 30_000);

    it('gives a hidden tab its rest where the application says so, and is back as soon as it is seen', async () => {
      await serve(streamOf('data: {}\n\n'));
      await open(page, '/stream', '{ pauseHiddenAfterMs: 50, retryMs: 600_000 }');
      await until(page, 'seen.length === 1');

      await see(page, 'hidden');
      await until(page, 'states.at(-1) === "stale hidden"');
      const hidden = await page.evaluate('client.state.retryInMs');
      await see(page, 'visible');
      await until(page, 'seen.length === 2');

      expect(hidden).toBeNull();
      expect((await states(page)).at(-1)).toBe('open opened');
    }, 30_000);

    it('gives a hidden tab its rest though the network comes back meanwhile', async () => {
      await serve(streamOf('data: {}\n\n'));
      await open(page, '/stream', '{ pauseHiddenAfterMs: 200, retryMs: 600_000 }');
      await until(page, 'seen.length === 1');

      await see(page, 'hidden');
      await page.evaluate('dispatchEvent(new Event("online"))');
      await until(page, 'states.at(-1) === "stale hidden"');

      expect(await states(page)).toContain('stale woken');
    }, 30_000);

    it('makes a tab that is seen again try at once, and leaves a stream that lives alone', async () => {
      await serve((response, request, number) =>
        number < 3 ? void response.writeHead(503).end() : streamOf('data: {}\n\n')(response, request, number),
      );
      await open(page, '/stream', '{ retryMs: 600_000, maxRetryMs: 600_000 }');
      await until(page, 'states.at(-1) === "connecting refused"');

      await see(page, 'hidden');
      await see(page, 'visible');
      await until(page, 'seen.length === 1');
      await see(page, 'hidden');
      await see(page, 'visible');

      expect((await states(page)).at(-1)).toBe('open opened');
      expect(streams()).toBe(2);
    }, 30_000);

    it('keeps own headers on a redirect within the origin, and from other origins', async () => {
      await serve((response, request, number) => {
        if (request.url === '/stream-near') void response.writeHead(307, { location: '/near' }).end();
        else if (request.url === '/stream-far') void response.writeHead(307, { location: `${other.origin}/far` }).end();
        else return streamOf('data: {}\n\n')(response, request, number);
      });
      other.answer((response, request, number) => {
        response.setHeader('access-control-allow-origin', '*').setHeader('access-control-allow-headers', '*');
        if (request.method === 'OPTIONS') return void response.writeHead(204).end();
        return streamOf('data: {}\n\n')(response, request, number);
      });
      await open(page, '/stream-near', '{ headers: { "x-key": "secret" } }');
      await until(page, 'seen.length === 1');
      await page.evaluate('client.close()');
      await open(page, '/stream-far', '{ headers: { "x-key": "secret" } }');
      await until(page, 'seen.length === 1');

      const near = server.requests.filter(({ url }) => url === '/near');
      expect(near.map(({ headers }) => headers['x-key'])).toEqual([undefined, 'secret']);
      expect(other.requests.length).toBeGreaterThan(0);
      for (const { headers } of other.requests) {
        expect(headers).not.toHaveProperty('x-key');
        expect(headers['access-control-request-headers'] ?? '').not.toContain('x-key');
      }
    }, 30_000);
  });
});

/** Hides the page, or shows it: headless, there is no other tab to go to. */
async function see(page: Page, state: 'hidden' | 'visible'): Promise<void> {
  await page.evaluate(`
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => '${state}' });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  `);
}
