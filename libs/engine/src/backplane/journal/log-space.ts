/** What a journal keeps: the logs of a space and what is known beside them, as entries and from entries. */
import { compareOffsets, FIRST_OFFSET, laterOffset, type Offset, type Retention } from '@sse-channels/protocol';
import type { Draft, EventRecord } from '../backplane.js';
import type { ForgottenTopics } from '../forgotten-topics.js';
import type { IdempotencyKeys } from '../idempotency-keys.js';
import { MemoryLog } from '../memory-log.js';
import { formatEntry, retentionEntry, retentionOf, type Entry } from './entry.js';

/** Records of a topic that are looked up at a time. */
const PAGE_LIMIT = 256;
/** About what a record, a topic or a key takes in a journal beside its data and its topic's name. */
const OVERHEAD_BYTES = 96;

/** The logs of a space, as they are used: a journal looks at them when it makes a snapshot, and fills them when it is read. */
export interface LogSpace {
  readonly logs: Map<string, MemoryLog>;
  readonly forgotten: ForgottenTopics;
  /** Which record was made under which key; the promise of it while it is not committed. */
  readonly keys: IdempotencyKeys<Offset | Promise<Offset>>;
}

/** About how many bytes a snapshot would have. */
export function estimateBytes({ logs, keys }: LogSpace): number {
  const now = Date.now();
  let bytes = keys.size * OVERHEAD_BYTES;
  for (const [topic, log] of logs) {
    log.trim(now);
    bytes += log.bytes + (log.size + 1) * OVERHEAD_BYTES + topic.length;
  }
  return bytes;
}

/** A draft that was given its place: it becomes a record when the records before it have. */
export interface PlacedDraft {
  readonly topic: string;
  readonly draft: Draft;
  readonly offset: Offset;
  /** When it was appended, in milliseconds since 1970. */
  readonly time: number;
  readonly retention: Retention;
}

/** Makes a placed draft its topic's newest record. */
export function addRecord({ logs, forgotten }: LogSpace, placed: PlacedDraft): EventRecord {
  const { topic, retention } = placed;
  let log = logs.get(topic);
  if (log === undefined) {
    log = new MemoryLog(retention);
    // The topic may have had a log before this one.
    const newest = forgotten.newestOf(topic);
    if (newest !== FIRST_OFFSET) log.trimmed = newest;
    logs.set(topic, log);
  }
  return appendTo(log, placed);
}

function appendTo(log: MemoryLog, { topic, draft, offset, time, retention }: PlacedDraft): EventRecord {
  log.retention = retention;
  const { name, data, key } = draft;
  const record = { topic, offset, prev: log.head, name, data, ...(key === undefined ? {} : { key }), time };
  log.append(record);
  return record;
}

/** Forgets an idle topic's log, unless it was written again: then it has another head. */
export function forgetTopic({ logs, forgotten }: LogSpace, topic: string, head: Offset): void {
  if (logs.get(topic)?.head !== head) return;
  forgotten.add(topic, head);
  logs.delete(topic);
}

export function appendEntry(
  { topic, draft, offset, time, retention }: PlacedDraft,
  idempotencyKey: string | undefined,
): Entry {
  const { name, data, key = null } = draft;
  return ['append', topic, offset, time, name, data, key, retentionEntry(retention), idempotencyKey ?? null];
}

/**
 * The entries of a snapshot. Between two of them appends may be committed, whose entries come in between.
 * @param firstSegment where it begins
 */
export function* snapshotOf(space: LogSpace, firstSegment: number): Generator<string, void> {
  const { logs, forgotten, keys } = space;
  yield formatEntry(['forgotten', [...forgotten.newest], forgotten.newestOfAll]);
  for (const { topic, key, answer, at } of keys) {
    // What is not committed yet has an entry of its own to come.
    if (typeof answer === 'string') yield formatEntry(['key', topic, key, answer, at]);
  }
  for (const [topic, log] of logs) {
    const { head, lastAppendAt, retention } = log;
    yield formatEntry(['topic', topic, head, lastAppendAt, retentionEntry(retention)]);
    let after = FIRST_OFFSET;
    let page = log.after(after, PAGE_LIMIT);
    for (let record = page.shift(); record !== undefined; record = page.shift()) {
      // What came after the topic's entry has an entry of its own.
      if (head === null || compareOffsets(record.offset, head) > 0) break;
      const { offset, prev, time, name, data, key = null } = record;
      yield formatEntry(['record', offset, prev, time, name, data, key]);
      after = offset;
      if (page.length === 0) page = log.after(after, PAGE_LIMIT);
    }
    yield formatEntry(['topic-end', log.trimmed]);
  }
  yield formatEntry(['snapshot-end', firstSegment]);
}

