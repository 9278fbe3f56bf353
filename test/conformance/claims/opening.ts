/** Claims about a stream that is opened anew. */
import type { Claim } from '../claim.js';
import { demand } from '../finding.js';

/** What a browser sends across origins without asking first. */
const SAFE_CURSOR = /^[\x20-\x7e]{1,128}$/;
const UNSAFE_IN_CURSOR = /["():<>?@[\]{}]/;

export const freshSubscription: Claim = {
  name: 'fresh',
  sentence: 'A fresh subscription begins with $open and gets each event once and in order.',
  readers: 'every',
  async prove(trial) {
    const topic = trial.topic();
    await topic.publish();
    const reading = await topic.open();
    const { protocol, heartbeatMs, topics } = JSON.parse(reading.events[0]?.data ?? '{}');
    demand(protocol === 1 && heartbeatMs > 0, `$open says ${reading.events[0]?.data}`);
    demand(
      topics.length > 0 && topics.every((entry: any) => entry.resumed === false && entry.gap === null),
      `$open of a client without a cursor says ${JSON.stringify(topics)}`,
    );
    const row = await topic.publishRow(trial.int(3, trial.atMost(trial.size(15, 60))));
    await topic.demandExactly(reading, row, 'a fresh subscription');
    demand(reading.named('$open').length === 1, '$open came more than once');
  },
};

export const cursors: Claim = {
  name: 'cursors',
  sentence: 'Every event carries a cursor of its own, which any client can send back.',
  readers: (reader) => !reader.reconnects,
  async prove(trial) {
    const topic = trial.topic();
    const reading = await topic.open();
    const row = await topic.publishRow(trial.int(3, 12));
    await topic.demandExactly(reading, row, 'a fresh subscription');
    demand(!reading.text.includes('\0'), 'there is a NUL on the wire: it voids the field that has it');
    const [opened, ...events] = reading.events;
    demand(opened !== undefined && opened.id !== '', '$open carries no cursor');
    const seen = new Set<string>([opened.id]);
    for (const [index, event] of events.entries()) {
      const { id } = event;
      demand(id !== '' && !(index > 0 && seen.has(id)), `event ${topic.numberOf(event)} has no cursor of its own`);
      demand(
        SAFE_CURSOR.test(id) && !UNSAFE_IN_CURSOR.test(id),
        `a browser cannot send the cursor ${JSON.stringify(id)} across origins without asking first`,
      );
      seen.add(id);
    }
  },
};
