/** Who is given a record: the tails of its topic and those of matching filters, each record to all of them before the next. */
import { FIRST_OFFSET, matchesFilter, type Offset } from '@sse-channels/protocol';
import type { EventRecord, TopicFilter } from './backplane.js';

/** Where a record goes: the tails of its topic, those of filters that match it, or both. */
export type HandOverTo = 'all' | 'topic' | 'filters';

interface Listener {
  readonly filter: TopicFilter;
  readonly onRecord: (record: EventRecord) => void;
}

export class HandOver {
  readonly #topics = new Map<string, Set<Listener>>();
  readonly #filters = new Set<Listener>();
  /** Not yet given to everybody: the first is being handed over now. */
  readonly #due: Array<readonly [EventRecord, HandOverTo]> = [];
  #handedOver: Offset = FIRST_OFFSET;

  /** @returns what takes it out again; calling it twice is calling it once */
  add(filter: TopicFilter, onRecord: (record: EventRecord) => void): () => void {
    const listener: Listener = { filter, onRecord };
    if (filter.includes('*')) {
      this.#filters.add(listener);
      return () => void this.#filters.delete(listener);
    }
    let listeners = this.#topics.get(filter);
    if (listeners === undefined) {
      listeners = new Set();
      this.#topics.set(filter, listeners);
    }
    const of = listeners;
    of.add(listener);
    return () => {
      of.delete(listener);
      if (of.size === 0 && this.#topics.get(filter) === of) this.#topics.delete(filter);
    };
  }

  /**
   * @param before while it is handed over, everybody has the records up to this offset
   * @param to @default 'all'
   */
  handOver(record: EventRecord, before: Offset, to: HandOverTo = 'all'): void {
    if (this.#due.length === 0) this.#handedOver = before;
    // A listener that publishes is inside a hand-over: what it adds waits, or others would get it before this one's record.
    if (this.#due.push([record, to]) > 1) return;
    for (let due = this.#due[0]; due !== undefined; due = this.#due[0]) {
      this.#handOver(...due);
      this.#handedOver = due[0].offset;
      this.#due.shift();
    }
  }

  /** While a record is being handed over: everybody has the records up to this offset. Otherwise null. */
  get handedOver(): Offset | null {
    return this.#due.length > 0 ? this.#handedOver : null;
  }

  clear(): void {
    this.#topics.clear();
    this.#filters.clear();
  }

  #handOver(record: EventRecord, to: HandOverTo): void {
    if (to !== 'filters')
      for (const { onRecord } of this.#topics.get(record.topic) ?? []) guarded(() => onRecord(record));
    if (to === 'topic') return;
    for (const { filter, onRecord } of this.#filters)
      if (matchesFilter(filter, record.topic)) guarded(() => onRecord(record));
  }
}

/** Calls a listener; what it throws is nobody else's fault, and is seen where uncaught errors are. */
export function guarded(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}
