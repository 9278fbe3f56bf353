/** For tests: a backplane that several applications of one process share, each by a line of its own that can be cut. */
import {
  MemoryBackplane,
  type AppendOptions,
  type Backplane,
  type BackplaneCapabilities,
  type BackplaneListener,
  type BackplaneState,
  type Draft,
  type EventRecord,
  type Page,
  type ReadStart,
  type Tail,
  type TopicFilter,
} from '@sse-channels/engine';
import { AppendError, SseChannelsError, type Cursor, type Offset, type Retention } from '@sse-channels/protocol';

/** The log space in the middle. */
export class SharedMemory {
  /** Keeps the logs; for looking into. */
  readonly memory = new MemoryBackplane();

  /** One more node's way to it; closing that ends its tails alone. */
  node(): SharedMemoryNode {
    return new SharedMemoryNode(this.memory);
  }
}

interface LineTail {
  readonly onLoss: () => void;
  readonly end: () => void;
}

/** One node's way to shared logs. */
export class SharedMemoryNode implements Backplane {
  readonly capabilities: BackplaneCapabilities = { durable: false, sharedAcrossNodes: true, order: 'space' };
  readonly #memory: MemoryBackplane;
  readonly #tails = new Set<LineTail>();
  #listener: BackplaneListener | undefined;
  #state: BackplaneState = 'live';
  #closed = false;

  constructor(memory: MemoryBackplane) {
    this.#memory = memory;
  }

  get epoch(): string {
    return this.#memory.epoch;
  }

  get state(): BackplaneState {
    return this.#state;
  }

  /** How many tails are not ended. */
  get tails(): number {
    return this.#tails.size;
  }

  /** The line is cut: nothing is appended, read or handed over. */
  cut(): void {
    this.#turn('down', 'the test cut the line');
  }

  /** The line is whole again: tails tell that they lost something. */
  mend(): void {
    this.#turn('live', 'the test mended the line');
    for (const { onLoss } of this.#tails) onLoss();
  }

  async ready(listener?: BackplaneListener): Promise<void> {
    this.#listener = listener;
    await this.#memory.ready();
  }

  async append(topic: string, draft: Draft, retention: Retention, options?: AppendOptions): Promise<Cursor> {
    this.#assertOpen();
    if (this.#state === 'down') throw new AppendError(topic, 'not-written', 'the line is cut.');
    return this.#memory.append(topic, draft, retention, options);
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    this.#assertOpen();
    if (this.#state === 'down') throw new SseChannelsError('UNAVAILABLE', 'The line is cut.');
    return this.#memory.read(filter, start, limit);
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    this.#assertOpen();
    const tail = await this.#memory.tail(filter, (record) => {
      if (this.#state === 'live') {
        reached = record.offset;
        onRecord(record);
      }
    });
    let reached: Offset = tail.position;
    const mine: LineTail = { onLoss, end: () => tail.end() };
    this.#tails.add(mine);
    const position = (): Offset => (this.#state === 'live' ? tail.position : reached);
    return {
      get position() {
        return position();
      },
      end: () => {
        this.#tails.delete(mine);
        tail.end();
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { end } of this.#tails) end();
    this.#tails.clear();
  }

  #turn(state: BackplaneState, reason: string): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener?.onState?.(state, reason);
  }

  #assertOpen(): void {
    if (this.#closed) throw new SseChannelsError('CLOSED', 'This line to the shared memory is closed.');
  }
}