/** A topic that a snapshot began to tell of. */
interface OpenTopic {
  readonly topic: string;
  readonly log: MemoryLog;
  /** Appended since, and to go after what the snapshot tells. */
  readonly appended: PlacedDraft[];
  forgotten: boolean;
}

/** Makes a space what its journal's entries say, one after another. */
export class Replay {
  #open: OpenTopic | undefined;
  #last: Offset = FIRST_OFFSET;

  constructor(private readonly space: LogSpace) {}

  /** The last offset that was given. */
  get last(): Offset {
    return this.#last;
  }

  apply(entry: Entry): void {
    switch (entry[0]) {
      case 'open':
        this.#last = laterOffset(this.#last, entry[1].last);
        break;
      case 'append':
        this.#append(entry);
        break;
      case 'forget':
        this.#forget(entry[1], entry[2]);
        break;
      case 'forgotten':
        this.space.forgotten.restore(entry[1], entry[2]);
        break;
      case 'key':
        this.space.keys.set(entry[1], entry[2], entry[3], entry[4]);
        break;
      case 'topic': {
        const [, topic, head, lastAppendAt, retention] = entry;
        const log = new MemoryLog(retentionOf(retention));
        log.head = head;
        log.lastAppendAt = lastAppendAt;
        this.#open = { topic, log, appended: [], forgotten: false };
        break;
      }
      case 'record': {
        const [, offset, prev, time, name, data, key] = entry;
        if (this.#open === undefined) break;
        const { topic, log } = this.#open;
        log.restore({ topic, offset, prev, name, data, ...(key === null ? {} : { key }), time });
        break;
      }
      case 'topic-end':
        this.#endTopic(entry[1]);
        break;
      case 'snapshot-end':
      case 'close':
        break;
    }
  }

  /** Lets go of what a snapshot that was not finished told of a topic; trims what has expired meanwhile. */
  end(): void {
    this.#open = undefined;
    // A clock that was set back brings nothing back that had expired by the log space's own.
    const now = Math.max(Date.now(), Number.parseInt(this.#last, 36));
    for (const log of this.space.logs.values()) log.trim(now);
  }

  #append(entry: Extract<Entry, readonly ['append', ...unknown[]]>): void {
    const [, topic, offset, time, name, data, key, retention, idempotencyKey] = entry;
    const placed: PlacedDraft = {
      topic,
      draft: key === null ? { name, data } : { name, data, key },
      offset,
      time,
      retention: retentionOf(retention),
    };
    addRecord(this.space, placed);
    this.#last = laterOffset(this.#last, offset);
    if (idempotencyKey !== null) this.space.keys.set(topic, idempotencyKey, offset, time);
    const open = this.#open;
    // A topic that was forgotten and began again owes nothing to what the snapshot tells.
    if (open?.topic === topic && !open.forgotten) open.appended.push(placed);
  }

  #forget(topic: string, head: Offset): void {
    const { logs, forgotten } = this.space;
    const open = this.#open?.topic === topic ? this.#open : undefined;
    const known = open === undefined ? logs.get(topic)?.head : (open.appended.at(-1)?.offset ?? open.log.head);
    // A topic that nothing is known of had its log in segments that a snapshot took the place of.
    if (known !== undefined && known !== head) return;
    forgotten.add(topic, head);
    logs.delete(topic);
    if (open !== undefined) open.forgotten = true;
  }

  #endTopic(trimmed: Offset | null): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined || open.forgotten) return;
    const { topic, log, appended } = open;
    log.dropThrough(trimmed);
    for (const placed of appended) appendTo(log, placed);
    this.space.logs.set(topic, log);
  }
}
