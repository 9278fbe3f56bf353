/**
 * The control: a backplane on Redis as it is written in an afternoon, an XADD and then a PUBLISH, with no word of what it misses. It runs,
 * and it loses events; a harness that does not say so is no proof of anything.
 */
import { createClient } from '@redis/client';
import {
  AppendError,
  compareOffsets,
  formatCursor,
  formatOffset,
  matchesFilter,
  type Cursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import type {
  Backplane,
  BackplaneCapabilities,
  BackplaneState,
  Draft,
  EventRecord,
  Page,
  ReadStart,
  Tail,
  TopicFilter,
} from '@sse-channels/engine';

const LOG = 'naive:log';
const LIVE = 'naive:live';

interface LiveTail {
  readonly filter: TopicFilter;
  readonly onRecord: (record: EventRecord) => void;
}

export class NaiveBackplane implements Backplane {
  readonly capabilities: BackplaneCapabilities = { durable: true, sharedAcrossNodes: true, order: 'space' };
  readonly state: BackplaneState = 'live';
  readonly epoch = 'naive';
  readonly #commands;
  readonly #subscriber;
  readonly #tails = new Set<LiveTail>();
  #position: Offset = '0-0';

  constructor(url: string) {
    this.#commands = createClient({ url, RESP: 2 });
    this.#subscriber = createClient({ url, RESP: 2 });
    for (const client of [this.#commands, this.#subscriber]) client.on('error', () => undefined);
  }

  async ready(): Promise<void> {
    await this.#commands.connect();
    await this.#subscriber.connect();
    const newest = (await this.#commands.xRevRange(LOG, '+', '-', { COUNT: 1 })) ?? [];
    this.#position = offsetOf(newest[0]?.id ?? '0-0');
    await this.#subscriber.subscribe(LIVE, (message) => this.#arrived(JSON.parse(message) as EventRecord));
  }

  async append(topic: string, draft: Draft, _retention: Retention): Promise<Cursor> {
    try {
      const record = { ...draft, topic, prev: null, time: Date.now() };
      const offset = offsetOf(await this.#commands.xAdd(LOG, '*', { record: JSON.stringify(record) }));
      await this.#commands.publish(LIVE, JSON.stringify({ ...record, offset }));
      return formatCursor(this.epoch, offset);
    } catch (error) {
      throw new AppendError(topic, 'unknown', String(error), { cause: error });
    }
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const entries = (await this.#commands.xRange(LOG, '-', '+')) ?? [];
    const head = entries.length === 0 ? this.#position : offsetOf(entries.at(-1)?.id ?? '0-0');
    const records = entries
      .map(({ id, message }) => ({ ...(JSON.parse(message['record'] ?? '{}') as EventRecord), offset: offsetOf(id) }))
      .filter(({ topic }) => matchesFilter(filter, topic));
    const after = typeof start === 'string' ? start : '0-0';
    const following =
      typeof start === 'object' && start !== null
        ? records.slice(-start.last)
        : records.filter(({ offset }) => compareOffsets(offset, after) > 0);
    const more = following.length > limit;
    return { from: after, records: following.slice(0, limit), more, head, intact: true, reason: null };
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void): Promise<Tail> {
    const live: LiveTail = { filter, onRecord };
    this.#tails.add(live);
    const position = (): Offset => this.#position;
    return {
      get position() {
        return position();
      },
      end: () => {
        this.#tails.delete(live);
      },
    };
  }

  async close(): Promise<void> {
    this.#commands.destroy();
    this.#subscriber.destroy();
  }

  #arrived(record: EventRecord): void {
    if (compareOffsets(record.offset, this.#position) > 0) this.#position = record.offset;
    for (const { filter, onRecord } of this.#tails) if (matchesFilter(filter, record.topic)) onRecord(record);
  }
}

function offsetOf(id: string): Offset {
  const [ms = '0', sequence = '0'] = id.split('-');
  return formatOffset(Number(ms), Number(sequence));
}
