import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  compareOffsets,
  defineChannel,
  FIRST_OFFSET,
  formatCursor,
  formatOffset,
  FrameParser,
  laterOffset,
  parseCursor,
  SseEvent,
  type Cursor,
  type GapData,
  type Offset,
} from '@sse-channels/protocol';
import { randomOf, RecordingSink } from '@sse-channels/testing';
import fc from 'fast-check';
import type { Backplane, BackplaneState, Draft, EventRecord, Page, ReadStart, Tail } from '../backplane/backplane.js';
import { LiveTails } from '../backplane/live-tails.js';
import { ChannelRegistry } from '../channel/channel-registry.js';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import { Hub } from './hub.js';

@SseEvent('count')
class Count {
  n!: number;
}

const channel = defineChannel('counts/:id', { events: [Count], replay: { maxEvents: 100_000, maxBytes: 100_000_000 } });
const TOPICS = [0, 1, 2].map((id) => channel.topic({ id }));

/** An engine that loses the end of its log, and gives the sequences of what it lost again: only the tags differ. */
class RewindingBackplane implements Backplane {
  readonly epoch = 'rewinding';
  readonly capabilities = { durable: true, sharedAcrossNodes: true, order: 'topic' } as const;
  readonly state: BackplaneState = 'live';
  readonly log: EventRecord[] = [];
  readonly #breaks: Array<{ readonly cut: number; readonly at: number }> = [];
  readonly #tails = new LiveTails(
    {
      want: () => Promise.resolve(),
      unwant: () => undefined,
      place: () => Promise.resolve(this.#end),
    },
    { order: 'topic' },
  );
  #tag = 0;

  constructor(private readonly delayMs: () => number) {}

  ready(): Promise<void> {
    return Promise.resolve();
  }

