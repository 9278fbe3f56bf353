/** What became of the promise: compares what was acknowledged and what clients were given with the final log. */
import { compareOffsets, parseCursor, type Offset } from '@sse-channels/protocol';
import type { Given, GivenEvent } from './cluster-client.js';

/** A record of a topic's final log. */
export interface LogRecord {
  readonly number: number;
  readonly offset: Offset;
}

export type FinalLogs = ReadonlyMap<string, readonly LogRecord[]>;

/** What a topic's publisher knows. */
export interface Published {
  readonly acknowledged: ReadonlyMap<number, string>;
  readonly notWritten: ReadonlySet<number>;
  readonly unknown: ReadonlySet<number>;
}

export interface LogVerdict {
  /** Acknowledged, and not in the log. */
  readonly lost: readonly number[];
  /** In the log more than once. */
  readonly doubled: readonly number[];
  /** After a number that was published later. */
  readonly reordered: readonly number[];
  /** Acknowledged under another cursor than that of the record. */
  readonly misplaced: readonly number[];
  /** In the log although the publisher was told that it is not. */
  readonly denied: readonly number[];
}

/** A topic's log against its publisher's word. */
export function judgeLog(log: readonly LogRecord[], { acknowledged, notWritten }: Published): LogVerdict {
  const at = new Map<number, Offset>();
  const doubled: number[] = [];
  const reordered: number[] = [];
  let highest = 0;
  for (const { number, offset } of log) {
    if (at.has(number)) doubled.push(number);
    else if (number < highest) reordered.push(number);
    if (!at.has(number)) at.set(number, offset);
    highest = Math.max(highest, number);
  }
  const lost = [...acknowledged.keys()].filter((number) => !at.has(number));
  const misplaced = [...acknowledged].flatMap(([number, cursor]) => {
    const offset = at.get(number);
    return offset === undefined || parseCursor(cursor)?.offset === offset ? [] : [number];
  });
  return { lost, doubled, reordered, misplaced, denied: [...notWritten].filter((number) => at.has(number)) };
}

export interface ClientVerdict {
  /** Not given, and not told of: `topic/number`. */
  readonly missed: readonly string[];
  readonly doubled: readonly string[];
  readonly reordered: readonly string[];
  /** Given, gone from the log since, and not told of. */
  readonly untold: readonly string[];
  /** Before a record of another topic that lies before it in the log space. */
  readonly crossed: readonly string[];
  /** How many gaps were told. */
  readonly gaps: number;
  /** How many of them were told where nothing was missing. */
  readonly needless: number;
}

/**
 * A client, which stood before the first record of each of its topics, against the final logs.
 * @param history of each topic: what it was to be given, with what retention took away since
 */
export function judgeClient(given: readonly Given[], topics: readonly string[], history: FinalLogs): ClientVerdict {
  const verdict = {
    missed: [] as string[],
    doubled: [] as string[],
    reordered: [] as string[],
    untold: [] as string[],
    crossed: [] as string[],
    gaps: 0,
    needless: 0,
  };
  const readings = new Map(topics.map((topic) => [topic, new TopicReading(topic, history.get(topic) ?? [], verdict)]));
  let furthest: Offset | undefined;
  for (const item of given) {
    const reading = readings.get(item.topic);
    if (reading === undefined) throw new Error(`A client was given topic "${item.topic}" that it did not ask for.`);
    if ('gap' in item) {
      reading.gap();
      continue;
    }
    const offset = reading.take(item);
    if (offset === null) continue;
    if (furthest !== undefined && compareOffsets(offset, furthest) < 0)
      verdict.crossed.push(`${item.topic}/${item.number}`);
    else furthest = offset;
  }
  for (const reading of readings.values()) reading.end();
  return verdict;
}

interface Notes {
  readonly missed: string[];
  readonly doubled: string[];
  readonly reordered: string[];
  readonly untold: string[];
  gaps: number;
  needless: number;
}

/** One client's way through one topic. */
class TopicReading {
  readonly #places = new Map<number, number>();
  /** Numbers, and where they were. */
  readonly #taken = new Set<string>();
  /** The place in the log that is due. */
  #next = 0;
  /** Gaps since the last event of the log. */
  #told = 0;
  #ghosts: number[] = [];
  /** Whether a gap of those explained that a given event is gone. */
  #explained = false;

  constructor(
    private readonly topic: string,
    private readonly log: readonly LogRecord[],
    private readonly notes: Notes,
  ) {
    for (const [place, { number }] of log.entries()) this.#places.set(number, place);
  }

  /** The event's offset where it came in its turn; null where it did not, or is not in the log. */
  take({ number, offset }: GivenEvent): Offset | null {
    const place = this.#places.get(number);
    const there = place === undefined ? undefined : this.log[place]?.offset;
    const taken = `${number} at ${offset ?? there}`;
    if (this.#taken.has(taken)) {
      this.notes.doubled.push(this.#name(number));
      return null;
    }
    this.#taken.add(taken);
    if (place === undefined || (offset !== undefined && offset !== there)) {
      this.#ghosts.push(number);
      return null;
    }
    if (place < this.#next) {
      this.notes.reordered.push(this.#name(number));
      return null;
    }
    this.#skipTo(place);
    this.#next = place + 1;
    return there ?? null;
  }

  gap(): void {
    this.notes.gaps += 1;
    this.#told += 1;
    if (this.#ghosts.length > 0) this.#explained = true;
    this.#ghosts = [];
  }

  end(): void {
    this.#skipTo(this.log.length);
  }

  #skipTo(place: number): void {
    for (const ghost of this.#ghosts) this.notes.untold.push(this.#name(ghost));
    this.#ghosts = [];
    if (this.#told === 0) {
      for (const { number } of this.log.slice(this.#next, place)) this.notes.missed.push(this.#name(number));
    } else if (place === this.#next && !this.#explained) {
      this.notes.needless += this.#told;
    }
    this.#told = 0;
    this.#explained = false;
  }

  #name(number: number): string {
    return `${this.topic}/${number}`;
  }
}
