/**
 * `npm run drain`: a deploy under load. A thousand streams and a publisher over HTTP; then SIGTERM. Everything that was acknowledged
 * before it must reach every stream before its end. Tells how long the exit took, and how the ends and the `retry:` values are spread.
 */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { eventually } from '@sse-channels/testing';
import { readOptions } from './command-line.js';
import { milliseconds, quantile } from './figures.js';
import { SequenceTally, totalsOf } from './sequence-tally.js';
import type { AdapterName } from './server.js';
import { startServer } from './server-process.js';
import { NumberedReader } from './numbered-reader.js';

const options = readOptions({
  streams: 1_000,
  /** Seconds of load before the signal. */
  seconds: 5,
  /** Events a second. */
  rate: 50,
  'window-ms': 0,
  'grace-ms': 5_000,
  fastify: false,
});

const OPENING = 100;
const PATIENCE_MS = 60_000;
const TOPIC = 'drained';

/** What a stream of the drill was told. */
interface Stream {
  readonly reader: NumberedReader;
  readonly tally: SequenceTally;
  reason: string | null;
  comeBack: boolean;
  retryMs: number;
  endedAt: number;
}

const adapter: AdapterName = options.fastify ? 'fastify' : 'express';
const server = await startServer({
  adapter,
  keepEvents: 10_000,
  keepBytes: 2 ** 26,
  drain: { graceMs: options['grace-ms'], windowMs: options['window-ms'] },
});
/** The sequences of the events that were, in order. */
const acknowledged: number[] = [];
let refused = 0;
const over = new AbortController();
let sequence = 0;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
try {
  const streams = await openStreams();
  const publisher = publishOverHttp();
  await eventually(
    () => acknowledged.length >= options.rate * options.seconds,
    'events were acknowledged',
    options.seconds * 1_000 + PATIENCE_MS,
  );

  const acknowledgedBefore = acknowledged.at(-1) ?? 0;
  const signalledAt = performance.now();
  const exited = once(server.child, 'exit').then((how) => ({
    how: how as [number | null, string | null],
    at: performance.now(),
  }));
  server.child.kill('SIGTERM');
  const hangs = setTimeout(
    () => server.child.kill('SIGKILL'),
    options['window-ms'] + options['grace-ms'] + PATIENCE_MS,
  );
  await Promise.all(streams.map(({ reader }) => reader.closed));
  const { how, at } = await exited;
  clearTimeout(hangs);
  over.abort();
  await publisher;

  const totals = totalsOf(streams.map(({ tally }) => tally));
  const owed = streams.reduce((sum, { tally }) => sum + Math.max(0, acknowledgedBefore - tally.last), 0);
  const untold = streams.filter(
    ({ reason, comeBack, reader }) => reason !== 'drained' || !comeBack || !reader.complete,
  ).length;
  const ends = streams.map(({ endedAt }) => endedAt - signalledAt);
  const retries = streams.map(({ retryMs }) => retryMs);
  const lastEverywhere = Math.min(...streams.map(({ tally }) => tally.last));
  const late = acknowledged.filter((one) => one > acknowledgedBefore);
  const lateEverywhere = late.filter((one) => one <= lastEverywhere).length;
  console.log(
    `${options.streams} streams on ${adapter}, ${acknowledgedBefore} events acknowledged before SIGTERM: ` +
      `${owed + totals.lost} of them lost, ${totals.doubled} doubled, ${totals.reordered} reordered, ` +
      `${untold} streams ended without $closing; ` +
      `${late.length} acknowledged after it, ${lateEverywhere} of these on every stream, ${refused} refused; ` +
      `ends from ${milliseconds(quantile(ends, 0))} to ${milliseconds(quantile(ends, 1))}, ` +
      `retry from ${quantile(retries, 0)} to ${quantile(retries, 1)} ms (median ${quantile(retries, 0.5)}), ` +
      `exit after ${milliseconds(at - signalledAt)} by ${how[1] ?? how[0]}`,
  );
  const wrong = owed + totals.lost + totals.doubled + totals.reordered + untold;
  process.exitCode = wrong === 0 && how[1] === 'SIGTERM' ? 0 : 1;
} finally {
  over.abort();
  agent.destroy();
  await server.remote.end();
}

async function openStreams(): Promise<Stream[]> {
  const streams: Stream[] = [];
  const openSome = async (): Promise<void> => {
    while (streams.length < options.streams) await openOne(streams);
  };
  await Promise.all(Array.from({ length: Math.min(OPENING, options.streams) }, openSome));
  return streams;
}

async function openOne(streams: Stream[]): Promise<void> {
  const tally = new SequenceTally();
  const stream: Stream = {
    tally,
    reader: new NumberedReader({
      port: server.port,
      topic: TOPIC,
      onEvent: (number) => tally.take(number),
      onClosing: ({ reason, comeBack }, retryMs) => {
        Object.assign(stream, { reason, comeBack, retryMs, endedAt: performance.now() });
      },
    }),
    reason: null,
    comeBack: false,
    retryMs: 0,
    endedAt: 0,
  };
  streams.push(stream);
  await stream.reader.opened;
}

/** One after the other, so that what was acknowledged is known by its last sequence. */
async function publishOverHttp(): Promise<void> {
  const beganAt = performance.now();
  while (!over.signal.aborted) {
    if (await post(sequence + 1)) {
      sequence += 1;
      acknowledged.push(sequence);
    } else {
      refused += 1;
    }
    const waitMs = beganAt + ((sequence + refused) * 1_000) / options.rate - performance.now();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, waitMs)));
  }
}

function post(number: number): Promise<boolean> {
  return new Promise((resolve) => {
    const body = JSON.stringify({ sequence: number });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const posted = request(
      { host: '127.0.0.1', port: server.port, path: `/numbers/${TOPIC}`, method: 'POST', agent, headers },
      (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode === 201));
        response.on('error', () => resolve(false));
      },
    );
    posted.on('error', () => resolve(false));
    posted.end(body);
  });
}
