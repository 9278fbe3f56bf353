/**
 * `npm run stalled`: readers that never read while 40 MiB are published. Tells how much memory they cost the server, and what another
 * reader of the same channel notices: its latency with them, and without.
 */
import { eventually } from '@sse-channels/testing';
import { nowMicros } from '../../bench/mark.js';
import { readOptions } from './command-line.js';
import { mebibytes, milliseconds, quantile } from './figures.js';
import { SequenceTally } from './sequence-tally.js';
import { startServer } from './server-process.js';
import { NumberedReader } from './numbered-reader.js';

const {
  readers,
  mebibytes: published,
  rate,
} = readOptions({
  /** That never read. */
  readers: 10,
  /** Published in each of the two parts. */
  mebibytes: 40,
  /** Events a second, of about 4 KiB each. */
  rate: 400,
});

const EVENT_BYTES = 4_096;
/** Characters of the events' text, which are of one to four bytes. */
const TEXT_LENGTH = 1_900;
/** So small that it is full before the second part begins. */
const KEEP_BYTES = 2 ** 22;
const PATIENCE_MS = 30_000;
const TOPIC = 'stalled';

const events = Math.round((published * 2 ** 20) / EVENT_BYTES);
const server = await startServer({ adapter: 'express', keepEvents: 1_000, keepBytes: KEEP_BYTES });
const latencies: number[] = [];
const tally = new SequenceTally();
try {
  const watching = new NumberedReader({
    port: server.port,
    topic: TOPIC,
    onEvent: (sequence, dueMicros) => {
      tally.take(sequence);
      latencies.push((nowMicros() - dueMicros) / 1_000);
    },
  });
  await watching.opened;
  console.log(`stalled: ${events} events of about 4 KiB twice, without and with ${readers} readers that never read`);

  await publish(events);
  const without = await figures();
  const stalled = await Promise.all(Array.from({ length: readers }, stall));
  await publish(2 * events);
  const withThem = await figures();
  const { connections } = await server.remote.call('snapshot');

  for (const socket of [...stalled, watching]) socket.cut('reset');
  const isEmpty = async () => Object.values(await server.remote.call('snapshot')).every((left) => left === 0);
  await eventually(isEmpty, 'the hub is empty', PATIENCE_MS);
  const growth = withThem.rssBytes - without.rssBytes;
  console.log(
    `${published} MiB published past ${readers} readers that never read (${connections} connections to the end): ` +
      `RSS ${mebibytes(without.rssBytes)} without them, ${growth < 0 ? '-' : '+'}${mebibytes(Math.abs(growth))} with; ` +
      `another reader's latency p50 ${milliseconds(without.p50)}, p99 ${milliseconds(without.p99)} without them, ` +
      `p50 ${milliseconds(withThem.p50)}, p99 ${milliseconds(withThem.p99)} with; ` +
      `it got ${tally.received} of ${2 * events} events, ${tally.lost(2 * events)} lost, ${tally.doubled} doubled; ` +
      `the hub is empty`,
  );
  process.exitCode = tally.lost(2 * events) + tally.doubled + tally.reordered === 0 ? 0 : 1;
} finally {
  await server.remote.end();
}

/** @param until how many the watching reader has had then */
async function publish(until: number): Promise<void> {
  latencies.length = 0;
  await server.remote.call('pace', { topics: [TOPIC], perSecond: rate, events, textBytes: [TEXT_LENGTH] });
  await eventually(() => tally.last >= until, 'all has come', PATIENCE_MS).catch(() => undefined);
}

async function figures(): Promise<{ rssBytes: number; p50: number; p99: number }> {
  const { rssBytes } = await server.remote.call('usage');
  return { rssBytes, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) };
}

async function stall(): Promise<NumberedReader> {
  const reader = new NumberedReader({ port: server.port, topic: TOPIC, onOpen: () => reader.socket.pause() });
  await reader.opened;
  return reader;
}
