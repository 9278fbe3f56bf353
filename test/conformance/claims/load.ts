/** Claims about clients that come, go, stall and come back while events are published. */
import { readdirSync } from 'node:fs';
import type { Claim } from '../claim.js';
import { demand } from '../finding.js';
import type { Received } from '../ledger.js';
import type { LeaveKind, Reading, SeenEvent } from '../reading.js';
import { FaultyLink } from '../../faulty-link.js';
import { rawTcp } from '../readers/raw-tcp.js';
import type { TrialTopic } from '../trial.js';
import { publishWatched } from './resuming.js';

const LEAVE_KINDS: readonly LeaveKind[] = ['close', 'reset', 'half-close'];

/** A client that comes back with its cursor, and what it was given over all its connections. */
class Returning {
  readonly received: Received[] = [];
  cursor: string | undefined;
  reading: Reading | undefined;

  constructor(private readonly topic: TrialTopic) {}

  async connect(stopAtByte?: number): Promise<Reading> {
    const begun = await this.topic.open({
      cursor: this.cursor,
      // Whoever is cut before the first cursor stands nowhere, and may miss what comes.
      ...(stopAtByte === undefined || this.cursor === undefined ? {} : { stopAtByte: stopAtByte + OPEN_BYTES }),
    });
    this.reading = begun;
    return begun;
  }

  leave(kind?: LeaveKind): void {
    const { reading } = this;
    if (reading === undefined) return;
    reading.leave(kind);
    this.reading = undefined;
    this.received.push(...this.topic.received(reading));
    this.cursor = reading.cursor;
  }

  has(number: number): boolean {
    return this.received.at(-1) === number || (this.reading !== undefined && this.topic.has(this.reading, number));
  }
}

/** More than `$open` takes. */
const OPEN_BYTES = 512;

export const kills: Claim = {
  name: 'kills',
  sentence:
    'Clients that are killed at random while events are published lose, double and reorder nothing, and see no gap.',
  readers: (reader) => !reader.reconnects && reader.name !== 'curl',
  async prove(trial) {
    const topic = trial.topic();
    const clients = Array.from({ length: trial.size(2, 4) }, () => new Returning(topic));
    for (const client of clients) await client.connect();
    /** The last event, once there is no more to come. */
    const state: { last?: number } = {};
    const live = async (client: Returning): Promise<void> => {
      const hasAll = (): boolean => state.last !== undefined && client.has(state.last);
      while (!hasAll()) {
        const reading = client.reading ?? (await client.connect(trial.chance(0.5) ? trial.int(1, 3_000) : undefined));
        const wanted = topic.eventsOf(reading).length + trial.int(0, 12);
        const moved = await reading.until(
          ({ left, ended }) => left || ended || hasAll() || topic.eventsOf(reading).length >= wanted,
          trial.session.deadlineMs,
        );
        client.leave(trial.pick(LEAVE_KINDS));
        if (!moved && state.last !== undefined) break;
        demand(moved, `nothing came within ${trial.session.deadlineMs} ms while events were published`);
      }
    };
    const row: number[] = [];
    const publishing = (async () => {
      const count = trial.atMost(trial.size(120, 400));
      while (row.length < count) row.push(...(await topic.publishRow(trial.int(1, 10))));
      state.last = row.at(-1) ?? 0;
      // Who stands at the end gets no more; this wakes them.
      for (const { reading } of clients) reading?.look();
    })();
    await settleAll([publishing, ...clients.map(live)]);
    for (const client of clients) topic.demandJudged(row, client.received, 'a client that was killed again and again');
  },
};

