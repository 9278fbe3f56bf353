/** Reads pages of the logs, and tells what they cannot vouch for. */
import type { EventRecord, Page, ReadStart, TopicFilter } from '@sse-channels/engine';
import {
  compareOffsets,
  earlierOffset,
  laterOffset,
  matchesFilter,
  type GapReason,
  type Offset,
} from '@sse-channels/protocol';
import type { Words } from './link.js';
import { justBefore, msOf, type Partition } from './partition.js';
import { isId, toRecord, type RedisRecord } from './record-text.js';

/** A cursor that lies further in the future than this was not lost with the log's tail: it never was one of this log. */
const FUTURE_MS = 60_000;
/** How far the clocks of this process and of Redis may be apart. */
const SKEW_MS = 60_000;
/** How many entries of the index are looked at by one command. */
const INDEX_PAGE = 1_000;

/** What Redis keeps of entries: the id, and fields and values in turn. */
type Entry = readonly [id: string, fields: readonly string[]];

/** What a reader needs to know of the backplane. */
export interface LogSource {
  readonly partitions: readonly Partition[];
  readonly headTtlMs: number;
  epoch(): string;
  /** Redis may remove keys by itself, so a missing head says nothing. */
  evicting(): boolean;
  /** The partition of a topic. */
  partitionOf(topic: string): Partition;
  /** Executes commands as one. @throws rejects with SseChannelsError `UNAVAILABLE` */
  together(partition: Partition, commands: readonly Words[]): Promise<unknown[]>;
  /** The floor or the index is gone, or of another epoch. */
  reopen(partition: Partition): Promise<void>;
  /** Sees to it that every later record of the partition comes after this offset, and after all that this process has seen. */
  pin(partition: Partition, offset?: Offset): Promise<void>;
  /** The partition's clock has been seen here. */
  seen(partition: Partition, id: string): void;
}

/** One look at a partition: everything as of one moment. */
interface Look {
  readonly entries: Entry[];
  readonly head: { readonly offset: Offset; readonly maxAgeMs: number } | null;
  readonly floor: Offset;
  /** Where the partition ends. */
  readonly end: Offset;
  readonly now: number;
  /** Where the reader stands is no place any more: the index, which has all of them, reaches back to before it and does not have it. */
  readonly lost: boolean;
}

export class LogReader {
  constructor(private readonly source: LogSource) {}

