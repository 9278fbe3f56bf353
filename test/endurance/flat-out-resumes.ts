/** Resumes while a server publishes as fast as it can: at each the log, the ring and what is live must meet without a hole. */
import { Dice } from './fuzz/dice.js';
import { SequenceTally } from './sequence-tally.js';
import type { ServerProcess } from './server-process.js';
import { NumberedReader } from './numbered-reader.js';

export interface Resumed {
  readonly resumes: number;
  /** Events that were lost, doubled or reordered, gaps, and streams that ended early. */
  readonly holes: number;
  readonly published: number;
}

/** Clients that resume again and again. */
const WALKERS = 10;
/** The most that a walker reads between two resumes. */
const STEP_EVENTS = 2_000;

/** Where a reader stands. */
interface Place {
  readonly cursor: string;
  readonly sequence: number;
}

/** Resumes at random places until there were so many. */
export async function resumeFlatOut(
  { remote, port }: ServerProcess,
  seed: number,
  wantedResumes: number,
): Promise<Resumed> {
  const topic = `flat-${seed}`;
  const dice = Dice.ofCase(~seed, 0);
  const first = new NumberedReader({ port, topic });
  await first.opened;
  // Whoever is furthest tells where the head is.
  let head: Place = { cursor: first.cursor, sequence: 0 };
  first.cut();
  const publishing = remote.call('hurry', { topic, textBytes: 20 });
  let resumes = 0;
  let holes = 0;
  const walk = async (): Promise<void> => {
    let own = head;
    while (resumes < wantedResumes) {
      resumes += 1;
      // From where it was, which is in the log by now, or from near the head, which is in the ring.
      const walked = await resume(port, topic, dice.oneIn(2) ? own : head, 1 + dice.below(STEP_EVENTS));
      own = walked.place;
      if (own.sequence > head.sequence) head = own;
      holes += walked.holes;
    }
  };
  await Promise.all(Array.from({ length: WALKERS }, walk));
  await remote.call('stop', { topic });
  return { resumes, holes, published: await publishing };
}

/** Reads on from a place until there were so many events, or somewhat more. */
function resume(port: number, topic: string, from: Place, wanted: number): Promise<{ place: Place; holes: number }> {
  return new Promise((resolve) => {
    const tally = new SequenceTally(from.sequence);
    let gaps = 0;
    const reader = new NumberedReader({
      port,
      topic,
      cursor: from.cursor,
      onEvent: (sequence) => {
        tally.take(sequence);
        if (tally.received === wanted) setImmediate(() => reader.cut());
      },
      onGap: () => {
        gaps += 1;
      },
      onClose: () => {
        const early = tally.received < wanted ? 1 : 0;
        const place = tally.received === 0 ? from : { cursor: reader.cursor, sequence: tally.last };
        resolve({ place, holes: gaps + early + tally.lost() + tally.doubled + tally.reordered });
      },
    });
  });
}
