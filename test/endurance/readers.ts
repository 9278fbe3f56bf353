/** Many connections at once: opened a few at a time, each with a check of its own sequence. */
import { SequenceTally } from './sequence-tally.js';
import { NumberedReader } from './numbered-reader.js';

/** Connections that are on their way at a time. */
const OPENING = 100;

export interface Reading {
  readonly reader: NumberedReader;
  readonly tally: SequenceTally;
}

/** Why connections are not what they should be. */
export interface Troubles {
  gaps: number;
  closed: number;
}

/**
 * Opens connections, spread over topics; resolves when each has had `$open`.
 * @param troubles counted on while they are open
 * @throws rejects when one is refused
 */
export async function openReaders(
  port: number,
  topics: readonly string[],
  count: number,
  troubles: Troubles,
): Promise<Reading[]> {
  const readings: Reading[] = [];
  let next = 0;
  const openSome = async (): Promise<void> => {
    while (next < count) {
      const topic = topics[next % topics.length] as string;
      next += 1;
      const reading = readingOf(port, topic, troubles);
      readings.push(reading);
      await reading.reader.opened;
    }
  };
  await Promise.all(Array.from({ length: OPENING }, openSome));
  return readings;
}

function readingOf(port: number, topic: string, troubles: Troubles): Reading {
  const tally = new SequenceTally();
  const reader = new NumberedReader({
    port,
    topic,
    onEvent: (sequence) => tally.take(sequence),
    onGap: () => {
      troubles.gaps += 1;
    },
    onClose: () => {
      troubles.closed += 1;
    },
  });
  return { reader, tally };
}
