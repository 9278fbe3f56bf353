/** A topic set: topics that several streams have; those of the streams that stand level in all of them are given one merge of what is new. */
import { compareOffsets, laterOffset, type Offset } from '@sse-channels/protocol';
import type { Sink } from '../connection/sink.js';
import { BATCH_BYTES } from '../connection/source.js';
import type { Feed } from './feed.js';
import { gatherFrames, type FramedRecord, type FrameForm, type RingPlace } from './frame-ring.js';
import { LevelReaders, type LevelPath, type LevelReader, type LevelStep } from './level-readers.js';
import type { Subscription } from './subscription.js';

/** Where a stream stands that was given every record of its topics up to an offset. */
export interface SetPlace {
  readonly offset: Offset;
  /** In the rings of the set's feeds, one after the other. */
  readonly places: readonly RingPlace[];
}

export class TopicSet implements LevelPath<SetPlace> {
  /** How many streams have these topics. */
  streams = 0;
  /** Those who are given what is new without being woken; undefined as long as there was none. */
  level: LevelReaders<SetPlace> | undefined;
  /** Whether a reader that does not keep up is given all the same. */
  readonly isPatient: boolean;

  constructor(
    readonly key: string,
    readonly feeds: readonly Feed[],
    private readonly form: FrameForm,
  ) {
    this.isPatient = feeds.every(
      ({ topic: { channel } }) => channel.slowReaders === 'catch-up' && channel.lagLimit === undefined,
    );
  }

  /** Takes a stream in among those who stand level, if it does. */
  joinLevel(reader: LevelReader, place: SetPlace, sink: Sink): boolean {
    if (this.level === undefined) {
      this.level = new LevelReaders<SetPlace>(this, place);
      for (const feed of this.feeds) (feed.setsLevel ??= new Set()).add(this.level);
    }
    return this.level.join(reader, place, sink);
  }

  end(): void {
    if (this.level !== undefined) for (const { setsLevel } of this.feeds) setsLevel?.delete(this.level);
  }

  /** Whether the records of all topics are known up to an offset of the log space. */
  covers(offset: Offset): boolean {
    for (const feed of this.feeds) if (!feed.covers(offset)) return false;
    return true;
  }

  /** Sees to it that all feeds get to the offset of a record that one of them has, and that waits for the others. */
  reach(offset: Offset, from: Feed): void {
    // What its own feed doubts may be gone: no other one would ever get there.
    if (!from.covers(offset)) return;
    for (const feed of this.feeds) feed.reach(offset);
  }

  isAtEnd({ places }: SetPlace): boolean {
    return this.feeds.every(({ ring }, at) => ring.isAtEnd(places[at] as RingPlace));
  }

  leadsOn({ offset, places }: SetPlace): boolean {
    return this.feeds.every(({ ring }, at) => {
      const place = places[at] as RingPlace;
      // What comes late may have been given to some of them already, from the log.
      return ring.leadsOn(place) && (ring.isAtEnd(place) || compareOffsets(ring.at(place.index).offset, offset) > 0);
    });
  }

  next(place: SetPlace): LevelStep<SetPlace> | null {
    const ahead: number[] = [];
    for (const [at, { ring }] of this.feeds.entries()) if (!ring.isAtEnd(place.places[at] as RingPlace)) ahead.push(at);
    const [only] = ahead;
    if (only === undefined) return null;
    return (ahead.length === 1 ? this.#batch(place, only) : null) ?? this.#merge(place, ahead);
  }

  /** Where one topic alone has news, what all who follow it are given. */
  #batch({ places }: SetPlace, at: number): LevelStep<SetPlace> | null {
    const step = this.#feedAt(at).ring.next(places[at] as RingPlace, this.form);
    if (step === null || !this.covers(step.place.offset)) return null;
    return { bytes: step.bytes, place: { offset: step.place.offset, places: places.with(at, step.place) } };
  }

  /** @param ahead the feeds that have news */
  #merge(place: SetPlace, ahead: readonly number[]): LevelStep<SetPlace> | null {
    const places = [...place.places];
    let { offset } = place;
    const newest = ahead.map((at) => this.#feedAt(at).ring.newest).reduce(laterOffset);
    const areAllCovered = this.covers(newest);
    const bytes = gatherFrames(BATCH_BYTES, () => {
      const [at, framed] = this.#earliest(places, ahead);
      if (framed === undefined) return null;
      const feed = this.#feedAt(at);
      if (!areAllCovered && !this.covers(framed.offset)) {
        this.reach(framed.offset, feed);
        return null;
      }
      const frame = feed.frameAs(this.form, framed);
      const { index, bytes: before } = places[at] as RingPlace;
      ({ offset } = framed);
      places[at] = { offset, index: index + 1, bytes: before + framed.frame.length };
      return frame;
    });
    return bytes === null ? null : { bytes, place: { offset, places } };
  }

  /** The first of the next records of all feeds that have news. */
  #earliest(
    places: readonly RingPlace[],
    ahead: readonly number[],
  ): readonly [at: number, framed: FramedRecord | undefined] {
    let earliest = -1;
    let first: FramedRecord | undefined;
    for (const at of ahead) {
      const { ring } = this.#feedAt(at);
      const { index } = places[at] as RingPlace;
      const framed = index === ring.end ? undefined : ring.at(index);
      if (framed === undefined || (first !== undefined && compareOffsets(framed.offset, first.offset) >= 0)) continue;
      earliest = at;
      first = framed;
    }
    return [earliest, first];
  }

  #feedAt(at: number): Feed {
    return this.feeds[at] as Feed;
  }
}

/** A hub's sets, each once for all streams that have it. */
export class TopicSets {
  readonly #sets = new Map<string, TopicSet>();

  /** The set of a stream's topics, which is left when the stream has others, or is over. */
  join(subscriptions: readonly Subscription[]): TopicSet {
    const sorted = [...subscriptions].sort((a, b) => a.feed.number - b.feed.number);
    const form = sorted[0]?.form ?? 'plain';
    // Who sees a topic in a way of its own has nothing in common with others.
    const isAlike = sorted.every((subscription) => subscription.isAlike && subscription.form === form);
    const feeds = sorted.map(({ feed }) => feed);
    const key = isAlike ? `${form} ${feeds.map(({ number }) => number).join(' ')}` : '';
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new TopicSet(key, feeds, form);
      if (isAlike) this.#sets.set(key, set);
    }
    set.streams += 1;
    return set;
  }

  leave(set: TopicSet): void {
    set.streams -= 1;
    if (set.streams > 0) return;
    set.end();
    this.#sets.delete(set.key);
  }
}
