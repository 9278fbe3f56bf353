/** Claims about cursors that the log cannot go on from: the stream opens all the same, and says that there is a gap. */
import type { Claim } from '../claim.js';
import { demand, LeftOut } from '../finding.js';
import type { Reading } from '../reading.js';
import type { Beginning, TrialTopic } from '../trial.js';
import { publishWatched } from './resuming.js';

/** What no answer may repeat. */
const MARK = 'do-not-repeat';

const GARBAGE = [
  MARK,
  `~${MARK}`,
  `${MARK}~`,
  `${MARK}~0-0`,
  `${MARK}~1-1-1`,
  `<script>${MARK}</script>`,
  `${MARK}"'\\{}[]`,
  `-1 ${MARK}`,
  `__proto__~${MARK}`,
  `${MARK}~zzzzzzzzzzzzzzzzzzzz-0`,
  `$open ${MARK}`,
  `null~null-null ${MARK}`,
];
/** Only a query can carry these. */
const GARBAGE_IN_QUERY = [`${MARK}\n\ndata: injected`, `${MARK}\0`, `\u2028${MARK}\u{1f980}`, `id: ${MARK}\r\n`];

/**
 * The stream tells a gap before the first event, then gives what the log still has, and is live.
 * @param row what was published, in order; one more is, and is added
 */
async function demandGap(topic: TrialTopic, row: number[], beginning: Beginning, what: string): Promise<Reading> {
  const reading = await topic.ask(beginning);
  demand(reading.status === 200, `${what} was answered ${reading.status}, not 200 with a $gap`);
  const live = await topic.publish();
  row.push(live);
  await topic.await(reading, live);
  const events = reading.events.map(({ name }) => name);
  demand(events[0] === '$open', `${what}: the stream began with ${events[0]}, not with $open`);
  demand(events[1] === '$gap', `${what}: after $open came ${events[1]}, not the $gap`);
  demand(reading.named('$gap').length === 1, `${what}: $gap was told ${reading.named('$gap').length} times`);
  const gap = JSON.parse(reading.named('$gap')[0]?.data ?? '{}');
  const { topics } = JSON.parse(reading.events[0]?.data ?? '{}');
  demand(
    topics.some((entry: any) => entry.gap === gap.reason && entry.resumed === false),
    `${what}: $open says ${JSON.stringify(topics)}, $gap says ${JSON.stringify(gap)}`,
  );
  // A topic that is not the trial's own may hold what was published before.
  const received = topic.received(reading);
  const ours = received.findIndex((item) => item !== 'gap' && row.includes(item));
  topic.demandJudged(row, ['gap', ...received.slice(ours)], what, 'may be');
  return reading;
}

function demandUnrepeated(reading: Reading, mark: string): void {
  const answer = `${JSON.stringify(reading.headers)}\n${reading.text}`.toLowerCase();
  demand(!answer.includes(mark.toLowerCase()), `the answer repeats what the client sent: ${mark}`);
}

export const garbageCursors: Claim = {
  name: 'garbage-cursors',
  sentence: 'A cursor that is none is answered 200 with one $gap before the first event; nothing of it is repeated.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const { numbers } = await publishWatched(topic, trial.int(1, 5));
    const row = [...numbers];
    const tries: Beginning[] = [
      ...GARBAGE.flatMap((text) => [{ header: text }, { query: text }]),
      ...GARBAGE_IN_QUERY.map((text) => ({ query: text })),
    ];
    for (let count = trial.size(6, 14); count > 0; count -= 1) {
      const beginning = trial.pick(tries);
      const what = `the cursor ${JSON.stringify(beginning.header ?? beginning.query)}`;
      const reading = await demandGap(topic, row, beginning, what);
      demandUnrepeated(reading, MARK);
      demand(!reading.text.includes('injected'), `${what} wrote into the stream`);
      reading.leave();
    }
  },
};

export const oversizedCursors: Claim = {
  name: 'oversized-cursors',
  sentence: 'A cursor that is far too long is answered 200 with a $gap, or refused with a status of 4xx.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const row: number[] = [];
    for (const length of [129, trial.int(130, 2_000), trial.int(2_000, 7_000), 60_000]) {
      const text = `${MARK}${'x'.repeat(length)}`;
      const beginning = trial.chance(0.5) ? { header: text } : { query: text };
      const reading = await topic.ask(beginning);
      const status = reading.status ?? 0;
      const refused = status >= 400 && status < 500 && length > 7_000;
      demand(status === 200 || refused, `a cursor of ${length} characters was answered ${status}`);
      if (status === 200) await demandGap(topic, row, beginning, `a cursor of ${length} characters`);
      demandUnrepeated(reading, MARK);
      reading.leave();
    }
  },
};