  read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    return filter.includes('*') ? this.#readFilter(filter, start, limit) : this.#readTopic(filter, start, limit);
  }

  async #readTopic(topic: string, start: ReadStart, limit: number): Promise<Page> {
    const partition = this.source.partitionOf(topic);
    // With several partitions the end of one says nothing of the others, unless its clock was pulled along.
    if (this.source.partitions.length > 1) await this.source.pin(partition);
    if (typeof start === 'object' && start !== null) return this.#last(partition, topic, start.last, limit);

    const count = String(limit + 2);
    const log = partition.log(topic);
    const first = start === null ? '-' : partition.idAfter(start);
    let look = await this.#look(partition, topic, ['XRANGE', log, first, '+', 'COUNT', count], start);
    let records = recordsOf(partition, topic, look);
    if (records.length < look.entries.length && look.entries.length === limit + 2) {
      // What has expired but was not removed yet must not hide what follows it.
      const oldest = String(look.now - (look.head?.maxAgeMs ?? 0));
      look = await this.#look(partition, topic, ['XRANGE', log, oldest, '+', 'COUNT', count], start);
      records = recordsOf(partition, topic, look);
    }
    const { floor, end, now } = look;
    const after = start ?? floor;
    if (compareOffsets(after, end) > 0) return this.#beyondTheEnd(partition, topic, after, look, limit);
    return this.#page(records, look, after, start === null, now, limit);
  }

  /** What follows `after`, which lies before the end. */
  #page(
    records: readonly RedisRecord[],
    look: Look,
    start: Offset,
    fromEarliest: boolean,
    now: number,
    limit: number,
  ): Page {
    const { floor, end, head } = look;
    let from = start;
    let reason: GapReason | null = null;
    if (compareOffsets(from, floor) < 0) {
      from = floor;
      reason = 'reset';
    } else if (look.lost && compareOffsets(from, floor) > 0) reason = 'rewound';
    const kept = records.filter(({ offset }) => compareOffsets(offset, from) > 0);
    while (kept[0]?.record === null) {
      from = kept[0].offset;
      reason ??= 'rewound';
      kept.shift();
    }
    const [first] = kept;
    if (first !== undefined) {
      const { place, unknown } = this.#before(first, look);
      if (compareOffsets(place, from) > 0) {
        from = place;
        reason ??= unknown ? 'reset' : 'trimmed';
      }
    } else if (head !== null) {
      if (compareOffsets(head.offset, from) > 0) {
        from = head.offset;
        reason ??= 'trimmed';
      }
    } else if (this.source.evicting() && !fromEarliest && compareOffsets(end, from) > 0) {
      from = end;
      reason ??= 'reset';
    } else if (msOf(from) < now - this.source.headTtlMs + SKEW_MS && compareOffsets(end, from) > 0) {
      from = end;
      reason ??= 'trimmed';
    }
    const whole: EventRecord[] = [];
    let cut = false;
    for (const [index, { record, prev }] of kept.entries()) {
      // A mark ends the page, and a record of which nobody knows what it follows.
      cut = record === null || (index > 0 && prev === '?');
      if (record === null || cut || whole.length > limit) break;
      whole.push(record);
    }
    const more = cut || whole.length > limit;
    if (whole.length > limit) whole.length = limit;
    const intact = reason === null || fromEarliest;
    return { from, records: whole, more, head: end, intact, reason: intact ? null : reason };
  }

  /** The place after which a record is the next of its topic, as far as Redis knows. */
  #before({ record, offset, prev }: RedisRecord, look: Look): { place: Offset; unknown: boolean } {
    if (isId(prev)) return { place: (record as EventRecord).prev as Offset, unknown: false };
    // It has no head: there was no record of the topic for as long as heads live.
    const silent = formatMs(Math.max(0, msOf(offset) - this.source.headTtlMs + SKEW_MS));
    if (prev === '?' || this.source.evicting()) {
      const unknown = compareOffsets(look.floor, justBefore(offset)) < 0;
      return { place: unknown ? justBefore(offset) : look.floor, unknown };
    }
    return { place: laterOffset(look.floor, silent), unknown: false };
  }

  /** The reader is ahead of the log, which therefore has lost its tail. */
  async #beyondTheEnd(partition: Partition, topic: string, after: Offset, look: Look, limit: number): Promise<Page> {
    const { end, floor, now } = look;
    if (msOf(after) > now + FUTURE_MS) {
      // It never was a place of this log: all that is kept.
      const kept = await this.#readTopic(topic, null, limit);
      return { ...kept, intact: false, reason: 'rewound' };
    }
    // No lost offset is given to another record.
    await this.source.pin(partition, after);
    return {
      from: laterOffset(end, floor),
      records: [],
      more: false,
      head: laterOffset(end, floor),
      intact: false,
      reason: 'rewound',
    };
  }

  async #last(partition: Partition, topic: string, count: number, limit: number): Promise<Page> {
    const look = await this.#look(partition, topic, [
      'XREVRANGE',
      partition.log(topic),
      '+',
      '-',
      'COUNT',
      String(Math.max(count, 1) + 1),
    ]);
    look.entries.reverse();
    const all = recordsOf(partition, topic, look).filter(({ offset }) => compareOffsets(offset, look.floor) > 0);
    const { end, floor } = look;
    let start = Math.max(0, all.length - count);
    // What lies before a lost tail, or before what nobody knows, does not belong to the last of a whole.
    for (let index = all.length - 1; index >= start; index -= 1) {
      const { record, prev } = all[index] as RedisRecord;
      if (record === null) start = index + 1;
      else if (prev === '?') start = index;
    }
    const newest = all.slice(start);
    const [first] = newest;
    const mark = all[start - 1];
    const from =
      first === undefined
        ? end
        : mark !== undefined
          ? mark.offset
          : laterOffset(this.#before(first, look).place, floor);
    const records = newest.map(({ record }) => record as EventRecord);
    const more = records.length > limit;
    return { from, records: more ? records.slice(0, limit) : records, more, head: end, intact: true, reason: null };
  }

  /** @param place where the reader stands; null where it stands nowhere */
  async #look(partition: Partition, topic: string, range: Words, place: Offset | null = null): Promise<Look> {
    // A place of another partition is in that one's index.
    const stands = place !== null && partition.owns(place) ? partition.id(place) : null;
    for (;;) {
      const index = partition.index(this.source.epoch());
      const [entries, head, floor, last, time, found] = (await this.source.together(partition, [
        range,
        ['GET', partition.head(topic)],
        ['GET', partition.floor],
        ['XREVRANGE', index, '+', '-', 'COUNT', '1'],
        ['TIME'],
        ...(stands === null ? [] : [['XREVRANGE', index, stands, '-', 'COUNT', '1']]),
      ])) as [Entry[], string | null, string | null, Entry[], [string, string], Entry[]?];
      const [epoch, first] = floor?.split(' ') ?? [];
      const end = last[0]?.[0];
      if (epoch !== this.source.epoch() || first === undefined || end === undefined) {
        await this.source.reopen(partition);
        continue;
      }
      this.source.seen(partition, end);
      const [id, , , maxAge] = head?.split(' ') ?? [];
      return {
        entries,
        head: id === undefined ? null : { offset: partition.offset(id), maxAgeMs: Number(maxAge) },
        floor: partition.offset(first),
        end: partition.offset(end),
        now: Number(time[0]) * 1_000 + Math.floor(Number(time[1]) / 1_000),
        lost: found?.[0] !== undefined && found[0][0] !== stands,
      };
    }
  }

  /** Walks the index, which has the order of the log space, and takes each record from its topic's log. */
  async #readFilter(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const { partitions } = this.source;
    if (partitions.length > 1) await Promise.all(partitions.map((one) => this.source.pin(one)));
    const parts = await Promise.all(partitions.map((one) => this.#readIndex(one, filter, start, limit)));
    // Each part is whole up to its own end; together they are whole up to the earliest.
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) return only;
    let from = parts.reduce((latest, part) => laterOffset(latest, part.from), parts[0]?.from as Offset);
    let head = parts
      .map((part) => (part.more ? (part.records.at(-1)?.offset ?? part.from) : part.head))
      .reduce(earlierOffset);
    const broken = parts.find(({ intact }) => !intact);
    let records = parts
      .flatMap((part) => part.records)
      .filter(({ offset }) => compareOffsets(offset, from) > 0 && compareOffsets(offset, head) <= 0)
      .sort((a, b) => compareOffsets(a.offset, b.offset));
    let more = parts.some((part) => part.more);
    if (typeof start === 'object' && start !== null && records.length > start.last) {
      from = (records.at(-start.last - 1) as EventRecord).offset;
      records = start.last === 0 ? [] : records.slice(-start.last);
    }
    if (records.length > limit) {
      records = records.slice(0, limit);
      more = true;
    }
    if (more && records.length === 0) more = false;
    head = laterOffset(head, from);
    return { from, records, more, head, intact: broken === undefined, reason: broken?.reason ?? null };
  }

  async #readIndex(partition: Partition, filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    if (typeof start === 'object' && start !== null) return this.#lastOfIndex(partition, filter, start.last, limit);
    const index = partition.index(this.source.epoch());
    const kept: EventRecord[] = [];
    let cursor = start === null ? '-' : partition.idAfter(start);
    let from = start;
    let reason: GapReason | null = null;
    let begun = false;
    for (;;) {
      const look = await this.#look(partition, '', ['XRANGE', index, cursor, '+', 'COUNT', String(INDEX_PAGE)]);
      if (from === null) from = look.floor;
      else if (compareOffsets(from, look.end) > 0) {
        if (msOf(from) <= look.now + FUTURE_MS) {
          await this.source.pin(partition, from);
          return { from: look.end, records: [], more: false, head: look.end, intact: false, reason: 'rewound' };
        }
        const all = await this.#readIndex(partition, filter, null, limit);
        return { ...all, intact: false, reason: 'rewound' };
      } else if (compareOffsets(from, look.floor) < 0) {
        from = look.floor;
        reason = 'reset';
      }
      if (cursor !== '-' && !begun) {
        const [oldest] = (await this.source.together(partition, [['XRANGE', index, '-', '+', 'COUNT', '1']])) as [
          Entry[],
        ];
        const begins = partition.offset(oldest[0]?.[0] ?? '0-0');
        if (compareOffsets(from, begins) < 0) {
          from = justBefore(begins);
          reason ??= 'trimmed';
        }
      }
      begun = true;
      const found = await this.#take(partition, filter, look);
      for (const { offset, record, rewound } of found) {
        if (compareOffsets(offset, from) <= 0) continue;
        if (record !== null) kept.push(record);
        else if (kept.length > 0) return page(from, kept, limit, look.end, true, start, reason);
        else {
          from = offset;
          reason = rewound ? 'rewound' : (reason ?? 'trimmed');
        }
      }
      const ended = look.entries.length < INDEX_PAGE;
      if (kept.length > limit || ended) return page(from, kept, limit, look.end, !ended, start, reason);
      cursor = afterId((look.entries.at(-1) as Entry)[0]);
    }
  }

  async #lastOfIndex(partition: Partition, filter: TopicFilter, count: number, limit: number): Promise<Page> {
    const index = partition.index(this.source.epoch());
    /** The newest first. */
    const newest: EventRecord[] = [];
    let end: Offset | undefined;
    let before: Offset | undefined;
    for (let cursor = '+'; before === undefined;) {
      const look = await this.#look(partition, '', ['XREVRANGE', index, cursor, '-', 'COUNT', String(INDEX_PAGE)]);
      end ??= look.end;
      for (const { offset, record } of await this.#take(partition, filter, look)) {
        // What lies before a record that is gone does not belong to the last of a whole.
        if (record === null || newest.length === count) {
          before = offset;
          break;
        }
        newest.push(record);
      }
      const oldest = look.entries.at(-1);
      if (oldest === undefined || look.entries.length < INDEX_PAGE) break;
      cursor = `(${oldest[0]}`;
    }
    const place = end as Offset;
    const records = newest.toReversed();
    const [first] = records;
    return page(
      first === undefined ? place : (before ?? justBefore(first.offset)),
      records,
      limit,
      place,
      false,
      null,
      null,
    );
  }

  /** The records of those entries of the index that pass the filter; null where the topic's log does not have it. */
  async #take(
    partition: Partition,
    filter: TopicFilter,
    look: Look,
  ): Promise<Array<{ offset: Offset; record: EventRecord | null; rewound: boolean }>> {
    const wanted = look.entries.filter(([, [, topic = '']]) => topic !== '' && matchesFilter(filter, topic));
    if (wanted.length === 0) return [];
    const topics = [...new Set(wanted.map(([, fields]) => fields[1] as string))];
    const answers = await this.source.together(partition, [
      ...wanted.map(([id, fields]) => ['XRANGE', partition.log(fields[1] as string), id, id]),
      ...topics.map((topic) => ['GET', partition.head(topic)]),
    ]);
    const ages = new Map(
      topics.map((topic, n) => [
        topic,
        Number((answers[wanted.length + n] as string | null)?.split(' ')[3] ?? Infinity),
      ]),
    );
    return wanted.map(([id, fields], n) => {
      const topic = fields[1] as string;
      const entry = (answers[n] as Entry[])[0];
      const read =
        entry === undefined ? undefined : toRecord(partition, topic, id, entry[1][1] ?? '-', entry[1][3] ?? '');
      const record = read?.record ?? null;
      const expired = record !== null && look.now - record.time > (ages.get(topic) as number);
      return { offset: partition.offset(id), record: expired ? null : record, rewound: read?.record === null };
    });
  }
}

function page(
  from: Offset,
  records: readonly EventRecord[],
  limit: number,
  head: Offset,
  goesOn: boolean,
  start: ReadStart,
  reason: GapReason | null,
): Page {
  const more = records.length > limit || (goesOn && records.length > 0);
  const intact = reason === null || start === null;
  return { from, records: records.slice(0, limit), more, head, intact, reason: intact ? null : reason };
}

/** What has not expired. */
function recordsOf(partition: Partition, topic: string, { entries, head, now }: Look): RedisRecord[] {
  const oldest = head === null || head.maxAgeMs === 0 ? 0 : now - head.maxAgeMs;
  const records: RedisRecord[] = [];
  for (const [id, fields] of entries) {
    if (Number(id.slice(0, id.indexOf('-'))) < oldest) continue;
    records.push(toRecord(partition, topic, id, fields[1] ?? '-', fields[3] ?? ''));
  }
  return records;
}

function formatMs(ms: number): Offset {
  return `${ms.toString(36)}-0`;
}

function afterId(id: string): string {
  const dash = id.indexOf('-');
  return `${id.slice(0, dash)}-${Number(id.slice(dash + 1)) + 1}`;
}
