import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, SseTestClient } from '@sse-channels/testing';
import type { Browser, Page } from 'playwright-core';
import { bundleSamplePages } from '../../.ci/browser-bundle.mjs';
import { compileProgram } from '../../.ci/compile-program.mjs';
import { chromiumPath, launchChromium } from '../chromium.js';
import { findNatsServer } from '../engines/nats-server.js';
import { findRedisServer } from '../engines/redis-server.js';
import { nginx, startNginxWith } from '../proxies/reverse-proxy.js';
import { ClusterProgram, type ToldNode } from './cluster-program.js';

interface Received {
  readonly symbol: string;
  readonly node: string;
  readonly sequence: number;
}

const WAIT_MS = 30_000;
const engines = [
  { engine: 'redis', program: findRedisServer() },
  { engine: 'nats', program: findNatsServer() },
].filter(({ program }) => program !== null);

describe.each(engines)('the sample on three nodes, with a server of its own ($engine)', ({ engine }) => {
  let cluster: ClusterProgram;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    await bundleSamplePages();
    cluster = await ClusterProgram.start(compileProgram('apps/sample'), '--engine', engine);
    if (chromiumPath === null) return;
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(cluster.url);
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    cluster?.signal('SIGKILL');
    await cluster?.end();
  }, 60_000);

  const text = (id: string): Promise<string> => page.getByTestId(id).innerText();
  const received = (): Promise<Received[]> => page.evaluate<Received[]>('window.tradingFloor.received');
  const receivedAfter = async (count: number, node?: string): Promise<void> => {
    const isThere = async (): Promise<boolean> => {
      const later = (await received()).slice(count);
      return later.some((one) => node === undefined || one.node === node) && later.length >= 20;
    };
    await eventually(isThere, `20 more prices, ${node ?? 'of any node'} among them`, WAIT_MS);
  };
  const servingNode = async (): Promise<ToldNode> => {
    await eventually(async () => cluster.nodes.has(await text('serving-node')), 'the page tells its node', WAIT_MS);
    return cluster.nodes.get(await text('serving-node')) as ToldNode;
  };
  /** What each node counted, as the page was given it: whole where it goes up by one from the first on. */
  const expectWhole = async (): Promise<void> => {
    const counted = new Map<string, number[]>();
    for (const { symbol, node, sequence } of await received()) {
      const key = `${symbol} of ${node}`;
      counted.set(key, [...(counted.get(key) ?? []), sequence]);
    }
    for (const [key, sequences] of counted) {
      const whole = sequences.map((_, index) => (sequences[0] ?? 0) + index);
      expect([key, sequences]).toEqual([key, whole]);
    }
    expect([await text('missed-count'), await text('doubled-count')]).toEqual(['0', '0']);
    expect(await page.locator('[data-name="$gap"]').count()).toBe(0);
  };
  /** The id of the node that has a name now. */
  const startedAgain = async (name: string): Promise<string> => {
    const running = (): ToldNode | undefined =>
      [...cluster.nodes.values()].find(({ id, pid }) => id.startsWith(name) && isRunning(pid));
    await eventually(() => running() !== undefined, `node ${name} is back`, WAIT_MS);
    return running()?.id ?? '';
  };
  const withPage = chromiumPath === null ? it.skip : it;

  withPage(
    'a node that serves the page is killed: another goes on, and nothing is lost or doubled',
    async () => {
      await receivedAfter(0);
      await page.getByTestId('report-button').click();
      for (let kills = 1; kills <= 3; kills += 1) {
        const killed = await servingNode();
        process.kill(killed.pid, 'SIGKILL');
        const before = (await received()).length;
        await eventually(async () => (await text('reconnect-count')) === String(kills), 'the page is back', WAIT_MS);
        expect((await servingNode()).id).not.toBe(killed.id);
        await receivedAfter(before);
        await expectWhole();

        const name = killed.id.slice(0, 1);
        const started = await startedAgain(name);
        await receivedAfter(before, started);
        // From its first tick on.
        expect((await received()).find(({ node }) => node === started)?.sequence).toBe(1);
      }
      await page.getByTestId('report-result').locator('a').waitFor({ timeout: WAIT_MS });
      await expectWhole();
    },
    180_000,
  );

  withPage(
    'its engine is killed: the streams stay, and go on when it is back',
    async () => {
      const node = await servingNode();
      const reconnects = await text('reconnect-count');
      process.kill(cluster.enginePid, 'SIGKILL');
      await eventually(() => cluster.output.includes('server ended'), 'the end of the engine is told', WAIT_MS);
      await receivedAfter((await received()).length);
      await expectWhole();
      expect([(await servingNode()).id, await text('reconnect-count')]).toEqual([node.id, reconnects]);
    },
    90_000,
  );

  (nginx === null ? it.skip : it)(
    'behind nginx, set as in the compose file, a client whose node was killed resumes on another',
    async () => {
      const ports = [...new Set([...cluster.nodes.values()].map(({ port }) => port))];
      const proxy = await startNginxWith((port) => {
        const config = readFileSync('apps/sample/nginx.conf', 'utf8').replace('listen 80', `listen 127.0.0.1:${port}`);
        return ['a', 'b', 'c'].reduce(
          (all, name, index) => all.replace(`node-${name}:3000`, `127.0.0.1:${ports[index]}`),
          config,
        );
      });
      try {
        const url = `http://127.0.0.1:${proxy.port}/prices/ACME/events`;
        const client = await (await SseTestClient.connect(url)).opened();
        await client.receive(10);
        const killed = cluster.nodes.get(String(client.headers['x-node'])) as ToldNode;
        process.kill(killed.pid, 'SIGKILL');
        await client.end();
        const resumed = await SseTestClient.connect(url, { lastEventId: client.cursor });
        await resumed.receive(30);
        resumed.leave();
        expect([resumed.headers['x-node'] === killed.id, resumed.gaps]).toEqual([false, []]);
        const last = new Map<string, number>();
        for (const { data } of [...client.applicationEvents, ...resumed.applicationEvents]) {
          const { node, sequence } = data as Received;
          expect([node, sequence]).toEqual([node, (last.get(node) ?? sequence - 1) + 1]);
          last.set(node, sequence);
        }
      } finally {
        await proxy.stop();
      }
    },
    90_000,
  );

  it('Ctrl-C ends the nodes and the engine in order, and leaves no process and no file behind', async () => {
    await eventually(() => runningIn(cluster).length === 4, 'all are there', WAIT_MS);
    const pids = runningIn(cluster);
    cluster.signal('SIGINT');
    expect([await cluster.end(), pids.filter(isRunning), cluster.files]).toEqual([0, [], []]);
  }, 90_000);

  it('leaves no process behind either when it is killed itself', async () => {
    const killed = await ClusterProgram.start(compileProgram('apps/sample'), '--engine', engine);
    const pids = runningIn(killed);
    killed.signal('SIGKILL');
    await eventually(() => !pids.some(isRunning), 'the nodes and the engine are gone', WAIT_MS);
    await eventually(() => killed.files.length === 0, 'its files are gone', WAIT_MS);
    expect(pids).toHaveLength(4);
  }, 120_000);
});

describe('the sample on three nodes', () => {
  it('says what it needs where there is no engine, and what it knows where it is asked for another', async () => {
    const compiled = compileProgram('apps/sample');
    await expect(ClusterProgram.start(compiled, '--engine', 'kafka')).rejects.toThrow(/--engine is "kafka"/);
  }, 60_000);
});

/** The nodes and the engine that are there now. */
function runningIn(cluster: ClusterProgram): number[] {
  return [cluster.enginePid, ...[...cluster.nodes.values()].map(({ pid }) => pid)].filter(isRunning);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // One that ended and that nobody asked about is still listed.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
