/** A backplane that misbehaves as real ones may: tails that lose, double and delay records, reads that fail. */
import type { Backplane, Draft, EventRecord, Page, ReadStart, Tail, TopicFilter } from '@sse-channels/engine';
import type { Cursor, Retention } from '@sse-channels/protocol';

/** What may go wrong; each is asked anew for every record or read. */
export interface Faults {
  /** The tail does not hand this record over. */
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

  ready(): Promise<void> {
    return this.backplane.ready();
  }

  async append(topic: string, draft: Draft, retention: Retention): Promise<Cursor> {
    const failure = this.faults.failAppend?.(topic) ?? null;
    if (failure !== null) throw failure;
    return this.backplane.append(topic, draft, retention);
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    const failure = this.faults.failRead?.(filter) ?? null;
    if (failure !== null) throw failure;
    return this.backplane.read(filter, start, limit);
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    let ended = false;
    const hand = (record: EventRecord): void => {
      if (!ended) onRecord(record);
    };
    let last: EventRecord | undefined;
    const tail = await this.backplane.tail(
      filter,
      (record) => {
        if (this.faults.lose?.(record) === true) return;
        last = record;
        const times = this.faults.double?.(record) === true ? 2 : 1;
        const delayMs = this.faults.delayMs?.(record) ?? 0;
        for (let time = 0; time < times; time += 1) {
          if (delayMs > 0) setTimeout(hand, delayMs, record);
          else hand(record);
        }
      },
      onLoss,
    );
    const start = tail.position;
    return {
      // A tail that loses records must not vouch for more than it handed over.
      get position() {
        return last?.offset ?? start;
      },
      end: () => {
        ended = true;
        tail.end();
      },
    };
  }

  close(): Promise<void> {
    return this.backplane.close();
  }
}
