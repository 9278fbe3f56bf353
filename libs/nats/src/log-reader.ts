/** Reads pages of a topic or a filter, and says what they do not hold. */
import type { EventRecord, Page, ReadStart, TopicFilter } from '@sse-channels/engine';
import { laterOffset, SseChannelsError, type GapReason, type Offset } from '@sse-channels/protocol';
import { offsetOf, placeOf, START, type LogSpace, type Place } from './log-space.js';
import type { LogStream } from './log-stream.js';
import type { StoredMessage } from './record-message.js';
import { removedOf, type RecordMessage } from './retention-window.js';
import type { TopicSubjects } from './topic-subjects.js';

/** How many messages are read at a time where there may be many. */
const PAGE = 1_000;
/** So many messages more than the last n are taken rather than looking for their place more exactly. */
const SLACK = 64;
/** How often that place is guessed. */
const MAX_GUESSES = 12;
/**
 * A message is from after a loss when it is older by its sequence, but was stored so much later than the place's message was first
 * tried to be: longer than appends are tried again.
 */
const TRIED_WITHIN_MS = 30_000;

/** Where a read begins. */
interface Start {
  /** It gives what comes after. */
  readonly place: Place;
  /** Why something before it may be missing; null where nothing is. */
  readonly reason: GapReason | null;
  /** The message at the place, where there is one. */
  readonly message: StoredMessage | null;
  /**
   * After a break: it may as well begin anywhere up to this sequence, as far as it passes nothing over. The later it does, the less of
   * other topics is given a second time to who follows several.
   */
  readonly cut?: number;
}

/** Messages of a filter that follow on each other. */
interface Found {
  readonly messages: readonly StoredMessage[];
  /** Whether no more follow. */
  readonly complete: boolean;
}

export class LogReader {
  constructor(
    private readonly stream: LogStream,
    private readonly space: LogSpace,
    private readonly subjects: TopicSubjects,
  ) {}

