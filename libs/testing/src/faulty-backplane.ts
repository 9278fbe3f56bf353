/** A backplane that misbehaves as real ones may: tails that lose, double and delay records, reads that fail. */
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
} from '@sse-channels/engine';
import type { Cursor, Offset, Retention } from '@sse-channels/protocol';

/** What may go wrong; each is asked anew for every record or read. */
export interface Faults {
  /** The tail does not hand this record over. Where that could not be seen, of a filter's topics, it tells a loss. */
  lose?(record: EventRecord): boolean;
  /** The tail hands this record over twice. */
  double?(record: EventRecord): boolean;
  /** The tail hands this record over so many milliseconds later; later records may overtake it. */
  delayMs?(record: EventRecord): number;
  /** What a read rejects with. */
  failRead?(filter: TopicFilter): Error | null;
  /** What an append rejects with, before anything is kept. */
  failAppend?(topic: string): Error | null;
}

/** Wraps a backplane whose own word is good; its log stays the truth. */
export class FaultyBackplane implements Backplane {
  constructor(
    private readonly backplane: Backplane,
    private readonly faults: Faults,
  ) {}

  get epoch(): string {
    return this.backplane.epoch;
  }

  get capabilities(): BackplaneCapabilities {
    return this.backplane.capabilities;
  }

  get state(): BackplaneState {
    return this.backplane.state;
  }

  ready(listener?: BackplaneListener): Promise<void> {
    return this.backplane.ready(listener);
  }

  async append(topic: string, draft: Draft, retention: Retention, options?: AppendOptions): Promise<Cursor> {
    const failure = this.faults.failAppend?.(topic) ?? null;
    if (failure !== null) throw failure;
    return this.backplane.append(topic, draft, retention, options);
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const failure = this.faults.failRead?.(filter) ?? null;
    if (failure !== null) throw failure;
    return this.backplane.read(filter, start, limit);
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    // Of several topics `prev` does not show a loss, so the port has the tail tell it, before it hands over what follows.
    const told = filter.includes('*') ? onLoss : (): void => undefined;
    const late = new Set<NodeJS.Timeout>();
    let attached = false;
    let lost = false;
    /** The last offset before a record that was held back. */
    let vouched: Offset | undefined;
    const tail = await this.backplane.tail(
      filter,
      (record) => {
        const lose = attached && this.faults.lose?.(record) === true;
        const delayMs = (attached && !lose && this.faults.delayMs?.(record)) || 0;
        if (lose || delayMs > 0) {
          vouched ??= record.prev ?? start;
          lost ||= lose;
          told();
        }
        const hand = (): void => {
          if (delayMs === 0) return onRecord(record);
          const timer = setTimeout(() => {
            late.delete(timer);
            onRecord(record);
            if (late.size === 0 && !lost) vouched = undefined;
          }, delayMs);
          late.add(timer);
        };
        if (!lose) hand();
        if (!lose && this.faults.double?.(record) === true) hand();
      },
      onLoss,
    );
    attached = true;
    const start = tail.position;
    return {
      // A tail that holds records back must not vouch for more than it handed over.
      get position() {
        return vouched ?? tail.position;
      },
      end: () => {
        for (const timer of late) clearTimeout(timer);
        late.clear();
        tail.end();
      },
    };
  }

  close(): Promise<void> {
    return this.backplane.close();
  }
}