export const foreignEpoch: Claim = {
  name: 'foreign-epoch',
  sentence: 'A cursor of another log space is answered 200 with one $gap before the first event.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const { numbers, cursors } = await publishWatched(topic, trial.int(2, 8));
    const cursor = trial.pick(cursors);
    const tilde = cursor.indexOf('~');
    if (tilde === -1) throw new LeftOut(`this server's cursors have no epoch: ${cursor}`);
    const epoch = `Foreign${trial.int(100, 999)}`;
    const header = epoch + cursor.slice(tilde);
    const reading = await demandGap(topic, [...numbers], { header }, `the foreign cursor ${header}`);
    demandUnrepeated(reading, epoch);
  },
};

export const futureCursor: Claim = {
  name: 'future-cursor',
  sentence: 'A cursor from after the end of the log is answered 200 with one $gap before the first event.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const { numbers, cursors } = await publishWatched(topic, trial.int(2, 8));
    const cursor = trial.pick(cursors);
    const parts = /^([^~]+)~([0-9a-z]+)-(.+)$/.exec(cursor);
    if (parts === null) throw new LeftOut(`this server's cursors have another form: ${cursor}`);
    const [, epoch = '', major = '', minor = ''] = parts;
    const later = (Number.parseInt(major, 36) + trial.int(10 ** 9, 10 ** 11)).toString(36);
    const header = `${epoch}~${later}-${minor}`;
    await demandGap(topic, [...numbers], { header }, `the future cursor ${header}`);
  },
};

export const evictedCursor: Claim = {
  name: 'evicted-cursor',
  sentence: 'A cursor from before what the log keeps is answered 200 with a $gap, then all that is kept.',
  needs: ['retained'],
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const retained = trial.session.target.retainedEvents ?? 0;
    const { cursors, numbers } = await publishWatched(topic, trial.int(3, 9));
    const position = trial.int(0, numbers.length - 2);
    const later = await topic.publishRow(retained + trial.int(0, 20), 8);
    const last = await topic.publish();
    // Published by several at a time: their order is the log's own, so what is kept is compared as a set.
    const reading = await topic.open({ header: cursors[position] });
    await topic.await(reading, last);
    const received = topic.received(reading);
    const told = received[0] === 'gap';
    const missing = [...numbers.slice(position), ...later].filter((number) => !received.includes(number));
    demand(told || missing.length === 0, `no $gap was told, but ${missing.length} events are missing`);
    const given = received.filter((item) => item !== 'gap');
    demand(new Set(given).size === given.length, 'some events came twice');
    demand(topic.ledger.outOfOrder(given).length === 0, 'some events came out of order');
    demand(
      received.slice(1).every((item) => item !== 'gap'),
      'a $gap was told after the first event',
    );
    demand(
      given.length >= Math.min(retained, later.length),
      `the log keeps ${retained} events, but only ${given.length} came after the $gap`,
    );
    const near = topic.eventsOf(reading).at(-trial.int(2, 10));
    demand(near !== undefined, 'nothing came after the $gap');
    const kept = await topic.open({ header: near.id });
    await topic.demandExactly(kept, given.slice(given.indexOf(topic.numberOf(near)) + 1), 'back at a kept position');
  },
};

export const finalCursor: Claim = {
  name: 'final-cursor',
  sentence: 'The final cursor, $end, is answered 204 without a body: the client stays away.',
  readers: 'every',
  async prove(trial) {
    const topic = trial.topic();
    await topic.publish();
    const beginnings: Beginning[] = trial.reader.sendsHeader
      ? [{ header: '$end' }, { query: '$end' }, { header: '$end', query: 'what ever' }]
      : [{ query: '$end' }];
    for (const beginning of beginnings) {
      const reading = await topic.ask(beginning);
      demand([204, null].includes(reading.status), `$end was answered ${reading.status}, not 204`);
      const ended = await reading.until((client) => client.ended, trial.session.deadlineMs);
      demand(ended, '$end was answered, but the response did not end');
      demand(reading.events.length === 0 && reading.text === '', `$end was answered with a body: ${reading.text}`);
      reading.leave();
    }
  },
};
