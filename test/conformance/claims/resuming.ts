/** Claims about a client that comes back with its cursor. */
import type { Claim } from '../claim.js';
import { demand } from '../finding.js';
import type { TrialTopic } from '../trial.js';
import { rawTcp } from '../readers/raw-tcp.js';

/** A row that was published, and where a client stands before it and after each of its events. */
export interface Row {
  readonly numbers: number[];
  /** One more than numbers: the first is from before the row. */
  readonly cursors: string[];
}

/** Publishes a row while a client watches. */
export async function publishWatched(topic: TrialTopic, count: number): Promise<Row> {
  const watching = await topic.open({ reader: rawTcp });
  const numbers = await topic.publishRow(count);
  await topic.demandExactly(watching, numbers, 'the client that watched the row');
  watching.leave();
  return { numbers, cursors: [watching.events[0]?.id ?? '', ...topic.eventsOf(watching).map(({ id }) => id)] };
}

export const everyPosition: Claim = {
  name: 'every-position',
  sentence: 'Whoever comes back with the cursor of any position of a row gets exactly the rest.',
  readers: 'every',
  async prove(trial) {
    const topic = trial.topic();
    const { numbers, cursors } = await publishWatched(topic, trial.int(3, trial.atMost(trial.size(7, 20))));
    for (const [position, cursor] of cursors.entries()) {
      const reading = await topic.open({ cursor });
      await topic.demandExactly(reading, numbers.slice(position), `back at position ${position} of ${numbers.length}`);
      const { topics } = JSON.parse(reading.events[0]?.data ?? '{}');
      demand(
        topics.every((entry: any) => entry.resumed === true && entry.gap === null),
        `$open at position ${position} says ${JSON.stringify(topics)}`,
      );
      reading.leave();
    }
    // What came after the last position was nothing; then something comes.
    const last = await topic.open({ cursor: cursors.at(-1) });
    const next = await topic.publish();
    await topic.demandExactly(last, [next], 'back at the end of the row');
  },
};

export const headerOverQuery: Claim = {
  name: 'header-over-query',
  sentence: 'The cursor in the header wins over the one in the query, which counts where there is no header.',
  readers: (reader) => reader.sendsHeader,
  async prove(trial) {
    const topic = trial.topic();
    const { numbers, cursors } = await publishWatched(topic, trial.int(4, 9));
    const [one, other] = [trial.int(0, 1), trial.int(2, numbers.length - 1)];
    const places = trial.chance(0.5) ? [one, other] : [other, one];
    const [header, query] = places as [number, number];
    const both = await topic.open({ header: cursors[header], query: cursors[query] });
    const alone = await topic.open({ query: cursors[query] });
    await topic.demandExactly(both, numbers.slice(header), `header at ${header}, query at ${query}`);
    await topic.demandExactly(alone, numbers.slice(query), `no header, query at ${query}`);
  },
};