export const cuts: Claim = {
  name: 'cuts',
  sentence: 'A native EventSource whose connection is cut again and again comes back by itself and misses nothing.',
  needs: ['plainHttp'],
  readers: (reader) => reader.reconnects,
  async prove(trial) {
    const topic = trial.topic();
    const proxy = await FaultyLink.listen(trial.session.target.streamUrl);
    try {
      const { cursors, numbers } = await publishWatched(topic, 3);
      // Its URL keeps the old cursor; the header must win when it comes back.
      const reading = await topic.open({ query: cursors[1], origin: proxy.origin });
      const row = numbers.slice(1);
      await topic.demandExactly(reading, row, 'an EventSource');
      for (let cut = trial.size(2, 4); cut > 0; cut -= 1) {
        const opened = reading.named('$open').length;
        proxy.cutAfter(trial.int(0, 600));
        row.push(...(await topic.publishRow(trial.int(5, 20))));
        proxy.cut();
        row.push(...(await topic.publishRow(trial.int(1, 5))));
        const back = await reading.until(
          () => reading.named('$open').length > opened,
          trial.session.deadlineMs + MAX_RETRY_MS,
        );
        demand(back, 'the EventSource did not come back after its connection was cut');
      }
      row.push(await topic.publish());
      await topic.demandExactly(reading, row, 'an EventSource that was cut');
    } finally {
      await proxy.close();
    }
  },
};

/** What servers tell clients to wait before they come back, at most. */
const MAX_RETRY_MS = 10_000;

export const seam: Claim = {
  name: 'seam',
  sentence:
    'Whoever joins with an older cursor while events are published flat out crosses from replay to live unharmed.',
  readers: (reader) => !reader.reconnects && reader.name !== 'curl',
  async prove(trial) {
    const topic = trial.topic();
    // Nobody is connected while flat-out publishing begins: who comes first has the past from the log alone.
    const { cursors, numbers } = await publishWatched(topic, trial.atMost(30));
    const first = numbers[0] ?? 0;
    const state = { published: false };
    const publishing = topic.publishRow(trial.atMost(trial.size(150, 250)), 6).then(() => (state.published = true));
    const witness = await topic.open({ cursor: cursors[1], reader: rawTcp });
    await topic.await(witness, numbers.at(-1) ?? 0);
    const joined: Array<{ readonly reading: Reading; readonly after: number }> = [];
    const join = async (): Promise<void> => {
      while ((!state.published || joined.length < 4) && joined.length < 40) {
        const events = topic.eventsOf(witness);
        // Mostly a few events back: the seam is where the log ends.
        const from = events.at(-(trial.chance(0.7) ? trial.int(1, 6) : trial.int(1, events.length))) as SeenEvent;
        joined.push({ reading: await topic.open({ cursor: from.id }), after: topic.numberOf(from) });
      }
    };
    await settleAll([publishing, join()]);
    const last = await topic.publish();
    await topic.await(witness, last);
    const order = demandWitnessed(
      topic,
      witness,
      topic.ledger.acknowledged.filter((number) => number > first),
    );
    for (const { reading, after } of joined) {
      await topic.demandExactly(reading, order.slice(order.indexOf(after) + 1), `joined after ${after}`);
    }
  },
};

export const reconnectStorm: Claim = {
  name: 'reconnect-storm',
  sentence: 'Many clients that come back at once, again and again, each get exactly what they missed.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const clients = Array.from({ length: trial.size(25, 120) }, () => new Returning(topic));
    await Promise.all(clients.map((client) => client.connect()));
    const row: number[] = [];
    for (let round = trial.size(3, 5); round > 0; round -= 1) {
      row.push(...(await topic.publishRow(trial.atMost(trial.int(1, 15)))));
      // Some are far behind, some see everything before they go.
      const leaving = clients.filter(() => trial.chance(0.8));
      for (const client of leaving) client.leave(trial.pick(LEAVE_KINDS));
      row.push(...(await topic.publishRow(trial.atMost(trial.int(1, 15)))));
      const publishing = topic.publishRow(10);
      await settleAll([
        publishing.then((numbers) => row.push(...numbers)),
        ...leaving.filter(() => trial.chance(0.8)).map((client) => client.connect()),
      ]);
    }
    row.push(await topic.publish());
    for (const client of clients) {
      const reading = client.reading ?? (await client.connect());
      await topic.await(reading, row.at(-1) ?? 0);
      client.leave();
      topic.demandJudged(row, client.received, 'a client in a storm of reconnects');
    }
  },
};

