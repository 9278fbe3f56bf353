import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventBus, Hub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import type { Browser, Page } from 'playwright-core';
import { chromiumPath, launchChromium } from '../chromium.js';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesModule, notesChannel, NoteTaken } from './notes.module.js';

const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });

interface Request {
  readonly method: string;
  readonly path: string;
  readonly lastEventId: string | undefined;
  readonly cookie: string | undefined;
}

/** Serves an empty page on an origin of its own. */
async function startPage(): Promise<{ server: Server; origin: string }> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><link rel="icon" href="data:,">');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

(chromiumPath === null ? describe.skip : describe)('an EventSource in Chromium', () => {
  describe.each(adapters)('on $adapter', ({ make }) => {
    let running: RunningApp;
    let bus: EventBus;
    let server: Server;
    let browser: Browser;
    let own: Awaited<ReturnType<typeof startPage>>;
    let foreign: Awaited<ReturnType<typeof startPage>>;
    const requests: Request[] = [];

    beforeAll(async () => {
      own = await startPage();
      foreign = await startPage();
      running = await startApp(make, NotesModule, (app) => app.enableCors({ origin: [own.origin], credentials: true }));
      bus = running.app.get(EventBus);
      server = running.app.getHttpServer() as Server;
      server.prependListener('request', ({ method = '', url = '', headers }: IncomingMessage) => {
        requests.push({ method, path: url, lastEventId: headers['last-event-id'] as string, cookie: headers.cookie });
      });
      browser = await launchChromium();
    }, 60_000);

    afterAll(async () => {
      await browser?.close();
      await running?.app.close();
      own?.server.close();
      foreign?.server.close();
    }, 30_000);

    afterEach(async () => {
      for (const context of browser.contexts()) await context.close();
      server.closeAllConnections();
      await eventually(() => running.app.get(Hub).snapshot().connections === 0, 'no connection');
      requests.length = 0;
    });

    /** Opens sources on a page; `seen` has what they dispatched, `states` whether they try again. */
    const open = async (origin: string, ...paths: string[]): Promise<Page> => {
      const page = await (await browser.newContext()).newPage();
      await page.context().addCookies([{ name: 'session', value: 'ada', url: running.url }]);
      await page.goto(origin);
      await page.evaluate(`{
        globalThis.seen = [];
        globalThis.sources = ${JSON.stringify(paths)}.map((path) => {
          const source = new EventSource('${running.url}' + path, { withCredentials: true });
          source.addEventListener('error', () => seen.push(path + ' error ' + source.readyState));
          for (const name of ['$open', '$closing', 'note.taken']) {
            source.addEventListener(name, ({ data }) => seen.push(path + ' ' + name + ' ' + data));
          }
          return source;
        });
      }`);
      return page;
    };
    const seen = (page: Page): Promise<string[]> => page.evaluate('seen');
    const states = (page: Page): Promise<number[]> => page.evaluate('sources.map(({ readyState }) => readyState)');
    const to = (path: string): Request[] => requests.filter((request) => request.path.startsWith(path));
    /** Lets a source of the same page come back so many times: who tries again by itself has had its time. */
    const others = async (page: Page, times: number): Promise<void> => {
      for (let opened = 1; opened <= times; opened += 1) {
        await eventually(
          async () => (await seen(page)).filter((line) => line.includes(' $open ')).length >= opened,
          'an $open',
        );
        server.closeAllConnections();
      }
    };

    it('asks once for what is answered 401, 403, 404, 429, 500 or 503, and never again', async () => {
      const refusals = [401, 403, 404, 429, 500, 503].map((status) => `/notes/refused/${status}`);

      const page = await open(own.origin, ...refusals, '/notes/found', '/notes/ada/plans/events');
      const refused = async (): Promise<number[]> => (await states(page)).slice(0, -1);
      // A browser has six connections to a server at a time: none of them is cut before all were answered.
      await eventually(async () => (await refused()).every((state) => state === 2), 'all closed but one');
      await others(page, 5);

      for (const path of [...refusals, '/notes/found']) expect([path, to(path).length]).toEqual([path, 1]);
      expect(await refused()).toEqual([...refusals, 'found'].map(() => 2));
      expect(to('/notes/ada').length).toBeGreaterThanOrEqual(5);
    }, 30_000);

    it('asks twice for a stream that is over for good, is answered 204, and never again', async () => {
      const page = await open(own.origin, '/streams/over', '/notes/ada/plans/events');
      await eventually(async () => (await states(page))[0] === 2, 'a closed source');
      await others(page, 6);

      expect(to('/streams/over').map(({ lastEventId }) => lastEventId)).toEqual([undefined, '$end']);
    }, 30_000);

    it('of an allowed page comes back with its cursor and its cookie, without a preflight, and misses nothing', async () => {
      const page = await open(own.origin, '/notes/ada/plans/events');
      const cursor = await (async () => {
        await eventually(async () => (await seen(page)).length === 1, '$open');
        return bus.publish(topic, NoteTaken, { text: 'first' });
      })();
      await eventually(async () => (await seen(page)).some((line) => line.includes('first')), 'the first note');

      server.closeAllConnections();
      await bus.publish(topic, NoteTaken, { text: 'missed' });
      await eventually(async () => (await seen(page)).some((line) => line.includes('missed')), 'the missed note');

      expect(requests).toEqual([
        { method: 'GET', path: '/notes/ada/plans/events', lastEventId: undefined, cookie: 'session=ada' },
        { method: 'GET', path: '/notes/ada/plans/events', lastEventId: cursor, cookie: 'session=ada' },
      ]);
      expect((await seen(page)).filter((line) => line.includes('note.taken'))).toHaveLength(2);
    }, 30_000);

    it('of a page that is not allowed sees nothing, whatever is published', async () => {
      const page = await open(foreign.origin, '/notes/ada/plans/events');
      const allowed = await open(own.origin, '/notes/ada/plans/events');
      await eventually(
        async () => (await seen(page)).length + (await seen(allowed)).length === 2,
        'an error and $open',
      );

      await bus.publish(topic, NoteTaken, { text: 'not for you' });
      await eventually(async () => (await seen(allowed)).length === 2, 'the note');

      expect(await seen(page)).toEqual(['/notes/ada/plans/events error 2']);
      expect(await states(page)).toEqual([2]);
    }, 30_000);
  });
});
