/**
 * `npm run soak`: thousands of connections for as long as one likes. Every connection checks its sequence; the server's memory must not
 * grow once it is warm, and nothing may be left of the connections when they have gone.
 */
import { readFileSync } from 'node:fs';
import { eventually } from '@sse-channels/testing';
import { readOptions } from './command-line.js';
import { mean, mebibytes, percent } from './figures.js';
import { openReaders } from './readers.js';
import { totalsOf } from './sequence-tally.js';
import type { Usage } from './server.js';
import { startServer } from './server-process.js';

const given = readOptions({
  connections: 10_000,
  minutes: 30,
  /** Events a second, over all channels. */
  rate: 100,
  channels: 10,
  /** 2,000 connections for five minutes. */
  short: false,
});
const { connections, minutes, rate, channels } = given.short ? { ...given, connections: 2_000, minutes: 5 } : given;

/** So small that it is full when the server is warm. */
const KEEP_EVENTS = 100;
/**
 * The part of the time in which a server becomes warm, and the parts at whose ends its memory is compared. Its rings fill first: 1,024
 * events of a topic, 100 seconds of the default rate, so that five minutes are the least that tells of a leak.
 */
const WARM_SHARE = 0.4;
const COMPARED_SHARE = 0.15;
/** The most that memory may grow in a run of at least so many minutes; a shorter one says too little. */
const MAX_GROWTH = 0.1;
const TELLING_MINUTES = 5;
/** Each collects garbage first, so there are not more than so many. */
const SAMPLES = 120;
const MIN_SAMPLE_MS = 1_000;
const PROGRESS_EVERY_MS = 15_000;
const PATIENCE_MS = 60_000;
/** Files that a process needs besides its connections. */
const OTHER_FILES = 200;

/** How much there was once the server was warm, and at the end. */
interface Growth {
  readonly before: number;
  readonly after: number;
  readonly growth: number;
}

checkOpenFiles();
const topics = Array.from({ length: channels }, (_, index) => `soak-${index}`);
const eventsEach = Math.max(1, Math.round((minutes * 60 * rate) / channels));
const server = await startServer({ adapter: 'express', keepEvents: KEEP_EVENTS, keepBytes: 2 ** 24 });
const troubles = { gaps: 0, closed: 0 };
try {
  const readings = await openReaders(server.port, topics, connections, troubles);
  console.log(`soak: ${connections} connections, ${channels} channels, ${rate} events/s, ${minutes} minutes`);
  const beganAt = Date.now();
  const samples: Usage[] = [];
  let shownAt = beganAt;
  const sample = async (): Promise<void> => {
    const usage = await server.remote.call('usage');
    samples.push(usage);
    if (Date.now() - shownAt < PROGRESS_EVERY_MS) return;
    shownAt = Date.now();
    const { received, lost, doubled } = totalsOf(readings.map(({ tally }) => tally));
    console.log(
      `  ${minutesSince(beganAt)} min: ${received} deliveries, ${lost} lost, ${doubled} doubled, ` +
        `RSS ${mebibytes(usage.rssBytes)}, held ${mebibytes(usage.heldBytes)}`,
    );
  };
  const sampler = setInterval(() => void sample(), Math.max(MIN_SAMPLE_MS, (minutes * 60_000) / SAMPLES));
  await server.remote
    .call('pace', { topics, perSecond: rate, events: eventsEach, textBytes: [20, 60, 100] })
    .finally(() => clearInterval(sampler));
  await sample();
  await eventually(() => readings.every(({ tally }) => tally.last >= eventsEach), 'all has come', PATIENCE_MS).catch(
    () => undefined, // What has not come is lost, and counted below.
  );
  const totals = totalsOf(
    readings.map(({ tally }) => tally),
    eventsEach,
  );
  const { gaps, closed } = troubles;
  const { cpuMicros } = await server.remote.call('usage');
  for (const { reader } of readings) reader.cut('reset');
  const snapshot = async () => server.remote.call('snapshot');
  const isEmpty = async () => Object.values(await snapshot()).every((left) => left === 0);
  await eventually(isEmpty, 'the hub is empty', PATIENCE_MS).catch(() => undefined);
  const left = await snapshot();

  const rss = compare(samples.map(({ rssBytes }) => rssBytes));
  const held = compare(samples.map(({ heldBytes }) => heldBytes));
  console.log(
    `${connections} connections, ${eventsEach * channels} events in ${minutesSince(beganAt)} min: ` +
      `${totals.received} deliveries, ${totals.lost} lost, ${totals.doubled} doubled, ${totals.reordered} reordered, ` +
      `${gaps} gaps, ${closed} closed; RSS ${told(rss)}, held ${told(held)}, CPU ${(cpuMicros / 1e6).toFixed(0)} s; ` +
      `after closing: ${left.connections} connections, ${left.feeds} feeds, ${left.subscriptions} subscriptions`,
  );
  const wrong = totals.lost + totals.doubled + totals.reordered + gaps + closed;
  const grew = minutes >= TELLING_MINUTES && Math.max(rss.growth, held.growth) > MAX_GROWTH;
  process.exitCode = wrong === 0 && !grew && (await isEmpty()) ? 0 : 1;
} finally {
  await server.remote.end();
}

function compare(samples: readonly number[]): Growth {
  const warm = samples.slice(Math.floor(samples.length * WARM_SHARE));
  const compared = Math.max(1, Math.floor(warm.length * COMPARED_SHARE));
  const [before, after] = [mean(warm.slice(0, compared)), mean(warm.slice(-compared))];
  return { before, after, growth: after / before - 1 };
}

function told({ before, after, growth }: Growth): string {
  return `${mebibytes(before)} warm, ${mebibytes(after)} at the end (${percent(growth)})`;
}

function minutesSince(beganAt: number): string {
  return ((Date.now() - beganAt) / 60_000).toFixed(1);
}

function checkOpenFiles(): void {
  let limit = Infinity;
  try {
    limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? Infinity);
  } catch {
    // Elsewhere than on Linux it is found out by trying.
  }
  if (limit >= connections + OTHER_FILES) return;
  throw new Error(
    `${connections} connections need as many open files, and this shell allows ${limit}: ulimit -n 65536.`,
  );
}
