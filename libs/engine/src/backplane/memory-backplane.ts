/** The backplane of one process: logs in memory, handed over in the turn in which they are appended. */
import { randomBytes } from 'node:crypto';
import {
  compareOffsets,
  FIRST_OFFSET,
  formatCursor,
  formatOffset,
  laterOffset,
  matchesFilter,
  SseChannelsError,
  type Cursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import type {
  AppendOptions,
  Backplane,
  BackplaneCapabilities,
  BackplaneState,
  Draft,
  EventRecord,
  Page,
  ReadStart,
  Tail,
  TopicFilter,
} from './backplane.js';
import { IdempotencyKeys } from './idempotency-keys.js';
import { MemoryLog } from './memory-log.js';

/** How often idle topics are looked at; a read or an append looks by itself. */
const SWEEP_MS = 1_000;
/** How many first segments are told apart among forgotten topics, so that hostile topic names cannot fill the memory. */
const MAX_FORGOTTEN_SEGMENTS = 1_000;
/** How many topics one sweep looks at, so that a million of them do not hold up the event loop. */
const SWEEP_TOPICS = 10_000;

interface LiveTail {
  readonly filter: TopicFilter;
  readonly onRecord: (record: EventRecord) => void;
}

/** Keeps the logs in this process's memory: nothing to run, gone with the process (its next one has another epoch). */
export class MemoryBackplane implements Backplane {
  readonly capabilities: BackplaneCapabilities = { durable: false, sharedAcrossNodes: false, order: 'space' };
  readonly state: BackplaneState = 'live';
  readonly epoch = randomBytes(6).toString('base64url');

  readonly #logs = new Map<string, MemoryLog>();
  readonly #topicTails = new Map<string, Set<LiveTail>>();
  readonly #filterTails = new Set<LiveTail>();
  readonly #forgotten = new ForgottenTopics();
  readonly #keys = new IdempotencyKeys();
  /** Appended, but not yet handed over to every tail: the first is being handed over now. */
  readonly #due: EventRecord[] = [];
  /** While some are due: every tail has the records up to this offset. */
  #handedOver: Offset = FIRST_OFFSET;
  #clockMs = 0;
  #sequence = 0;
  #sweep: NodeJS.Timeout | undefined;
  #sweepIterator: IterableIterator<[string, MemoryLog]> | undefined;
  #closed = false;

  async ready(): Promise<void> {
    this.#assertOpen();
  }

  async append(
    topic: string,
    draft: Draft,
    retention: Retention,
    { idempotencyKey }: AppendOptions = {},
  ): Promise<Cursor> {
    this.#assertOpen();
    const made = idempotencyKey === undefined ? undefined : this.#keys.get(topic, idempotencyKey);
    if (made !== undefined) return made;
    if (this.#due.length === 0) this.#handedOver = this.#position();
    this.#tick();
    this.#sequence += 1;
    const offset = formatOffset(this.#clockMs, this.#sequence);
    let log = this.#logs.get(topic);
    if (log === undefined) {
      log = new MemoryLog(retention);
      // The topic may have had a log before this one.
      const forgotten = this.#forgotten.newestOf(topic);
      if (forgotten !== FIRST_OFFSET) log.trimmed = forgotten;
      this.#logs.set(topic, log);
      this.#startSweep();
    }
    log.retention = retention;
    const record: EventRecord = {
      topic,
      offset,
      prev: log.head,
      name: draft.name,
      data: draft.data,
      ...(draft.key === undefined ? {} : { key: draft.key }),
      time: Date.now(),
    };
    log.append(record);
    const cursor = formatCursor(this.epoch, offset);
    if (idempotencyKey !== undefined) this.#keys.set(topic, idempotencyKey, cursor);
    this.#due.push(record);
    // A listener that publishes is inside a hand-over: what it adds waits, or other tails would get it before this one's record.
    if (this.#due.length === 1) this.#handOver();
    return cursor;
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    this.#assertOpen();
    const head = this.#position();
    const logs = this.#logsOf(filter);
    // A topic without a log may have had one; of a filter, not all topics need have one.
    let trimmed = logs.length === 0 || filter.includes('*') ? this.#forgotten.newestOf(filter) : FIRST_OFFSET;
    for (const log of logs) if (log.trimmed !== null) trimmed = laterOffset(trimmed, log.trimmed);

    if (typeof start === 'object' && start !== null) {
      const newest = merge(logs.map((log) => log.last(start.last)));
      const records = newest.slice(Math.max(0, newest.length - start.last));
      const before = newest.at(-records.length - 1)?.offset ?? records[0]?.prev;
      const from = records.length === 0 ? head : (before ?? trimmed);
      return page(from, records, limit, head);
    }
    const after = start ?? trimmed;
    const rewound = compareOffsets(after, head) > 0;
    const intact = !rewound && compareOffsets(after, trimmed) >= 0;
    const from = intact ? after : trimmed;
    const records = merge(logs.map((log) => log.after(from, limit + 1)));
    const reason = rewound ? 'rewound' : intact ? null : 'trimmed';
    return { ...page(from, records, limit, head), intact, reason };
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void): Promise<Tail> {
    this.#assertOpen();
    const live: LiveTail = { filter, onRecord };
    const tails = filter.includes('*') ? this.#filterTails : this.#tailsOf(filter);
    tails.add(live);
    const position = (): Offset => (this.#due.length > 0 ? this.#handedOver : this.#position());
    return {
      get position() {
        // Records are handed over inside `append`, so the log space's own position is the tail's.
        return position();
      },
      end: () => {
        tails.delete(live);
        if (tails.size === 0 && this.#topicTails.get(filter) === tails) this.#topicTails.delete(filter);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    this.#logs.clear();
    this.#topicTails.clear();
    this.#filterTails.clear();
  }

  /** How many topics have a log: what the memory is spent on. */
  get topics(): number {
    return this.#logs.size;
  }

  /** Hands over what is due, in the order of the offsets. */
  #handOver(): void {
    for (let record = this.#due[0]; record !== undefined; record = this.#due[0]) {
      for (const tail of this.#topicTails.get(record.topic) ?? []) hand(tail, record);
      for (const tail of this.#filterTails) if (matchesFilter(tail.filter, record.topic)) hand(tail, record);
      this.#handedOver = record.offset;
      this.#due.shift();
    }
  }

  #tailsOf(topic: string): Set<LiveTail> {
    let tails = this.#topicTails.get(topic);
    if (tails === undefined) {
      tails = new Set();
      this.#topicTails.set(topic, tails);
    }
    return tails;
  }

  #logsOf(filter: TopicFilter): MemoryLog[] {
    const logs: MemoryLog[] = [];
    const now = Date.now();
    if (!filter.includes('*')) {
      const log = this.#logs.get(filter);
      if (log !== undefined) logs.push(log);
    } else {
      for (const [topic, log] of this.#logs) if (matchesFilter(filter, topic)) logs.push(log);
    }
    for (const log of logs) log.trim(now);
    return logs;
  }

  /** Moves the log space's clock on: it follows the wall clock and never steps back. */
  #tick(): void {
    const now = Date.now();
    if (now > this.#clockMs) {
      this.#clockMs = now;
      this.#sequence = 0;
    }
  }

  /** After every record so far, before every one to come. */
  #position(): Offset {
    this.#tick();
    return formatOffset(this.#clockMs, this.#sequence);
  }

  #startSweep(): void {
    if (this.#sweep !== undefined) return;
    this.#sweep = setInterval(() => this.#forgetIdle(), SWEEP_MS);
    this.#sweep.unref();
  }

  #forgetIdle(): void {
    const now = Date.now();
    this.#sweepIterator ??= this.#logs.entries();
    for (let looked = 0; looked < SWEEP_TOPICS; looked += 1) {
      const next = this.#sweepIterator.next();
      if (next.done === true) {
        this.#sweepIterator = undefined;
        break;
      }
      const [topic, log] = next.value;
      log.trim(now);
      if (now - log.lastAppendAt > log.retention.maxAgeMs) {
        if (log.head !== null) this.#forgotten.add(topic, log.head);
        this.#logs.delete(topic);
      }
    }
    if (this.#logs.size === 0) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new SseChannelsError('CLOSED', 'The memory backplane is closed; the application has shut down.');
  }
}

function hand(tail: LiveTail, record: EventRecord): void {
  try {
    tail.onRecord(record);
  } catch (error) {
    // Neither the publisher nor the other tails are at fault.
    setImmediate(() => {
      throw error;
    });
  }
}

function page(from: Offset, records: readonly EventRecord[], limit: number, head: Offset): Page {
  const more = records.length > limit;
  return { from, records: more ? records.slice(0, limit) : records, more, head, intact: true, reason: null };
}

/** Joins records of several topics in the order of their offsets. */
function merge(lists: EventRecord[][]): EventRecord[] {
  if (lists.length === 1) return lists[0] as EventRecord[];
  return lists.flat().sort((a, b) => compareOffsets(a.offset, b.offset));
}

/**
 * What is left of idle topics: the newest record that was forgotten, told apart by the first segment, which is nearly always a
 * channel's own. Who stands before it cannot be vouched for in a topic without a log, or with one that began later: a gap too
 * many, never one too few.
 */
class ForgottenTopics {
  readonly #newest = new Map<string, Offset>();
  #newestOfAll: Offset = FIRST_OFFSET;

  add(topic: string, head: Offset): void {
    const segment = firstSegment(topic);
    this.#newestOfAll = laterOffset(this.#newestOfAll, head);
    if (this.#newest.has(segment) || this.#newest.size < MAX_FORGOTTEN_SEGMENTS) {
      this.#newest.set(segment, laterOffset(this.#newest.get(segment) ?? FIRST_OFFSET, head));
    }
  }

  newestOf(filter: TopicFilter): Offset {
    const segment = firstSegment(filter);
    if (segment === '*' || this.#newest.size >= MAX_FORGOTTEN_SEGMENTS) return this.#newestOfAll;
    return this.#newest.get(segment) ?? FIRST_OFFSET;
  }
}

function firstSegment(topic: string): string {
  const end = topic.indexOf('/');
  return end === -1 ? topic : topic.slice(0, end);
}
