import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Hub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import type { Browser, Page } from 'playwright-core';
import { bundleSamplePages } from '../../.ci/browser-bundle.mjs';
import { createApp } from '../../apps/sample/src/create-app.js';
import { chromiumPath, launchChromium } from '../chromium.js';

const SCREENSHOTS = join(process.cwd(), 'artifacts');
const WAIT_MS = 20_000;

(chromiumPath === null ? describe.skip : describe)('the page of the sample in React, in Chromium', () => {
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
    await page.goto(url);
    await page.getByTestId('react-link').click();
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) complaints.push(`a request to ${request.url()}`);
      if (request.headers()['accept'] === 'text/event-stream') streams.push(request.url().slice(url.length));
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    await app?.close();
  }, 30_000);

  const text = (id: string): Promise<string> => page.getByTestId(id).innerText();
  const count = async (id: string): Promise<number> => Number(await text(id));
  const until = (what: string, condition: () => Promise<boolean>): Promise<void> =>
    eventually(condition, what, WAIT_MS);
  const receivedMoreThan = (least: number): Promise<void> =>
    until(`more than ${least} prices`, async () => (await count('received-count')) > least);

  it('shows prices that move, all by one connection', async () => {
    await page.getByTestId('price-chart').locator('canvas').first().waitFor();
    await receivedMoreThan(5);
    const prices = new Set<string>();
    while (prices.size < 3) prices.add(await text('latest-price'));
    for (const symbol of ['ACME', 'GLOBEX', 'INITECH', 'UMBRELLA']) {
      await until(`a price of ${symbol}`, async () => /\d/.test(await text(`symbol-tab-${symbol}`)));
    }
    await until('the page before is gone', async () => app.get(Hub).snapshot().connections === 1);

    expect([await text('connection-state'), streams]).toEqual([
      'open',
      [expect.stringMatching(/^\/live\?topic=prices%2FACME&.*topic=notifications%2Falice$/)],
    ]);
    expect(await text('last-cursor')).toMatch(/~/);
  }, 40_000);

  it('misses nothing over a cut: what happened meanwhile arrives once and in order', async () => {
    await page.getByTestId('cut-button').click();
    await until('cut', async () => (await text('connection-state')) === 'cut');
    const before = await count('received-count');
    for (let n = 0; n < 20; n += 1) await post('/prices/ACME', { price: 121 });
    expect(await count('received-count')).toBe(before);
    await page.getByTestId('cut-button').click();
    await receivedMoreThan(before + 20);

    expect(await count('replayed-count')).toBeGreaterThanOrEqual(20);
    expect([await text('missed-count'), await text('doubled-count')]).toEqual(['0', '0']);
    await page.getByText(/^Replayed \d+ events, none lost, none doubled$/).waitFor();
  }, 40_000);

  it('shows the inbox of its user, and others by the same connection', async () => {
    await post('/notifications/alice', { title: 'Margin call', body: '<b>not markup</b>' });
    await post('/notifications/bob', { title: 'For Bob only' });
    const list = page.getByTestId('notification-list');
    const before = streams.length;
    await list.getByText('Margin call').waitFor();
    expect(await list.innerText()).toContain('<b>not markup</b>');
    expect([await text('unread-count'), await list.getByText('For Bob only').count()]).toEqual(['1', 0]);

    await page.getByTestId('notification-user').selectOption('bob');
    await list.getByText('For Bob only').waitFor();
    await page.getByTestId('notification-user').selectOption('carol');
    await page.getByText('The inbox of carol is not yours.').waitFor();
    expect(await text('notification-state')).toBe('refused: 403');
    await page.getByTestId('notification-user').selectOption('alice');
    await list.getByText('Margin call').waitFor();
    expect([await list.locator('li').count(), streams.length]).toEqual([1, before]);
  }, 40_000);

  it('shows a report from its start to its end, over a cut', async () => {
    const report = page.getByTestId('report-progress');
    await page.getByTestId('report-button').click();
    await until('progress', async () => Number(await report.getAttribute('data-percent')) > 5);
    await page.getByTestId('cut-button').click();
    await page.getByTestId('cut-button').click();
    await until('its end', async () => (await report.getAttribute('data-state')) === 'finished');

    expect(await page.getByTestId('report-result').locator('a').getAttribute('href')).toMatch(
      /\/reports\/[0-9a-f-]{36}$/,
    );
  }, 40_000);

  it('has a picture of itself taken, dark and light, and leads back to the other page', async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: join(SCREENSHOTS, 'sample-react-dark.png') });
    await page.emulateMedia({ colorScheme: 'light' });
    await page.screenshot({ path: join(SCREENSHOTS, 'sample-react-light.png') });
    await page.getByRole('link', { name: 'TypeScript' }).click();
    await page.getByTestId('react-link').waitFor();

    expect(complaints).toEqual([]);
  }, 40_000);

  async function post(path: string, body: object): Promise<void> {
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(201);
  }
});
