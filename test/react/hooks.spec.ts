/** The hooks with a real React in Chromium, in StrictMode where nothing else is said, on an application of the library. */
import type { Server } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, ForbiddenException, Get, Header, Module, Param } from '@nestjs/common';
import { EventBus, Hub, SseChannel, SseChannelsModule, SseHub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { bundleForBrowser } from '../../.ci/browser-bundle.mjs';
import { chromiumPath, launchChromium } from '../chromium.js';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { Counted, countsChannel } from './contract.js';

let bundle: string;
/** Streams that were asked for, by name. */
let asked: string[];

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    asked.push(name);
    if (name === 'secret') throw new ForbiddenException();
    return countsChannel.topic({ name });
  }

  @SseHub('live', { channels: [countsChannel] })
  live(): void {}

  @Get('page')
  @Header('content-type', 'text/html')
  page(): string {
    return `<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/page.js"></script>`;
  }

  @Get('page.js')
  @Header('content-type', 'text/javascript')
  script(): string {
    return bundle;
  }
}

@Module({ imports: [SseChannelsModule.forRoot({ retryMs: 20 })], controllers: [CountsController] })
class CountsModule {}

(chromiumPath === null ? describe.skip : describe)('the hooks, in Chromium', () => {
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let running: RunningApp;
  let complaints: string[];

  beforeAll(async () => {
    bundle = (await bundleForBrowser('test/react/page/page.tsx', 'development')).code;
    browser = await launchChromium();
  }, 60_000);

  afterAll(() => browser?.close());

  beforeEach(async () => {
    asked = [];
    complaints = [];
    running = await startApp(adapters[0].make, CountsModule);
    context = await browser.newContext();
    page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('ERR_')) complaints.push(message.text());
    });
    page.on('pageerror', ({ message }) => complaints.push(message));
  });

  afterEach(async () => {
    await context.close();
    await running.app.close();
  });

  const open = async (): Promise<void> => {
    await page.goto(`${running.url}/page`);
    await page.waitForFunction('globalThis.knobs !== undefined');
  };
  const show = async (...names: string[]): Promise<void> => {
    await open();
    await page.evaluate(`show({ names: ${JSON.stringify(names)} })`);
  };
  const change = (shown: object): Promise<void> => page.evaluate(`knobs.set(${JSON.stringify(shown)})`);
  const publish = (name: string, number: number): Promise<string> =>
    running.app.get(EventBus).publish(countsChannel.topic({ name }), Counted, { number });
  const connections = (): number => running.app.get(Hub).snapshot().connections;
  const texts = (): Promise<string[]> => page.locator('p').allInnerTexts();
  const shows = (...expected: string[]): Promise<void> =>
    eventually(async () => (await texts()).join('\n') === expected.join('\n'), expected.join(', '), 10_000);

  it('open a channel once in StrictMode, and give its latest event, all of them folded, and its state', async () => {
    await show('a');
    await shows('open none []');
    await publish('a', 1);
    await publish('a', 2);
    await shows('open 2 [1 2]');

    expect([asked, connections()]).toEqual([['a'], 1]);
    expect(await page.evaluate('knobs.heard')).toEqual([1, 2]);
    expect(complaints).toEqual([]);
  }, 30_000);

  it('close it when the component is gone', async () => {
    await show('a', 'b');
    await eventually(() => connections() === 2, 'two connections');
    await change({ names: ['a'] });
    await eventually(() => connections() === 1, 'one connection');
    await page.evaluate('unmount()');
    await eventually(() => connections() === 0, 'no connection');

    expect([asked.sort(), complaints]).toEqual([['a', 'b'], []]);
  }, 30_000);

  it('close it and open the other when what it was opened from changes, and begin anew', async () => {
    await show('a');
    await shows('open none []');
    await publish('a', 1);
    await shows('open 1 [1]');
    await change({ names: ['b'] });
    await shows('open none []');
    await publish('a', 2);
    await publish('b', 3);
    await shows('open 3 [3]');

    expect([asked, connections()]).toEqual([['a', 'b'], 1]);
    expect(complaints).toEqual([]);
  }, 30_000);

  it('miss and double nothing over cuts', async () => {
    await show('a');
    await shows('open none []');
    for (let number = 1; number <= 30; number += 1) {
      await publish('a', number);
      if (number % 10 === 0) (running.app.getHttpServer() as Server).closeAllConnections();
    }
    const all = Array.from({ length: 30 }, (_, index) => index + 1);
    await shows(`open 30 [${all.join(' ')}]`);

    expect(asked.length).toBeGreaterThan(1);
    expect(await page.evaluate('knobs.heard')).toEqual(all);
  }, 30_000);

  it('open topics of a hub on one connection, and add and take them out while it is open', async () => {
    const requests: string[] = [];
    page.on('request', (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await show('live/a', 'live/b', 'live/a');
    await shows('open none []', 'open none []', 'open none []');
    await publish('a', 1);
    await publish('b', 2);
    await shows('open 1 [1]', 'open 2 [2]', 'open 1 [1]');
    await change({ names: ['live/a', 'live/c'] });
    await shows('open 1 [1]', 'open none []');
    await publish('b', 3);
    await publish('c', 4);
    await publish('a', 5);
    await shows('open 5 [1 5]', 'open 4 [4]');

    expect([asked.sort(), connections()]).toEqual([['a', 'b', 'c'], 1]);
    expect(requests.filter((request) => request.includes('/live'))).toEqual([
      'GET /live',
      expect.stringMatching(/^POST \/live\/\S+$/),
    ]);
    expect(complaints).toEqual([]);
  }, 30_000);

  it('say why a topic is refused, and leave the others alone', async () => {
    await show('live/a', 'live/secret');
    await shows('open none []', 'closed none []');
    await publish('a', 1);
    await shows('open 1 [1]', 'closed none []');
  }, 30_000);

  it('fold where events are missing, too', async () => {
    await show('late');
    await shows('open none [reset]');
    await publish('late', 1);
    await shows('open 1 [reset 1]');
  }, 30_000);

  it('listen to a client that no component made, over one connection, and leave it open', async () => {
    await show('listener', 'listener');
    await shows('open -1', 'open -1');
    await publish('outside', 1);
    await shows('open 1', 'open 1');
    await change({ names: [] });
    await shows();
    await change({ names: ['listener'] });
    await shows('open -1');
    await publish('outside', 2);
    await shows('open 2');

    expect([asked, connections(), complaints]).toEqual([['outside'], 1, []]);
  }, 30_000);

  it('close a channel while its component is hidden, and go on where it was', async () => {
    await show('a');
    await shows('open none []');
    await publish('a', 1);
    await shows('open 1 [1]');
    await change({ names: ['a'], isHidden: true });
    await eventually(() => connections() === 0, 'no connection');
    await publish('a', 2);
    await publish('a', 3);
    await change({ names: ['a'] });
    await shows('open 3 [1 2 3]');

    expect([asked, complaints]).toEqual([['a', 'a'], []]);
  }, 30_000);

  // StrictMode renders everything twice.
  describe.each([
    ['StrictMode', true, 2],
    ['no StrictMode', false, 1],
  ])('in %s', (_mode, isStrict, each) => {
    const render = async (...names: string[]): Promise<void> => {
      await open();
      await page.evaluate(`show({ names: ${JSON.stringify(names)} }, false, ${isStrict})`);
    };
    const renders = (name: string): Promise<number> => page.evaluate(`knobs.renders[${JSON.stringify(name)}]`);
    const numbers = (from: number, to: number): number[] =>
      Array.from({ length: to - from + 1 }, (_, index) => from + index);

    it('render once for all that comes at once, and once for each that comes alone', async () => {
      await render('fed');
      await shows('open none []');
      const opened = await renders('fed');
      const event = (number: number): string => `event: number.counted\ndata: {"number":${number}}\n\n`;
      const write = (text: string): Promise<void> => page.evaluate(`write(${JSON.stringify(text)})`);
      await write(numbers(1, 200).map(event).join(''));
      await shows(`open 200 [${numbers(1, 200).join(' ')}]`);
      const together = await renders('fed');
      for (const number of numbers(201, 205)) {
        await write(event(number));
        await shows(`open ${number} [${numbers(1, number).join(' ')}]`);
      }
      const alone = await renders('fed');
      await write(':\n\nevent: number.counted\nid: 1\n\n');
      await write(event(206));
      await shows(`open 206 [${numbers(1, 206).join(' ')}]`);

      // Mounted, connecting, open.
      expect(opened).toBe(3 * each);
      expect(together - opened).toBe(each);
      expect(alone - together).toBe(5 * each);
      expect((await renders('fed')) - alone).toBe(each);
    }, 30_000);

    it('do not render what uses another topic', async () => {
      await render('live/a', 'live/b');
      await shows('open none []', 'open none []');
      const before = [await renders('live/a'), await renders('live/b')] as const;
      for (const number of numbers(1, 5)) {
        await publish('a', number);
        await shows(`open ${number} [${numbers(1, number).join(' ')}]`, 'open none []');
      }
      const after = [await renders('live/a'), await renders('live/b')] as const;
      await publish('b', 6);
      await shows('open 5 [1 2 3 4 5]', 'open 6 [6]');

      expect(after).toEqual([before[0] + 5 * each, before[1]]);
      expect([await renders('live/a'), await renders('live/b')]).toEqual([after[0], after[1] + each]);
    }, 30_000);
  });

  it('take over what a server rendered, without a word of React', async () => {
    await open();
    const rendered = await page.evaluate('show({ names: ["a"] }, true)');
    await shows('open none []');
    await publish('a', 1);
    await shows('open 1 [1]');

    expect(rendered).toBe('connecting none []');
    expect([asked, complaints]).toEqual([['a'], []]);
  }, 30_000);
});
