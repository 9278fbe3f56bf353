/** The source of a stream of several topics: the subscriptions of one connection, merged in the order of their offsets. */
import {
  compareOffsets,
  earlierOffset,
  encodeFrame,
  FIRST_OFFSET,
  laterOffset,
  type ClosingData,
  type Cursor,
  type LiveData,
  type Offset,
  type OpenTopic,
} from '@sse-channels/protocol';
import { FOR_EVER, type Grant, type Review } from '../connection/grant.js';
import type { Sink } from '../connection/sink.js';
import type { SinkOwner, Source, SourceOutcome, Waker } from '../connection/source.js';
import type { Feed } from './feed.js';
import { besideCursor } from './frame-id.js';
import { gatherFrames, type FramedRecord, type RingPlace } from './frame-ring.js';
import type { LevelReader } from './level-readers.js';
import type { Subscription } from './subscription.js';
import type { SetPlace, TopicSet, TopicSets } from './topic-set.js';

/** One topic of the stream. */
class Lane implements Waker {
  /** When the grant is looked at next, by the clock that is never set; Infinity while it is being asked, or never is. */
  reviewAt: number;
  /** It replays what lies before the stream's cursor, which does not cover it yet. */
  behind = false;
  /** The stream's; absent until it starts. */
  waker: Waker | undefined;

  constructor(
    readonly subscription: Subscription,
    public grant: Grant,
    /** The stream's lanes that may have something to give. */
    private readonly ready: ReadyLanes,
  ) {
    this.reviewAt = firstReview(grant);
  }

  start(waker: Waker): void {
    this.waker = waker;
    this.subscription.start(this);
  }

  wake(): void {
    this.ready.add(this);
    this.waker?.wake();
  }
}

/** Lanes that may have something to give: nearly always one, or none, for which a set would be three more places in memory to touch. */
class ReadyLanes {
  /** The one; undefined where there are several, or none. */
  only: Lane | undefined;
  #several: Set<Lane> | undefined;

  get isEmpty(): boolean {
    return this.only === undefined && this.#several === undefined;
  }

