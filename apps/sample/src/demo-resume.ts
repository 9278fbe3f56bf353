/**
 * `npm run demo:resume`: starts the sample, cuts a client's connection 50 times while 2,000 events are published, and prints what
 * the client received, lost, saw doubled and saw out of order.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { SseTestClient } from '@sse-channels/testing';

const EVENTS = 2_000;
const CUTS = 50;
const PUBLISH_EVERY_MS = 2;
const DEADLINE_MS = 60_000;

const server = spawn(process.execPath, [fileURLToPath(new URL('main.js', import.meta.url))], {
  env: { ...process.env, PORT: '0', HOST: '127.0.0.1', NO_COLOR: '1' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const url = await new Promise<string>((resolve, reject) => {
  let output = '';
  server.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    const found = /is open: (http:\S+)/.exec(output)?.[1];
    if (found !== undefined) resolve(found.replace('localhost', '127.0.0.1'));
  });
  server.once('exit', (code) => reject(new Error(`The sample ended with ${code}:\n${output}`)));
});

const received: number[] = [];
let gaps = 0;
let cuts = 0;
let published = 0;

try {
  const first = await (await SseTestClient.connect(`${url}/prices/DEMO/events`)).opened();
  const publishing = publishAll();
  await readWithCuts(first);
  await publishing;
} finally {
  server.kill('SIGTERM');
  await once(server, 'exit');
}

const seen = new Set(received);
const lost = EVENTS - seen.size;
const doubled = received.length - seen.size;
const reordered = received.filter((sequence, index) => index > 0 && sequence < (received[index - 1] as number)).length;
console.log(`${cuts} cuts while ${published} events were published, ${gaps} gaps told`);
console.log('received lost doubled reordered');
console.log(`${seen.size} ${lost} ${doubled} ${reordered}`);
process.exitCode = seen.size === EVENTS && lost + doubled + reordered + gaps === 0 ? 0 : 1;

async function publishAll(): Promise<void> {
  for (; published < EVENTS; published += 1) {
    const response = await fetch(`${url}/prices/DEMO`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ price: 100 + (published % 10) }),
    });
    if (!response.ok) throw new Error(`POST /prices/DEMO answered ${response.status}: ${await response.text()}`);
    if (published % 200 === 199) console.log(`  ${published + 1} published, ${received.length} received, ${cuts} cuts`);
    await new Promise((resolve) => setTimeout(resolve, PUBLISH_EVERY_MS * Math.random() * 2));
  }
}

/** Reads until everything came; each connection is cut after a random part of what is left, wherever its bytes happen to be. */
async function readWithCuts(first: SseTestClient): Promise<void> {
  let client = first;
  while (received.length < EVENTS) {
    const share = (EVENTS - received.length) / (CUTS - cuts + 1);
    const wanted = cuts < CUTS ? Math.max(1, Math.round(share * (0.5 + Math.random()))) : EVENTS - received.length;
    await client.until(({ applicationEvents }) => applicationEvents.length >= wanted, `${wanted} events`, DEADLINE_MS);
    client.leave();
    received.push(...client.applicationEvents.map(({ data }) => (data as { sequence: number }).sequence));
    gaps += client.gaps.length;
    if (received.length >= EVENTS) break;
    cuts += 1;
    client = await SseTestClient.connect(`${url}/prices/DEMO/events`, { lastEventId: client.cursor });
  }
}