  /** @throws rejects with RequestError, or SseChannelsError `INVALID_TOPIC_PARAMETER` for a name that no subject can hold */
  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const subject = this.subjects.ofLog(filter);
    if (subject === null) throw tooLong(filter);
    // Looked up before anything is read: what is read has everything up to there.
    const known = await this.space.knownLately();
    if (start === null) return this.#readEarliest(subject, limit, known);
    if (typeof start === 'object') return this.#readLast(subject, start.last, limit, known);
    return this.#readAfter(subject, await this.#startAt(start), limit, known);
  }

  async #readEarliest(subject: string, limit: number, known: Place): Promise<Page> {
    const found = await this.#load(subject, 1, limit);
    const groups = new TopicGroups(found.messages);
    const floor = groups.remove(this.#ceiling);
    const given = after(found.messages, floor?.sequence ?? 0);
    if (given.length === 0 && floor !== null && !found.complete)
      return this.#readAfter(subject, { place: floor, reason: null, message: floor }, limit, known);
    const from = floor ?? (await this.#placeBefore(given[0]));
    const head = this.#head(found, from, known);
    return { ...this.#page(from, given, groups, null, found.complete, head), intact: true, reason: null };
  }

  async #readAfter(subject: string, start: Start, limit: number, known: Place): Promise<Page> {
    const { message } = start;
    const found = await this.#load(subject, start.place.sequence + 1, limit);
    let { place, reason } = start;
    // The message of the place is the topic's own: what removes a topic's messages, or all, takes the oldest first.
    const isOwn = message !== null && message.subject === subject;
    if (message === null && !(await this.#isVouched(subject, place))) {
      reason ??= 'trimmed';
      const vouched = await this.#placeBefore(found.messages[0]);
      if (vouched.sequence > place.sequence) place = vouched;
    }
    const groups = new TopicGroups(found.messages);
    if (!isOwn && !found.complete) await this.#prove(groups, place);
    const floor = groups.remove(this.#ceiling);
    if (floor !== null && floor.sequence > place.sequence) {
      reason ??= 'trimmed';
      place = floor;
    }
    const given = after(found.messages, place.sequence);
    if (given.length === 0 && !found.complete)
      return this.#readAfter(subject, { place, reason, message: floor }, limit, known);
    if (place.tag === start.place.tag && start.cut !== undefined) {
      const before = (given[0]?.sequence ?? Infinity) - 1;
      place = { ...place, sequence: Math.max(place.sequence, Math.min(start.cut, before)) };
    }
    const head = this.#head(found, place, known);
    return {
      ...this.#page(place, given, groups, offsetOf(place), found.complete, head),
      intact: reason === null,
      reason,
    };
  }

  async #readLast(subject: string, count: number, limit: number, known: Place): Promise<Page> {
    for (let wanted = count; ; wanted *= 4) {
      const first = await this.#placeOfLast(subject, wanted);
      const messages = await this.#rest(subject, first);
      const groups = new TopicGroups(messages);
      groups.remove(this.#ceiling);
      const kept = messages.filter((message) => groups.keeps(message));
      if (kept.length < count && first > 1 && count > 0) continue;
      const given = count === 0 ? [] : kept.slice(-count);
      const before = given[0] === undefined ? undefined : messages[messages.indexOf(given[0]) - 1];
      const found: Found = { messages, complete: true };
      const head = this.#head(found, START, known);
      const from = given[0] === undefined ? placeOf(head) : (before ?? (await this.#placeBefore(given[0])));
      const complete = given.length <= limit;
      const page = this.#page(from, given.slice(0, limit), groups, first === 1 ? null : offsetOf(from), complete, head);
      return { ...page, intact: true, reason: null };
    }
  }

  async #startAt(offset: Offset): Promise<Start> {
    const place = placeOf(offset);
    const { sequence, tag } = place;
    if (sequence === 0 && tag === 0) return { place, reason: null, message: null };
    if (tag === 0 || !Number.isSafeInteger(sequence) || !Number.isSafeInteger(tag)) return this.#rewound(START);
    if (sequence === 0 || this.space.isAfterBreak(place)) return this.#unlessBroken(place, null);
    const message = await this.stream.get(sequence);
    if (message?.tag === tag) {
      this.space.learn(sequence, tag, message.storedAt);
      return this.#unlessBroken(place, message);
    }
    const broken = this.space.breakAfter(place, false);
    if (broken !== null) return { place: broken.from, reason: broken.reason, message: null, cut: broken.cut };
    // The tag is from before its message was stored, so nothing that is new is left out.
    if (message !== null) return this.#rewound(await this.space.lastStoredBy(tag, sequence));
    const last = sequence <= this.space.known.sequence ? sequence : ((await this.stream.info())?.state.last_seq ?? 0);
    if (sequence > last) return this.#rewound(await this.space.lastStoredBy(tag, last));
    // It was removed. Where the sequence was used again, so were those below it, unless they were removed as well.
    const older = await this.#newestBelow(sequence);
    if (older !== null && older.storedAt > tag + TRIED_WITHIN_MS)
      return this.#rewound(await this.space.lastStoredBy(tag, sequence));
    return { place, reason: null, message: null };
  }

  #unlessBroken(place: Place, message: StoredMessage | null): Start {
    const broken = this.space.breakAfter(place, message !== null);
    if (broken === null) return { place, reason: null, message };
    return { place: broken.from, reason: broken.reason, message: null, cut: broken.cut };
  }

  #rewound(place: Place): Start {
    return { place, reason: 'rewound', message: null };
  }

  async #load(subject: string, sequence: number, limit: number): Promise<Found> {
    const { messages, more } = await this.stream.page(subject, sequence, limit + 1);
    return messages.length > limit
      ? { messages: messages.slice(0, limit), complete: false }
      : { messages, complete: !more };
  }

  async #rest(subject: string, sequence: number): Promise<StoredMessage[]> {
    const all: StoredMessage[] = [];
    for (let from = sequence; ;) {
      const { messages, more } = await this.stream.page(subject, from, PAGE);
      all.push(...messages);
      const last = messages.at(-1);
      if (!more || last === undefined) return all;
      from = last.sequence + 1;
    }
  }

  /**
   * A topic of a filter of which this page has nothing yet is left to the page that has its first message: its reader is told there,
   * before it is given anything of that topic.
   *
   * Of topics whose first message comes after the place, their messages themselves must show whether any before was removed, and
   * only all of them do.
   */
  async #prove(groups: TopicGroups, place: Place): Promise<void> {
    for (const [subject, messages] of groups.topics()) {
      const first = await this.stream.next(subject, 1);
      if (first !== null && first.sequence <= place.sequence) continue;
      groups.add(await this.#rest(subject, (messages.at(-1)?.sequence ?? 0) + 1));
    }
  }

  /** Whether nothing after the place was removed by what removes the oldest of all. */
  async #isVouched(subject: string, { sequence }: Place): Promise<boolean> {
    const vouched = await this.space.vouchedFrom();
    if (vouched !== null && vouched.sequence <= sequence + 1) return true;
    const first = await this.stream.next(subject, 1);
    return first !== null && first.sequence <= sequence;
  }

  /** A place before a message, of which and after which nothing was removed by what removes the oldest of all. */
  async #placeBefore(message: StoredMessage | undefined): Promise<Place> {
    const vouched = await this.space.vouchedFrom();
    return vouched === null || (message !== undefined && vouched.sequence >= message.sequence) ? START : vouched;
  }

  /** A sequence from which on there are at least so many messages of a subject, and not many more; 1 for all. */
  async #placeOfLast(subject: string, count: number): Promise<number> {
    const all = await this.stream.count(subject, 1);
    const most = count + Math.max(SLACK, count);
    if (all?.first == null || all.count <= most) return 1;
    let low = all.first.sequence;
    let lowCount = all.count;
    let high = this.space.known.sequence + 1;
    let highCount = 0;
    for (let guess = 0; guess < MAX_GUESSES && high - low > 1; guess += 1) {
      const share = (lowCount - count - SLACK / 2) / (lowCount - highCount);
      const at = Math.min(high - 1, Math.max(low + 1, Math.round(low + (high - low) * share)));
      const found = await this.stream.count(subject, at);
      if (found === null) return 1;
      if (found.count > count && found.count <= most) return at;
      if (found.count > count) {
        low = at;
        lowCount = found.count;
      } else {
        high = at;
        highCount = found.count;
      }
    }
    return low;
  }

  /** The newest message of any subject before a sequence. */
  async #newestBelow(sequence: number): Promise<StoredMessage | null> {
    let newest: StoredMessage | null = null;
    let low = sequence;
    for (let step = 1; newest === null && low > 1; step *= 2) {
      low = Math.max(1, sequence - step);
      const message = await this.stream.next('>', low);
      if (message !== null && message.sequence < sequence) newest = message;
    }
    if (newest === null) return null;
    let high = sequence - 1;
    low = newest.sequence + 1;
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.stream.next('>', middle);
      if (message !== null && message.sequence < sequence) {
        newest = message;
        low = message.sequence + 1;
      } else high = middle - 1;
    }
    return newest;
  }

  /** Up to where a complete read has come. */
  #head({ messages }: Found, place: Place, known: Place): Offset {
    return laterOffset(offsetOf(known), laterOffset(offsetOf(messages.at(-1) ?? place), offsetOf(place)));
  }

  #page(
    from: Place,
    given: readonly StoredMessage[],
    groups: TopicGroups,
    before: Offset | null,
    complete: boolean,
    head: Offset,
  ): Pick<Page, 'from' | 'records' | 'more' | 'head'> {
    const records: EventRecord[] = [];
    for (const message of given) {
      const record = groups.keeps(message) ? this.recordOf(message, groups.previousOf(message) ?? before) : null;
      if (record !== null) records.push(record);
    }
    return { from: offsetOf(from), records, more: !complete, head };
  }

  /** A message as the record that it is; null for one that is none. */
  recordOf(message: StoredMessage, prev: Offset | null): EventRecord | null {
    const { record, tag } = message;
    const topic = record === null ? null : (record.topic ?? this.subjects.topicOf(message.subject));
    if (record === null || topic === null) return null;
    const { name, data, key } = record;
    return { topic, offset: offsetOf(message), prev, name, data, ...(key !== undefined && { key }), time: tag };
  }

  get #ceiling(): { maxEvents: number; maxAgeMs: number } {
    return { maxEvents: this.stream.maxPerTopic - 1, maxAgeMs: this.stream.maxAgeMs };
  }
}

