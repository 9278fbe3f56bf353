/**
 * `npm run kills`: clients whose connections are cut hundreds of times while events are published, at any byte and in any way, then
 * resumes while a server publishes as fast as it can. Counts what was lost, doubled or reordered, and gaps told where there are none.
 */
import { eventually } from '@sse-channels/testing';
import { readOptions } from './command-line.js';
import { Dice } from './fuzz/dice.js';
import { resumeFlatOut } from './flat-out-resumes.js';
import { KilledClient } from './killed-client.js';
import { totalsOf } from './sequence-tally.js';
import { startServer, type ServerProcess } from './server-process.js';

const options = readOptions({
  /** How many runs, each of a seed of its own. */
  seeds: 50,
  /** The first; `--seed 17 --seeds 1` plays one again. Odd ones run on Express, even ones on Fastify. */
  seed: 1,
  /** Seeds that run at a time. */
  concurrency: 4,
  clients: 25,
  events: 2_500,
  rate: 400,
  /** For each client. */
  kills: 25,
  resumes: 150,
});

/** Sizes of the events' texts. */
const TEXT_BYTES = [0, 3, 17, 80, 5, 300, 1, 40];

/** How long after the last event was published everything must have come. */
const PATIENCE_MS = 20_000;

interface Outcome {
  readonly line: string;
  readonly kills: number;
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  readonly falseGaps: number;
  readonly resumes: number;
  readonly holes: number;
}

const keep = { keepEvents: 1_000_000, keepBytes: 2 ** 30 };
const servers = await Promise.all([
  startServer({ adapter: 'fastify', ...keep }),
  startServer({ adapter: 'express', ...keep }),
]);
const outcomes: Outcome[] = [];
const beganAt = Date.now();
try {
  let next = options.seed;
  const playSome = async (): Promise<void> => {
    while (next < options.seed + options.seeds) {
      const seed = next;
      next += 1;
      const outcome = await play(seed);
      outcomes.push(outcome);
      console.log(outcome.line);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, playSome));
  for (const { remote } of servers) {
    await eventually(async () => (await remote.call('snapshot')).connections === 0, 'no connection is left');
  }
} finally {
  await Promise.all(servers.map(({ remote }) => remote.end()));
}

const sum = (of: keyof Omit<Outcome, 'line'>) => outcomes.reduce((total, outcome) => total + outcome[of], 0);
const seconds = ((Date.now() - beganAt) / 1_000).toFixed(0);
console.log(
  `${outcomes.length} seeds in ${seconds} s: ${sum('kills')} kills, ${sum('lost')} lost, ${sum('doubled')} doubled, ` +
    `${sum('reordered')} reordered, ${sum('falseGaps')} false gaps; ${sum('resumes')} resumes flat out, ${sum('holes')} holes`,
);
const wrong = sum('lost') + sum('doubled') + sum('reordered') + sum('falseGaps') + sum('holes');
process.exitCode = wrong === 0 && outcomes.length === options.seeds ? 0 : 1;

async function play(seed: number): Promise<Outcome> {
  const server = servers[seed % servers.length] as ServerProcess;
  const kills = await playKills(server, seed);
  const flat = await resumeFlatOut(server, seed, options.resumes);
  const line =
    `seed ${seed} ${server.remote.name}: ${kills.kills} kills of ${options.clients} clients, ${options.events} events: ` +
    `${kills.lost} lost, ${kills.doubled} doubled, ${kills.reordered} reordered, ${kills.falseGaps} false gaps; ` +
    `${flat.resumes} resumes while ${flat.published} events were published flat out: ${flat.holes} holes`;
  return { ...kills, ...flat, line };
}

async function playKills({ remote, port }: ServerProcess, seed: number) {
  const { clients: count, events, rate, kills } = options;
  const topic = `kills-${seed}`;
  const deadline = Date.now() + (events / rate) * 1_000 + PATIENCE_MS;
  const clients = Array.from(
    { length: count },
    (_, index) => new KilledClient({ port, topic, events, kills, deadline }, Dice.ofCase(seed, index)),
  );
  await Promise.all(clients.map((client) => client.begin()));
  const published = remote.call('pace', { topics: [topic], perSecond: rate, events, textBytes: TEXT_BYTES });
  await Promise.all([published, ...clients.map((client) => client.run())]);
  const totals = totalsOf(
    clients.map(({ tally }) => tally),
    events,
  );
  return {
    ...totals,
    kills: clients.reduce((total, client) => total + client.kills, 0),
    falseGaps: clients.reduce((total, { gaps }) => total + gaps, 0),
  };
}