export const churn: Claim = {
  name: 'churn',
  sentence: 'Clients that connect and disconnect in great numbers leave nothing open behind them.',
  needs: ['pid'],
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const pid = trial.session.target.pid?.() ?? 0;
    const open = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const round = async (): Promise<void> => {
      const clients = await Promise.all(
        Array.from({ length: trial.size(20, 60) }, async () => {
          const reading = await topic.ask();
          if (trial.chance(0.3)) reading.leave(trial.pick(LEAVE_KINDS));
          return reading;
        }),
      );
      row.push(...(await topic.publishRow(trial.int(1, 5))));
      for (const reading of clients) reading.leave(trial.pick(LEAVE_KINDS));
    };
    const staying = await topic.open();
    const row = [await topic.publish()];
    await topic.demandExactly(staying, row, 'who stayed');
    const before = open();
    for (let rounds = trial.size(3, 8); rounds > 0; rounds -= 1) await round();
    await trial.eventually(
      () => open() <= before + KEPT_DESCRIPTORS,
      `the application holds ${open()} descriptors after the clients have left, ${before} before they came`,
    );
    row.push(await topic.publish());
    await topic.demandExactly(staying, row, 'who stayed');
  },
};

/** What an application may open meanwhile for itself, far fewer than clients of one round. */
const KEPT_DESCRIPTORS = 3;

export const stalledReaders: Claim = {
  name: 'stalled-readers',
  sentence: 'Readers that stall do not disturb others; when they read on they get everything, or are told of a gap.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const before = await topic.publish();
    const healthy = await topic.open();
    const stalled = [await topic.open(), await topic.open()];
    for (const reading of stalled) reading.handle.pause?.();
    // With long texts it is more than the kernel takes for a peer that does not read.
    const long = trial.session.target.body.includes('%text');
    const large = trial.chance(0.5);
    const count = trial.atMost(long ? (large ? 220 : 110) : 200);
    const row: number[] = [];
    while (row.length < count) {
      row.push(await topic.publish('x'.repeat(long ? 48_000 : 0)));
      // The healthy one keeps up all the time.
      if (row.length % 20 === 0) await topic.await(healthy, row.at(-1) ?? before);
    }
    await topic.demandExactly(healthy, row, 'a client beside stalled ones');
    for (const reading of stalled) reading.handle.resume?.();
    row.push(await topic.publish());
    for (const reading of stalled) {
      await topic.await(reading, row.at(-1) ?? before);
      topic.demandJudged(row, topic.received(reading), 'a client that stalled and read on', 'may be');
    }
    await topic.demandExactly(healthy, row, 'a client beside stalled ones');
  },
};

/**
 * The witness saw all of these, once, and none before what was acknowledged before it was sent.
 * @returns their order
 * @throws Broken
 */
export function demandWitnessed(topic: TrialTopic, witness: Reading, due: readonly number[]): number[] {
  const received = topic.received(witness);
  const order = received.filter((item) => item !== 'gap');
  const gaps = received.filter((item) => item === 'gap');
  // Several were published at a time: their order is the log's to say, so here they are compared as a set.
  const all = [...new Set([...due, ...order])].sort(byNumber);
  topic.demandJudged(all, [...gaps, ...[...order].sort(byNumber)], 'the client that watched all');
  const late = topic.ledger.outOfOrder(order);
  demand(late.length === 0, `the client that watched all saw events out of order: ${late.join(', ')}`);
  return order;
}

function byNumber(a: number, b: number): number {
  return a - b;
}

/** All of them, or the first failure; never one that nobody hears of. */
async function settleAll(tasks: ReadonlyArray<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(tasks);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