/** Messages by their topics, each oldest first and without a hole. */
class TopicGroups {
  readonly #topics = new Map<string, RecordMessage[]>();
  readonly #previous = new Map<number, Offset>();
  readonly #removed = new Set<number>();

  constructor(messages: readonly StoredMessage[]) {
    this.add(messages);
  }

  add(messages: readonly StoredMessage[]): void {
    for (const message of messages) {
      if (message.record === null) continue;
      const topic = this.#topics.get(message.subject);
      if (topic === undefined) this.#topics.set(message.subject, [message as RecordMessage]);
      else {
        this.#previous.set(message.sequence, offsetOf(topic.at(-1) as RecordMessage));
        topic.push(message as RecordMessage);
      }
    }
  }

  topics(): Array<[subject: string, messages: readonly RecordMessage[]]> {
    return [...this.#topics];
  }

  /** Applies the topics' own retention. @returns the newest that it has removed */
  remove(ceiling: { maxEvents: number; maxAgeMs: number }): RecordMessage | null {
    let newest: RecordMessage | null = null;
    const now = Date.now();
    for (const messages of this.#topics.values()) {
      const count = removedOf(messages, now, ceiling);
      const last = messages[count - 1];
      if (last === undefined) continue;
      for (const message of messages.slice(0, count)) this.#removed.add(message.sequence);
      if (newest === null || last.sequence > newest.sequence) newest = last;
    }
    return newest;
  }

  keeps({ record, sequence }: StoredMessage): boolean {
    return record !== null && !this.#removed.has(sequence);
  }

  /** Undefined for the first that is here of its topic. */
  previousOf({ sequence }: StoredMessage): Offset | undefined {
    return this.#previous.get(sequence);
  }
}

function after(messages: readonly StoredMessage[], sequence: number): StoredMessage[] {
  return messages.filter((message) => message.sequence > sequence);
}

/** For a topic's name that no subject can hold. */
export function tooLong(topic: string): SseChannelsError {
  return new SseChannelsError(
    'INVALID_TOPIC_PARAMETER',
    `Topic "${topic.slice(0, 100)}…" has too many segments for a NATS subject; use a pattern of fewer.`,
  );
}
