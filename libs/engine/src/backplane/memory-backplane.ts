/** The backplane of one process: logs in memory, handed over in the turn in which they are appended, or in which a journal has them. */
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
  BackplaneListener,
  BackplaneState,
  Draft,
  EventRecord,
  Page,
  ReadStart,
  Tail,
  TopicFilter,
} from './backplane.js';
import { ForgottenTopics } from './forgotten-topics.js';
import { HandOver } from './hand-over.js';
import { IdempotencyKeys } from './idempotency-keys.js';
import type { Disk } from './journal/disk.js';
import { Journal, type JournalOptions } from './journal/journal.js';
import { addRecord, forgetTopic, type LogSpace, type PlacedDraft } from './journal/log-space.js';
import type { MemoryLog } from './memory-log.js';

/** How often idle topics are looked at; a read or an append looks by itself. */
const SWEEP_MS = 1_000;
/** How many topics one sweep looks at, so that a million of them do not hold up the event loop. */
const SWEEP_TOPICS = 10_000;

export interface MemoryBackplaneOptions {
  /** Keeps the logs on this machine's disk as well, so that the process that comes after goes on with them. @default none */
  readonly journal?: JournalOptions;
}

/**
 * Keeps the logs in this process's memory: nothing to run, gone with the process (its next one has another epoch). With a journal
 * they survive it, and records are handed over, read and acknowledged when the journal has them.
 */
export class MemoryBackplane implements Backplane {
  readonly capabilities: BackplaneCapabilities;

  readonly #logs = new Map<string, MemoryLog>();
  readonly #tails = new HandOver();
  readonly #forgotten = new ForgottenTopics();
  readonly #keys = new IdempotencyKeys<Offset | Promise<Offset>>();
  readonly #space: LogSpace = { logs: this.#logs, forgotten: this.#forgotten, keys: this.#keys };
  readonly #journal: Journal | undefined;
  /** Where the log space stood before the record that is handed over next. */
  #before: Offset = FIRST_OFFSET;
  #clockMs = 0;
  #sequence = 0;
  /** Where the clock was printed last, and how. */
  #printed: Offset = FIRST_OFFSET;
  #printedMs = 0;
  #printedSequence = 0;
  #sweep: NodeJS.Timeout | undefined;
  #sweepIterator: IterableIterator<[string, MemoryLog]> | undefined;
  #epoch = randomBytes(6).toString('base64url');
  #closed = false;

  /**
   * @param disk for tests of what happens when it fails
   * @throws SseChannelsError `INVALID_OPTION`
   */
  constructor({ journal }: MemoryBackplaneOptions = {}, disk?: Disk) {
    if (journal !== undefined) this.#journal = new Journal(journal, this.#space, disk);
    this.capabilities = { durable: journal !== undefined, sharedAcrossNodes: false, order: 'space' };
  }

  get state(): BackplaneState {
    return this.#journal?.state ?? 'live';
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** @throws rejects with SseChannelsError `UNAVAILABLE` when the journal cannot be opened, or another process has it */
  async ready(listener: BackplaneListener = {}): Promise<void> {
    this.#assertOpen();
    const journal = this.#journal;
    if (journal === undefined) return;
    await journal.open(listener);
    this.#epoch = journal.epoch;
    this.#before = journal.last;
    const [major = '', minor = ''] = journal.last.split('-');
    this.#clockMs = Number.parseInt(major, 36);
    this.#sequence = Number.parseInt(minor, 36);
    if (this.#logs.size > 0) this.#startSweep();
  }

  async append(
    topic: string,
    draft: Draft,
    retention: Retention,
    { idempotencyKey }: AppendOptions = {},
  ): Promise<Cursor> {
    this.#assertOpen();
    const made = idempotencyKey === undefined ? undefined : this.#keys.get(topic, idempotencyKey);
    if (made !== undefined) return formatCursor(this.epoch, await made);
    const placed = this.#place(topic, draft, retention);
    if (this.#journal === undefined) this.#commit(placed, idempotencyKey);
    else await this.#commitLater(this.#journal, placed, idempotencyKey);
    return formatCursor(this.epoch, placed.offset);
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
    const end = this.#tails.add(filter, onRecord);
    // Records are handed over in the turn in which they can be read, so the log space's own position is the tail's.
    const position = (): Offset => this.#tails.handedOver ?? this.#position();
    return {
      get position() {
        return position();
      },
      end,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    this.#tails.clear();
    await this.#journal?.close();
    this.#logs.clear();
  }

  /** How many topics have a log: what the memory is spent on. */
  get topics(): number {
    return this.#logs.size;
  }

  /** Gives a draft its place after all others. */
  #place(topic: string, draft: Draft, retention: Retention): PlacedDraft {
    if (this.#journal === undefined) this.#before = this.#position();
    else this.#tick();
    this.#sequence += 1;
    return { topic, draft, offset: formatOffset(this.#clockMs, this.#sequence), time: Date.now(), retention };
  }

  /** Makes a placed draft a record: it can be read, and is handed over. */
  #commit(placed: PlacedDraft, idempotencyKey: string | undefined): void {
    const record = addRecord(this.#space, placed);
    this.#startSweep();
    if (idempotencyKey !== undefined) this.#keys.set(placed.topic, idempotencyKey, placed.offset, placed.time);
    const before = this.#before;
    this.#before = placed.offset;
    this.#tails.handOver(record, before);
  }

  /** Commits when the journal has it. */
  async #commitLater(journal: Journal, placed: PlacedDraft, idempotencyKey: string | undefined): Promise<void> {
    const committed = journal.append(placed, idempotencyKey, () => {
      this.#commit(placed, idempotencyKey);
    });
    if (idempotencyKey === undefined) return committed;
    const { topic, offset, time } = placed;
    // Who comes with the same key meanwhile is answered the same, also when it fails.
    const made = committed.then(() => offset);
    this.#keys.set(topic, idempotencyKey, made, time);
    await made.catch((error: unknown) => {
      this.#keys.delete(topic, idempotencyKey);
      throw error;
    });
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
    // A place that the journal does not know could be given again by the next process, to a record that nobody has.
    if (this.#journal !== undefined) return this.#journal.last;
    this.#tick();
    // The same text for all who ask: compared, it is the same in one step.
    if (this.#printedMs !== this.#clockMs || this.#printedSequence !== this.#sequence) {
      this.#printed = formatOffset(this.#clockMs, this.#sequence);
      this.#printedMs = this.#clockMs;
      this.#printedSequence = this.#sequence;
    }
    return this.#printed;
  }

  #startSweep(): void {
    if (this.#sweep !== undefined || this.#closed) return;
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
        this.#journal?.tidy();
        break;
      }
      const [topic, log] = next.value;
      log.trim(now);
      if (now - log.lastAppendAt > log.retention.maxAgeMs) {
        this.#forget(topic, log.head);
      }
    }
    if (this.#logs.size === 0) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #forget(topic: string, head: Offset | null): void {
    if (head === null) this.#logs.delete(topic);
    else if (this.#journal === undefined) forgetTopic(this.#space, topic, head);
    else this.#journal.forget(topic, head, () => forgetTopic(this.#space, topic, head));
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new SseChannelsError('CLOSED', 'The memory backplane is closed; the application has shut down.');
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
