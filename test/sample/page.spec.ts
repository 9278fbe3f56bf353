import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Browser, Page } from 'playwright-core';
import { Hub } from '@sse-channels/nest';
import { bundleSamplePages } from '../../.ci/browser-bundle.mjs';
import { createApp } from '../../apps/sample/src/create-app.js';
import { chromiumPath, launchChromium } from '../chromium.js';

interface Received {
  readonly symbol: string;
  readonly sequence: number;
  readonly cursor: string;
  readonly replayed: boolean;
}

const SCREENSHOTS = join(process.cwd(), 'artifacts');

(chromiumPath === null ? describe.skip : describe)('the page of the sample, in Chromium', () => {
  let app: NestExpressApplication;
  let url: string;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];
  /** Streams that the page asked for. */
  const streams: string[] = [];

  beforeAll(async () => {
    await bundleSamplePages();
    app = await createApp({ logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
    browser = await launchChromium();
    page = await browser.newPage({ viewport: { width: 1360, height: 900 }, colorScheme: 'dark' });
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) complaints.push(`a request to ${request.url()}`);
      if (request.headers()['accept'] === 'text/event-stream') streams.push(request.url().slice(url.length));
    });
    await page.goto(url);
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    await app?.close();
  }, 30_000);

  const text = (id: string): Promise<string> => page.getByTestId(id).innerText();
  const received = (): Promise<Received[]> =>
    page.evaluate<Received[]>('window.tradingFloor.received.filter(({ symbol }) => symbol === "ACME")');
  /** Looks at every frame that the page draws; Playwright's own wait needs an eval, which the page's policy refuses. */
  const until = async (expression: string): Promise<void> => {
    const deadline = Date.now() + 20_000;
    while (!(await page.evaluate<boolean>(expression))) {
      if (Date.now() > deadline) throw new Error(`It did not come to hold within 20 s: ${expression}`);
      await page.evaluate('new Promise(requestAnimationFrame)');
    }
  };
  const receivedMoreThan = (count: number): Promise<void> =>
    until(`window.tradingFloor.received.filter(({ symbol }) => symbol === 'ACME').length > ${count}`);

  it('shows prices that move', async () => {
    await page.getByTestId('price-chart').locator('canvas').first().waitFor();
    await receivedMoreThan(5);
    const prices = new Set<string>();
    while (prices.size < 3) prices.add(await text('latest-price'));
    expect(await text('connection-state')).toMatch(/open/i);
    expect(await text('last-cursor')).toMatch(/~/);
  }, 30_000);

  it('has one connection for all of its panels', async () => {
    for (const symbol of ['GLOBEX', 'INITECH', 'UMBRELLA']) {
      await until(`/\\d/.test(document.querySelector('[data-testid=symbol-tab-${symbol}]').textContent)`);
    }
    expect(streams).toEqual([
      '/live?topic=prices%2FACME&topic=prices%2FGLOBEX&topic=prices%2FINITECH&topic=prices%2FUMBRELLA&topic=notifications%2Falice',
    ]);
    expect(app.get(Hub).snapshot()).toMatchObject({ connections: 1 });
  }, 30_000);

  it('misses nothing over a cut: what happened meanwhile arrives once and in order', async () => {
    await page.getByTestId('cut-button').click();
    await until('/cut/i.test(document.querySelector("[data-testid=connection-state]").textContent)');
    const before = await received();
    // The floor goes on without us.
    for (let n = 0; n < 20; n += 1) await post('/prices/ACME', { price: 121 });
    expect(await received()).toHaveLength(before.length);

    await page.getByTestId('cut-button').click();
    await receivedMoreThan(before.length + 20);

    const after = await received();
    const sequences = after.map(({ sequence }) => sequence);
    const first = sequences[0] ?? 0;
    expect(sequences).toEqual(sequences.map((_, index) => first + index));
    expect(after.filter(({ replayed }) => replayed).length).toBeGreaterThanOrEqual(20);
    expect([await text('missed-count'), await text('doubled-count')]).toEqual(['0', '0']);
    await page.getByText(/^Replayed \d+ events, none lost, none doubled$/).waitFor();
  }, 30_000);

  it('shows the notifications of its user as they are raised', async () => {
    await post('/notifications/alice', { title: 'Margin call', body: '<b>not markup</b>' });
    await post('/notifications/bob', { title: 'For Bob only' });
    const list = page.getByTestId('notification-list');
    await list.getByText('Margin call').waitFor();
    expect(await list.innerText()).toContain('<b>not markup</b>');
    expect(await list.innerText()).not.toContain('For Bob only');
  }, 30_000);

  it('looks into another inbox by the same connection, from where the page began', async () => {
    const list = page.getByTestId('notification-list');
    const before = streams.length;
    await page.getByTestId('notification-user').selectOption('bob');
    await list.getByText('For Bob only').waitFor();
    await post('/notifications/bob', { title: 'Live for Bob' });
    await list.getByText('Live for Bob').waitFor();
    expect(await list.innerText()).not.toContain('Margin call');
    await page.getByTestId('notification-user').selectOption('alice');
    await list.getByText('Margin call').waitFor();
    expect([await list.locator('li').count(), streams.length]).toEqual([1, before]);
  }, 30_000);

  it('is refused what is not its own, and that hurts nothing else', async () => {
    const before = (await received()).length;
    await page.getByTestId('notification-user').selectOption('carol');
    await page.getByText('The inbox of carol is not yours.').first().waitFor();
    await receivedMoreThan(before);
    expect([await text('notification-state'), await text('connection-state')]).toEqual(['refused: 403', 'open']);
    await page.getByTestId('notification-user').selectOption('alice');
    await until('document.querySelector("[data-testid=notification-state]").textContent === "open"');
  }, 30_000);

  it('shows a report from its start to its end, over a cut', async () => {
    await page.getByTestId('report-button').click();
    await until('Number(document.querySelector("[data-testid=report-progress]").dataset.percent) > 5');
    await page.getByTestId('cut-button').click();
    await page.getByTestId('cut-button').click();
    await until('document.querySelector("[data-testid=report-progress]").dataset.state === "finished"');
    expect(await page.getByTestId('report-result').locator('a').getAttribute('href')).toMatch(
      /\/reports\/[0-9a-f-]{36}$/,
    );
  }, 30_000);

  it('has a picture of itself taken, dark and light', async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: join(SCREENSHOTS, 'sample-dark.png') });
    await page.emulateMedia({ colorScheme: 'light' });
    await page.screenshot({ path: join(SCREENSHOTS, 'sample-light.png') });
    expect(complaints).toEqual([]);
  }, 30_000);

  it('a stream that is over for good is asked for once more, answered 204, and left alone', async () => {
    const asked: number[] = [];
    page.on('response', (response) => {
      if (response.url().endsWith('/progress')) asked.push(response.status());
    });
    const { id } = (await (await post('/reports', {})).json()) as { id: string };
    const closed = await page.evaluate<boolean>(`new Promise((resolve) => {
      const source = new EventSource('/reports/${id}/progress');
      source.addEventListener('error', () => source.readyState === EventSource.CLOSED && resolve(true));
    })`);
    expect([closed, asked]).toEqual([true, [200, 204]]);
  }, 30_000);

  async function post(path: string, body: object): Promise<Response> {
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(201);
    return response;
  }
});