  add(lane: Lane): void {
    if (this.only === lane) return;
    if (this.#several !== undefined) this.#several.add(lane);
    else if (this.only === undefined) this.only = lane;
    else {
      this.#several = new Set([this.only, lane]);
      this.only = undefined;
    }
  }

  delete(lane: Lane): void {
    if (this.only === lane) this.only = undefined;
    else if (this.#several?.delete(lane) === true && this.#several.size === 1) {
      [this.only] = this.#several;
      this.#several = undefined;
    }
  }

  *[Symbol.iterator](): Iterator<Lane> {
    if (this.only !== undefined) yield this.only;
    else if (this.#several !== undefined) yield* this.#several;
  }
}

/** Makes the frame that tells of a topic that was added, with the stream's cursor: it may be the first that the stream has. */
export type Opening = (topic: OpenTopic, cursor: Cursor) => Buffer;

/** Feeds that have news of which not everybody who follows them has heard yet. */
export type FeedsWithNews = ReadonlyMap<Feed, unknown>;

const NONE: ReadonlySet<Subscription> = new Set();

export class TopicSource implements Source, LevelReader {
  seat = -1;
  readonly #lanes = new Map<string, Lane>();
  /** Those that may have something to give: of many topics few have news at a time. */
  readonly #ready = new ReadyLanes();
  /** The one that had news last. */
  #latest: Lane | undefined;
  /** Frames of the library's own that are due before any record. */
  readonly #said: Buffer[] = [];
  #owner: (Waker & Partial<SinkOwner>) | undefined;
  /** The stream's cursor: of every topic that is not behind, all up to here has been given. */
  #told: Offset = FIRST_OFFSET;
  /** Up to here, as far as was asked in this turn, the records of all topics that are not behind are known. */
  #covered: Offset = FIRST_OFFSET;
  /** What it has in common with others; undefined when its topics changed. */
  #set: TopicSet | undefined;
  /** Where it left those who stand level, as long as its topics do not each go on from there, and wake it. */
  #left: SetPlace | undefined;
  #outcome: SourceOutcome | null = null;
  /** A record waits until the feeds of the other topics are as far: one of them may bring an earlier one. */
  #held = false;
  #reviewed = false;
  /** How many topics are behind. */
  #behind = 0;
  #closed = false;

  /**
   * @param subscriptions opened at one cursor, or each where it begins without one
   * @param apart those that were opened at cursors of their own
   */
  constructor(
    subscriptions: readonly Subscription[],
    private readonly withNews: FeedsWithNews,
    private readonly sets: TopicSets,
    apart: ReadonlySet<Subscription> = NONE,
  ) {
    for (const subscription of subscriptions) {
      this.#place(subscription, FOR_EVER);
    }
    const together = subscriptions.filter((subscription) => !apart.has(subscription)).map(({ offset }) => offset);
    if (together.length > 0) this.#told = together.reduce(earlierOffset);
    else this.#told = subscriptions.map(({ offset }) => offset).reduce(laterOffset, FIRST_OFFSET);
    for (const lane of this.#lanes.values()) {
      const { subscription } = lane;
      lane.behind = apart.has(subscription) && compareOffsets(subscription.offset, this.#told) < 0;
      if (lane.behind) this.#behind += 1;
    }
  }

  get topics(): readonly OpenTopic[] {
    return [...this.#lanes.values()].map(openTopicOf);
  }

  get cursor(): Cursor | null {
    const first = this.#first;
    if (first === undefined) return null;
    this.#lookUp();
    this.#settle();
    return first.cursorAt(this.#told);
  }

  get pending(): boolean {
    return this.#held || this.#some(({ pending }) => pending);
  }

  get lagEvents(): number {
    this.#lookUp();
    let sum = 0;
    for (const { subscription } of this.#lanes.values()) sum += subscription.lagEvents;
    return sum;
  }

  get outcome(): SourceOutcome | null {
    return this.#outcome;
  }

  /** @param owner one that `serve` is called by, or one that is woken */
  start(owner: Waker & Partial<SinkOwner>): void {
    this.#owner = owner;
    for (const lane of this.#lanes.values()) lane.start(owner);
  }

  get servedAt(): number | undefined {
    return this.seat < 0 ? undefined : this.#set?.level?.writtenAt;
  }

  serve(sink: Sink): void {
    if (this.#left !== undefined) {
      if (this.#set?.joinLevel(this, this.#left, sink) === true) this.#left = undefined;
      return this.goAlone();
    }
    if (this.#outcome !== null || this.#behind > 0 || this.#said.length > 0 || !this.#ready.isEmpty) return;
    const set = this.#commonSet;
    // Alone it would be given the same at the same cost.
    if (set.streams < 2 || set.level?.areOnTheirWay === true) return;
    const places: RingPlace[] = [];
    for (const { topic } of set.feeds) {
      const place = this.#lanes.get(topic.name)?.subscription.levelPlace;
      if (place == null) return;
      places.push(place);
    }
    this.#settle();
    if (!set.joinLevel(this, { offset: this.#told, places }, sink)) return;
    for (const lane of this.#lanes.values()) lane.subscription.feed.wakers.delete(lane);
  }

  letGo(): void {
    if (this.seat < 0) return;
    const { level, isPatient } = this.#set as TopicSet;
    this.#left = level?.placeOf(this);
    level?.leave(this);
    if (!isPatient) this.goAlone();
  }

  /** From where it left the others each topic goes on by itself, and wakes it. */
  goAlone(): void {
    this.letGo();
    if (this.#left === undefined) return;
    this.#lookUp();
    this.#left = undefined;
    for (const lane of this.#lanes.values()) {
      lane.subscription.feed.wakers.add(lane);
      if (!lane.subscription.atHead) this.#ready.add(lane);
    }
  }

  onFull(): void {
    this.#owner?.onFull?.();
  }

  /** Whether the topic of that name is part of the stream. */
  has(topic: string): boolean {
    return this.#lanes.has(topic);
  }

  /** How many topics the stream has. */
  get size(): number {
    return this.#lanes.size;
  }

  /**
   * Adds a topic, or gives one that it has again, from an earlier place; `$open` tells of it, and `$live` when its replay, if it has one,
   * has reached the stream's cursor.
   * @param subscription opened; closed with the stream, or here when the stream is over or has given no more of the topic than it would
   * @returns whether it was taken
   */
  add(subscription: Subscription, grant: Grant, opening: Opening): boolean {
    const { name } = subscription.feed.topic;
    const had = this.#lanes.get(name);
    this.#lookUp();
    if (this.#closed || (had !== undefined && compareOffsets(subscription.offset, this.#placeOf(had)) >= 0)) {
      subscription.close();
      return false;
    }
    if (had !== undefined) this.remove(name, null);
    const lane = this.#place(subscription, grant);
    if (this.#told === FIRST_OFFSET) this.#told = subscription.offset;
    lane.behind = compareOffsets(subscription.offset, this.#told) < 0;
    if (lane.behind) this.#behind += 1;
    this.#reviewed ||= grant !== FOR_EVER;
    this.say(opening(openTopicOf(lane), subscription.cursorAt(this.#told)));
    if (this.#owner !== undefined) lane.start(this.#owner);
    this.#owner?.wake();
    return true;
  }

  /**
   * Tells once more of a topic that it has, for who listens to it from now on.
   * @returns whether it has it
   */
  tellOf(topic: string, opening: Opening): boolean {
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return false;
    this.#lookUp();
    const { subscription, behind } = lane;
    const opened: OpenTopic = { topic, resumed: true, gap: null, ...(behind ? { behind } : {}) };
    this.say(opening(opened, subscription.cursorAt(this.#told)));
    return true;
  }

  /** What a topic may stay by, where that is not for ever. */
  grant(topic: string, grant: Grant): void {
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return;
    lane.grant = grant;
    lane.reviewAt = firstReview(grant);
    this.#reviewed = true;
  }

  /**
   * Takes a topic out; the others go on.
   * @returns whether it was there
   */
  remove(topic: string, closing: Omit<ClosingData, 'topic'> | null): boolean {
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return false;
    this.#leaveSet();
    this.#lanes.delete(topic);
    this.#ready.delete(lane);
    if (this.#latest === lane) this.#latest = undefined;
    if (lane.behind) this.#behind -= 1;
    lane.subscription.close();
    if (closing !== null) this.say(controlFrame('$closing', { ...closing, topic }));
    return true;
  }

  /** Sends a frame of the library's own before any record that is due. */
  say(frame: Buffer): void {
    this.#said.push(frame);
    this.#owner?.wake();
  }

  /** Called by the hub's one timer: takes topics out whose grant has run out or was withdrawn. */
  tick(now: number): void {
    if (!this.#reviewed) return;
    for (const [topic, lane] of this.#lanes) {
      const { endsAt, review } = lane.grant;
      if (endsAt !== null && now >= endsAt) this.remove(topic, { reason: 'expired', comeBack: true });
      else if (review != null && performance.now() >= lane.reviewAt) void this.#review(topic, lane, review);
    }
  }

  next(maxBytes: number): Buffer | null {
    if (this.#left !== undefined) {
      const bytes = this.#nextAsOthers(this.#left);
      if (bytes !== null || this.#left !== undefined) return bytes;
    }
    this.#look();
    // After a failure nobody knows what comes first.
    if (this.#outcome !== null) return this.#said.shift() ?? null;
    if (this.#ready.isEmpty && this.#said.length === 0 && this.#behind === 0) return null;
    return this.#batch(maxBytes) ?? gatherFrames(maxBytes, () => this.#take());
  }

  /** Where one topic alone has news, what all who follow it are given: the path of nearly every event. */
  #batch(maxBytes: number): Buffer | null {
    const lane = this.#ready.only;
    if (lane === undefined || this.#said.length > 0 || this.#behind > 0) return null;
    const { subscription } = lane;
    const last = subscription.lastInRing;
    if (last === null || !this.#covers(last)) return null;
    const bytes = subscription.next(maxBytes);
    this.#told = subscription.offset;
    if (subscription.atHead) this.#ready.delete(lane);
    return bytes;
  }

  #take(): Buffer | null {
    if (this.#behind > 0) this.#catchUp();
    const said = this.#said.shift();
    if (said !== undefined) return said;
    const next = this.#earliestNext();
    if (next === null) return null;
    const [{ subscription, behind }, framed] = next;
    if (behind) {
      subscription.advance(framed);
      return besideCursor(subscription.frameOf(framed));
    }
    if (!this.#covers(framed.offset)) {
      this.#held = true;
      this.#commonSet.reach(framed.offset, subscription.feed);
      return null;
    }
    subscription.advance(framed);
    this.#told = framed.offset;
    return subscription.frameOf(framed);
  }

  hold(): void {
    this.goAlone();
    for (const { subscription } of this.#lanes.values()) {
      subscription.hold();
      this.#outcome ??= subscription.outcome;
    }
  }

  resume(): void {
    // It is given all.
    if (this.#left !== undefined) return;
    for (const lane of this.#lanes.values()) {
      lane.subscription.resume();
      this.#ready.add(lane);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaveSet();
    for (const { subscription } of this.#lanes.values()) subscription.close();
  }

  #place(subscription: Subscription, grant: Grant): Lane {
    this.#leaveSet();
    const lane = new Lane(subscription, grant, this.#ready);
    this.#lanes.set(subscription.feed.topic.name, lane);
    this.#ready.add(lane);
    return lane;
  }

  /** Up to here all of a topic was given. */
  #placeOf({ behind, subscription }: Lane): Offset {
    return behind ? subscription.offset : this.#told;
  }

  get #first(): Subscription | undefined {
    for (const { subscription } of this.#lanes.values()) return subscription;
    return undefined;
  }

  #some(is: (subscription: Subscription) => boolean): boolean {
    for (const { subscription } of this.#lanes.values()) if (is(subscription)) return true;
    return false;
  }

  /** A topic that was behind, and has been given all up to the stream's cursor, is covered by it from now on. */
  #catchUp(): void {
    for (const lane of this.#lanes.values()) {
      if (!lane.behind) continue;
      const { subscription } = lane;
      const next = subscription.peek();
      if (next === null) {
        if (!subscription.atHead) continue;
        if (compareOffsets(subscription.feed.position, this.#told) < 0) {
          subscription.feed.reach(this.#told);
          continue;
        }
      } else if (compareOffsets(next.offset, this.#told) <= 0) continue;
      lane.behind = false;
      this.#behind -= 1;
      this.#ready.add(lane);
      this.#covered = FIRST_OFFSET;
      const data: LiveData = { topic: subscription.feed.topic.name };
      this.#said.push(controlFrame('$live', data));
    }
  }

  /**
   * The first of all subscriptions' next records; none while one of them waits for the log, since its record may come first. A topic
   * that is behind holds up nobody.
   */
  #earliestNext(): [Lane, FramedRecord] | null {
    let first: [Lane, FramedRecord] | undefined;
    let waits = false;
    for (const lane of this.#ready) {
      const { subscription, behind } = lane;
      const framed = subscription.peek();
      if (framed === null) {
        // It is woken when the log has answered, or when it has news.
        if (!subscription.pending) this.#ready.delete(lane);
        waits ||= subscription.pending && !behind;
      } else if (behind) {
        return [lane, framed];
      } else if (first === undefined || compareOffsets(framed.offset, first[1].offset) < 0) {
        first = [lane, framed];
      }
    }
    return waits ? null : (first ?? null);
  }

  /** Sees which topics have news: in a turn in which several have, some are not woken yet. */
  #look(): void {
    this.#held = false;
    this.#covered = FIRST_OFFSET;
    const likely = this.#ready.isEmpty ? this.#latest : this.#ready.only;
    if (likely !== undefined && this.withNews.size === 1 && this.withNews.has(likely.subscription.feed)) {
      // No other one has news.
      this.#latest = likely;
      if (!likely.subscription.atHead) this.#ready.add(likely);
      this.#outcome ??= likely.subscription.outcome;
      return;
    }
    if (this.withNews.size > this.#lanes.size) {
      for (const lane of this.#lanes.values()) if (!lane.subscription.atHead) this.#ready.add(lane);
    } else {
      for (const feed of this.withNews.keys()) {
        const lane = this.#lanes.get(feed.topic.name);
        if (lane !== undefined && !lane.subscription.atHead) this.#ready.add(lane);
      }
    }
    for (const { subscription } of this.#ready) this.#outcome ??= subscription.outcome;
  }

  /** Whether the records of all topics that are not behind are known up to this offset of the log space. */
  #covers(offset: Offset): boolean {
    if (compareOffsets(offset, this.#covered) <= 0) return true;
    if (this.#behind === 0) {
      if (!this.#commonSet.covers(offset)) return false;
    } else {
      for (const { behind, subscription } of this.#lanes.values())
        if (!behind && !subscription.feed.covers(offset)) return false;
    }
    this.#covered = offset;
    return true;
  }

  /** Standing at the head of all topics that are not behind, it has passed whatever lies before the positions of their feeds. */
  #settle(): void {
    const lanes = [...this.#lanes.values()].filter(({ behind }) => !behind);
    if (lanes.length === 0 || !lanes.every(({ subscription }) => subscription.atHead)) return;
    for (const { subscription } of lanes) subscription.settle();
    const known = lanes.map(({ subscription: { feed } }) => feed.position).reduce(earlierOffset);
    this.#told = laterOffset(this.#told, known);
  }

  /** Where it stands among those who stand level. */
  #lookUp(): void {
    const place = this.seat < 0 ? this.#left : this.#set?.level?.placeOf(this);
    if (place === undefined) return;
    this.#told = laterOffset(this.#told, place.offset);
    for (const [at, { topic }] of (this.#set as TopicSet).feeds.entries())
      this.#lanes.get(topic.name)?.subscription.standAt(place.places[at] as RingPlace);
  }

  /** A peer that did not keep up for a moment is given what it missed as all are who stand where it does. */
  #nextAsOthers(left: SetPlace): Buffer | null {
    const set = this.#commonSet;
    if (this.#said.length === 0 && set.leadsOn(left)) {
      const step = set.next(left);
      if (step !== null) this.#left = step.place;
      if (step !== null || set.isAtEnd(left)) return step?.bytes ?? null;
    }
    this.goAlone();
    return null;
  }

  get #commonSet(): TopicSet {
    return (this.#set ??= this.sets.join([...this.#lanes.values()].map(({ subscription }) => subscription)));
  }

  /** Its topics change, or it is over. */
  #leaveSet(): void {
    this.goAlone();
    if (this.#set !== undefined) this.sets.leave(this.#set);
    this.#set = undefined;
  }

  async #review(topic: string, lane: Lane, review: Review): Promise<void> {
    lane.reviewAt = Infinity;
    let endsAt;
    try {
      endsAt = await review.ask();
    } catch {
      // Not to know is not a yes.
      if (this.#lanes.get(topic) === lane) this.remove(topic, { reason: 'failed', comeBack: true });
      return;
    }
    if (this.#lanes.get(topic) !== lane) return;
    if (endsAt === false) this.remove(topic, { reason: 'revoked', comeBack: true });
    else {
      lane.grant = { endsAt, review };
      lane.reviewAt = performance.now() + review.everyMs;
    }
  }
}

/** A frame of the library's own, which has no place in a log. */
export function controlFrame(event: string, data: object): Buffer {
  return Buffer.from(encodeFrame({ event, data: JSON.stringify(data) }));
}

function openTopicOf({ subscription, behind }: Lane): OpenTopic {
  const [topic] = subscription.topics;
  return behind ? { ...topic, behind } : topic;
}

/** Those that came together are not asked about together. */
function firstReview({ review }: Grant): number {
  return review == null ? Infinity : performance.now() + review.everyMs * (1 - Math.random() / 2);
}
