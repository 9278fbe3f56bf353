import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SseTestClient } from '@sse-channels/testing';

const run = promisify(execFile);

/** The sample as it is started by `npm start`: built, a process of its own. */
describe('the sample as a process', () => {
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    await run('npm', ['run', 'build']);
  }, 120_000);

  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
  });

  it('ends every stream with what was published and $closing on SIGTERM, and exits by itself', async () => {
    const { child, url } = await start();
    const streams = await Promise.all(
      ['/prices/ACME/events', '/prices/QUIET/events', '/notifications/alice/events?user=alice'].map(async (path) =>
        (await SseTestClient.connect(url + path)).opened(),
      ),
    );
    const trade = await fetch(`${url}/prices/QUIET`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"price":1}',
    });
    child.kill('SIGTERM');
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    await Promise.all(streams.map((stream) => stream.end()));

    // Nest's hooks end the process by the signal itself, after the application has closed.
    expect([trade.status, code, signal]).toEqual([201, null, 'SIGTERM']);
    expect(streams.map(({ closing }) => closing)).toEqual(streams.map(() => ({ reason: 'drained', comeBack: true })));
    expect(streams[1]?.applicationEvents).toMatchObject([{ name: 'price.ticked', data: { price: 1 } }]);
  }, 30_000);

  it('tells a client of the process before it that there is a gap', async () => {
    const before = await start();
    const client = await (await SseTestClient.connect(`${before.url}/prices/ACME/events`)).opened();
    await client.receive(1);
    before.child.kill('SIGKILL');
    await client.end();

    const after = await start();
    const resumed = await SseTestClient.connect(`${after.url}/prices/ACME/events`, { lastEventId: client.cursor });
    await resumed.receive(2);
    expect(resumed.gaps).toEqual([{ topic: 'prices/ACME', reason: 'reset' }]);
    resumed.leave();
  }, 30_000);

  it('npm run demo:resume prints that nothing was lost, doubled or reordered over 50 cuts', async () => {
    const { stdout } = await run(process.execPath, ['dist/apps/sample/src/demo-resume.js']);
    expect(stdout.trim().split('\n').slice(-3)).toEqual([
      '50 cuts while 2000 events were published, 0 gaps told',
      'received lost doubled reordered',
      '2000 0 0 0',
    ]);
  }, 90_000);

  async function start(): Promise<{ child: ChildProcess; url: string }> {
    const child = spawn(process.execPath, ['dist/apps/sample/src/main.js'], {
      env: { ...process.env, PORT: '0', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push(child);
    return new Promise((resolve, reject) => {
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        const url = /is open: (http:\S+)/.exec(output)?.[1];
        if (url !== undefined) resolve({ child, url: url.replace('localhost', '127.0.0.1') });
      });
      child.once('exit', (code) => reject(new Error(`The sample ended with ${code}:\n${output}`)));
    });
  }
});