  append(topic: string, draft: Draft): Promise<Cursor> {
    const before = this.log.findLastIndex((record) => record.topic === topic);
    const offset = formatOffset(this.log.length + 1, (this.#tag += 1));
    // As a live message tells it: the sequence alone.
    const prev = before === -1 ? null : formatOffset(before + 1, 0);
    const record: EventRecord = { topic, offset, prev, ...draft, time: Date.now() };
    this.log.push(record);
    this.#tails.handOver(record, 'topic');
    return Promise.resolve(formatCursor(this.epoch, offset));
  }

  /** Loses the newest records. */
  lose(count: number): void {
    if (count === 0 || this.log.length === 0) return;
    this.log.splice(-count);
    this.#breaks.push({ cut: this.log.length, at: (this.#tag += 1) });
    this.#tails.rewind(this.#end);
  }

  async read(topic: string, start: ReadStart, limit: number): Promise<Page> {
    await new Promise((resolve) => setTimeout(resolve, this.delayMs()));
    if (start !== null && typeof start !== 'string') throw new Error('not needed here');
    const [sequence = 0, tag = 0] = (start ?? FIRST_OFFSET).split('-').map((part) => Number.parseInt(part, 36));
    const isThere = this.log[sequence - 1]?.offset === start;
    const unheard = this.#breaks.filter(({ cut, at }) => at > tag && !(isThere && sequence > cut));
    const rewound = start !== null && unheard.length > 0;
    const cut = Math.min(...unheard.map((one) => one.cut));
    const isNext = (record: EventRecord): boolean => record.topic === topic;
    const all = this.log.slice(rewound ? Math.min(cut, sequence) : sequence).filter(isNext);
    // As far as nothing of the topic is passed over: a stream of several topics is not to go back further than the loss.
    const before = this.log.indexOf(all[0] as EventRecord);
    const from = rewound
      ? formatOffset(before === -1 ? cut : Math.min(cut, before), Math.max(...unheard.map(({ at }) => at)))
      : (start ?? FIRST_OFFSET);
    return {
      from,
      records: all.slice(0, limit),
      more: all.length > limit,
      head: laterOffset(from, this.#end),
      intact: !rewound,
      reason: rewound ? 'rewound' : null,
    };
  }

  tail(topic: string, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    return this.#tails.tail(topic, onRecord, onLoss);
  }

  close(): Promise<void> {
    this.#tails.close();
    return Promise.resolve();
  }

  get #end(): Offset {
    return this.log.at(-1)?.offset ?? FIRST_OFFSET;
  }
}

/** An event, or a gap, which leads back to an offset. */
interface Given {
  readonly topic: string;
  readonly offset: Offset | null;
  readonly from?: Offset;
}

/** A client that comes back with its cursor, and everything that it was given. */
class Client {
  readonly given: Given[] = [];
  #cursor: Cursor | null = null;
  #sink = new RecordingSink();
  #taken = 0;
  #parser: FrameParser | undefined;

  constructor(
    private readonly hub: Hub,
    readonly topics: readonly number[],
    private readonly fills: () => boolean,
  ) {}

  async connect(): Promise<void> {
    const requests = this.topics.map((id) => ({ topic: TOPICS[id] as (typeof TOPICS)[0], start: 'earliest' as const }));
    const [only] = requests;
    const alone = requests.length === 1 ? only?.topic.name : undefined;
    const joining =
      alone === undefined
        ? this.hub.joinMany(requests, this.#cursor, { form: 'topic' })
        : this.hub.join(requests, this.#cursor);
    await jest.advanceTimersByTimeAsync(40);
    this.#sink = new RecordingSink();
    this.#sink.fills = this.fills;
    this.#taken = 0;
    const parser = new FrameParser({
      onEvent: ({ name, data }, { topic }) => {
        if (name === '$gap') {
          const from = parseCursor(parser.lastEventId)?.offset as Offset;
          this.given.push({ topic: (JSON.parse(data) as GapData).topic, offset: null, from });
        }
        if (name !== 'count') return;
        this.given.push({ topic: topic ?? alone ?? '', offset: parseCursor(parser.lastEventId)?.offset as Offset });
      },
    });
    this.#parser = parser;
    this.hub.connect(await joining, this.#sink, { id: 'c', heartbeatMs: 20, retryMs: 1_000 });
  }

  take(): void {
    for (; this.#taken < this.#sink.writes.length; this.#taken += 1)
      this.#parser?.push(this.#sink.writes[this.#taken] as Buffer);
    const { lastEventId = '' } = this.#parser ?? {};
    if (lastEventId !== '') this.#cursor = lastEventId;
    this.#sink.drain();
  }

  async comeBack(): Promise<void> {
    this.take();
    this.#sink.close();
    await this.connect();
  }
}

type Step =
  | { readonly publish: number; readonly times: number }
  | { readonly lose: number }
  | { readonly comeBack: number }
  | { readonly waitMs: number };

describe('A log that loses its end', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('is given to all as it is in the end, in order over all topics, and whoever was given what is lost is told', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ publish: fc.nat(2), times: fc.integer({ min: 1, max: 4 }) }) },
      { weight: 2, arbitrary: fc.record({ lose: fc.integer({ min: 1, max: 8 }) }) },
      { weight: 1, arbitrary: fc.record({ comeBack: fc.nat(5) }) },
      { weight: 3, arbitrary: fc.record({ waitMs: fc.constantFrom(0, 5, 30) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(step, { maxLength: 60 }), async (seed, steps) => {
        jest.clearAllTimers();
        const random = randomOf(seed);
        const backplane = new RewindingBackplane(() => Math.floor(random() * 20));
        const hub = new Hub({
          backplane,
          codec: new EventCodec(uncheckedClassValidator),
          channels: new ChannelRegistry(),
          observer: {},
          describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
          limits: { perTopic: null, topicsPerConnection: null },
        });
        const clients = [[0, 1, 2], [0, 1], [0], [2], [2, 1, 0], [0, 1]].map(
          (topics) => new Client(hub, topics, () => random() < 0.2),
        );
        for (const client of clients) await client.connect();
        let n = 0;
        for (const one of steps as readonly Step[]) {
          if ('publish' in one) {
            const name = TOPICS[one.publish]?.name as string;
            for (let time = 0; time < one.times; time += 1)
              await backplane.append(name, { name: 'count', data: JSON.stringify({ n: (n += 1) }) });
          } else if ('lose' in one) backplane.lose(one.lose);
          else if ('comeBack' in one) await clients[one.comeBack]?.comeBack();
          else {
            await jest.advanceTimersByTimeAsync(one.waitMs);
            for (const client of clients) if (random() < 0.7) client.take();
          }
        }
        for (let round = 0; round < 10; round += 1) {
          await jest.advanceTimersByTimeAsync(50);
          for (const client of clients) client.take();
        }
        for (const client of clients) judge(client, backplane.log);
        await backplane.close();
      }),
      {
        numRuns: 400,
        examples: [[1_426_164_519, [{ publish: 0, times: 2 }, { lose: 1 }, { waitMs: 30 }, { lose: 1 }]]],
      },
    );
  }, 60_000);
});

/** Throws at the first event that is missing, doubled, in no order, or gone without a word. */
function judge({ given, topics }: Client, log: readonly EventRecord[]): void {
  let last = FIRST_OFFSET;
  // A stream of one topic that was told goes on from where the gap leads to; one that heard of the loss first may be told twice.
  const goesBack = topics.length === 1;
  for (const { offset, from } of given) {
    if (goesBack && from !== undefined) last = from;
    if (offset === null || !log.some((record) => record.offset === offset)) continue;
    expect(compareOffsets(offset, last)).toBeGreaterThan(0);
    last = offset;
  }
  for (const id of topics) {
    const { name } = TOPICS[id] as (typeof TOPICS)[0];
    const after = (begin: Offset): Offset[] =>
      log
        .filter(({ topic, offset }) => topic === name && compareOffsets(offset, begin) > 0)
        .map(({ offset }) => offset);
    let due = after(FIRST_OFFSET);
    let isTold = true;
    for (const { topic, offset, from } of given) {
      if (topic !== name) continue;
      if (goesBack && from !== undefined) due = after(from);
      if (offset === null) isTold = true;
      else if (due[0] === offset) {
        expect([topic, offset, isTold]).toEqual([topic, offset, true]);
        due.shift();
      } else isTold = false;
    }
    // What was given is in the log, all of it and nothing else; or it was told that it is gone.
    expect([name, due, isTold]).toEqual([name, [], true]);
  }
}
