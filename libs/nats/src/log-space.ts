/** The log space as this node knows it: its epoch, the newest place seen, and where its order was broken. */
import type { GapReason, Offset } from '@sse-channels/protocol';
import { formatOffset } from '@sse-channels/protocol';
import type { LogStream } from './log-stream.js';
import type { NatsLink } from './nats-link.js';
import { writtenOnce, type StoredMessage } from './record-message.js';
import type { TopicSubjects } from './topic-subjects.js';

/** A place that was looked up within this time is new enough to say how far a read has come. */
const FRESH_MS = 1_000;
/** Breaks of one cut within this time are one, seen by several nodes. */
const SAME_BREAK_MS = 60_000;
/** How many breaks are told apart; before the oldest of them everything is one break. */
const MAX_BREAKS = 100;
/** How many marks the stream's age is divided into. */
const MARKS_PER_AGE = 20;
const MARK_TIMEOUT_MS = 2_000;

/** A message's place: its sequence, and the tag that tells it from another one that had the sequence before it, as an offset has them. */
export interface Place {
  readonly sequence: number;
  readonly tag: number;
}

/** The newest place that was seen, and when its message was stored at the latest, in milliseconds since 1970. */
export interface KnownPlace extends Place {
  readonly storedBy: number;
}

/** The engine lost its newest messages, or all: whoever stood somewhere before then is told. */
export interface Break {
  /** The last sequence that is the same before and after. */
  readonly cut: number;
  /** Places with an earlier tag are from before it, unless their message is there, after the cut; in milliseconds since 1970. */
  readonly at: number;
  readonly reason: GapReason;
}

export const START: Place = { sequence: 0, tag: 0 };

export class LogSpace {
  /** Empty until it is known. */
  epoch = '';
  /** Oldest first. */
  #breaks: Break[] = [];
  #known: KnownPlace = { ...START, storedBy: 0 };
  /** What is seen may follow on a loss: it is not learned, or it would hide that. */
  #doubted = false;
  #doubts = 0;
  /** The newest message that came live since then, as the server tells of it. */
  #newestLive = { sequence: 0, storedAt: 0 };
  /** The earliest cut that the readers of this node have not been told of. */
  #untold: Place | null = null;
  /** The break that was found here and that the other nodes have not been told of; several are one. */
  #unwritten: Break | null = null;
  #knownAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #nextLook: Promise<void> | undefined;
  #lastMark = 0;
  #markedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly stream: LogStream,
    private readonly link: NatsLink,
    private readonly subjects: TopicSubjects,
  ) {}

  /** The newest place of the space that this node has seen: everything before it was stored before now. */
  get known(): KnownPlace {
    return this.#known;
  }

  /** @param storedBy when it was stored, or later */
  learn(sequence: number, tag: number, storedBy: number): void {
    if (sequence > this.#known.sequence && !this.#doubted) this.#known = { sequence, tag, storedBy };
  }

  /** What comes from now on may follow on a loss: until a `check` that begins later has answered, nothing is learned. */
  doubt(): void {
    this.#doubted = true;
    this.#doubts += 1;
    this.#newestLive = { sequence: 0, storedAt: 0 };
  }

  get doubted(): boolean {
    return this.#doubted;
  }

  /** How often that began. */
  get doubts(): number {
    return this.#doubts;
  }

  /** Whether a message that comes live has a sequence that another one had before. */
  isReused({ sequence, storedAt }: StoredMessage): boolean {
    if (sequence <= this.#newestLive.sequence) return storedAt > this.#newestLive.storedAt;
    this.#newestLive = { sequence, storedAt };
    return false;
  }

  /** `known`, looked up if that was not done lately. */
  async knownLately(): Promise<KnownPlace> {
    if (performance.now() - this.#knownAt > FRESH_MS) await this.look();
    return this.#known;
  }

  /** Learns the newest place as it is now or later: callers share a look that begins after their call. */
  async look(): Promise<void> {
    // A look that fails is told to its own callers; the next one begins all the same.
    this.#nextLook ??= (this.#looking?.catch(() => undefined) ?? Promise.resolve()).then(() => {
      this.#nextLook = undefined;
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
      });
      return this.#looking;
    });
    return this.#nextLook;
  }

  /**
   * The break that a reader at a place has not heard of: its reason, where the reader goes on, and up to which sequence what is there
   * was there before; null where there is none.
   * @param isThere whether the place's message is in the log, so that after a cut it is from after the break
   */
  breakAfter(
    place: Place,
    isThere: boolean,
  ): { readonly reason: GapReason; readonly from: Place; readonly cut: number } | null {
    let cut = Number.MAX_SAFE_INTEGER;
    let at = 0;
    let reason: GapReason = 'rewound';
    for (const one of this.#breaks) {
      if (one.at <= place.tag || (isThere && place.sequence > one.cut)) continue;
      cut = Math.min(cut, one.cut);
      at = one.at;
      if (one.reason === 'reset') reason = 'reset';
    }
    return at === 0 ? null : { reason, from: { sequence: Math.min(place.sequence, cut), tag: at }, cut };
  }

  /** Whether a place was made by `breakAfter`, and is no message's. */
  isAfterBreak({ tag }: Place): boolean {
    return this.#breaks.some(({ at }) => at === tag);
  }

  /**
   * Takes the stream as it is: of another creation, it is another space.
   * @returns whether it is another one than before
   */
  adopt(created: string): boolean {
    const epoch = epochOf(created);
    if (epoch === this.epoch) return false;
    const isNew = this.epoch !== '';
    this.epoch = epoch;
    const at = Date.parse(created);
    this.#breaks = [{ cut: 0, at, reason: 'reset' }];
    this.#untold = isNew ? { sequence: 0, tag: at } : null;
    this.#unwritten = null;
    this.#known = { sequence: 0, tag: at, storedBy: at };
    this.#knownAt = Number.NEGATIVE_INFINITY;
    this.#lastMark = 0;
    this.#markedAt = Number.NEGATIVE_INFINITY;
    return isNew;
  }

  /** Reads the marks that nodes wrote of breaks. */
  async readMarks(): Promise<void> {
    for (;;) {
      const { messages, more } = await this.stream.page(this.rewoundSubject, this.#lastMark + 1, 100);
      for (const { sequence, record } of messages) {
        this.#lastMark = sequence;
        const mark = record === null ? null : parseMark(record.data);
        if (mark !== null && this.#add(mark)) this.#goBackTo({ sequence: mark.cut, tag: mark.at });
      }
      if (!more) return;
    }
  }

  /**
   * Looks whether the stream is still what it was, with everything that this node knew: where it is not, the engine has lost what was
   * acknowledged, or sent live. `takeCut` tells of it, and `writeMarks` tells the other nodes.
   * @throws rejects with RequestError, or as `LogStream.ensure`; what was found until then stays found
   */
  async check(warn: (message: string) => void): Promise<void> {
    // Appends go on meanwhile: only what was known before the stream is asked can be missing from its answer.
    const known = this.#known;
    const doubts = this.#doubts;
    const info = (await this.stream.info()) ?? (await this.stream.ensure(warn)).info;
    const isAnother = this.adopt(info.created);
    await this.readMarks();
    if (!isAnother) await this.#lookForLoss(known, info.state.last_seq);
    if (this.#doubts === doubts) this.#doubted = false;
  }

  /** Where the readers of this node must go back to; null where nothing was found since the last call. */
  takeCut(): Place | null {
    const cut = this.#untold;
    this.#untold = null;
    return cut;
  }

  /** Tells the other nodes of what was found here. */
  async writeMarks(): Promise<void> {
    const mark = this.#unwritten;
    if (mark === null) return;
    const { cut, at } = mark;
    await this.link.request(
      this.rewoundSubject,
      JSON.stringify({ cut, at }),
      MARK_TIMEOUT_MS,
      writtenOnce(
        `rewound-${cut}-${Math.floor(at / SAME_BREAK_MS)}`,
        `Sse-Time: ${at}\r\nSse-Event: rewound\r\nSse-Keep: 0 0 0\r\n`,
      ),
    );
    if (this.#unwritten === mark) this.#unwritten = null;
  }

  /** The last message that was stored by a time, in milliseconds since 1970, among those up to a sequence. */
  async lastStoredBy(time: number, upTo: number): Promise<KnownPlace> {
    let low = 1;
    let high = upTo;
    let found: KnownPlace = { ...START, storedBy: 0 };
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.stream.next('>', middle);
      if (message !== null && message.sequence <= high && message.storedAt <= time) {
        found = { sequence: message.sequence, tag: message.tag, storedBy: message.storedAt };
        low = message.sequence + 1;
      } else high = middle - 1;
    }
    return found;
  }

  /**
   * Leaves a mark now and then: what the stream's own limits remove, they remove oldest first, so that the oldest mark tells up to
   * where they have come.
   */
  async keepMarks(): Promise<void> {
    const every = this.stream.maxAgeMs / Math.min(MARKS_PER_AGE, Math.max(2, this.stream.maxPerTopic - 1));
    if (performance.now() - this.#markedAt < every) return;
    const last = await this.stream.last(this.#keptSubject);
    const now = Date.now();
    if (last === null || now - last.storedAt >= every) {
      await this.link.request(
        this.#keptSubject,
        '',
        MARK_TIMEOUT_MS,
        writtenOnce(`kept-${last?.sequence ?? 0}-${this.epoch}`, `Sse-Time: ${now}\r\n`),
      );
      this.#markedAt = performance.now();
    } else this.#markedAt = performance.now() - (now - last.storedAt);
  }

  /** Forgets the marks: what is older cannot be vouched for. */
  async dropMarks(): Promise<void> {
    await this.stream.purge(this.#keptSubject, Number.MAX_SAFE_INTEGER);
    this.#markedAt = Number.NEGATIVE_INFINITY;
    await this.keepMarks();
  }

  /** Nothing after this place was removed by the stream's own limits; null where that cannot be said of any. */
  async vouchedFrom(): Promise<Place | null> {
    const oldest = await this.stream.next(this.#keptSubject, 1);
    return oldest === null ? null : { sequence: oldest.sequence, tag: oldest.tag };
  }

  /** Told something when a break was found. */
  get rewoundSubject(): string {
    return `${this.subjects.marks}.rewound`;
  }

  get #keptSubject(): string {
    return `${this.subjects.marks}.kept`;
  }

  async #look(): Promise<void> {
    const at = performance.now();
    const newest = await this.stream.lastOfLeader('>');
    if (newest !== null) this.learn(newest.sequence, newest.tag, newest.storedAt);
    this.#knownAt = at;
  }

  /** @param lastSequence the stream's own, later than the place was learned */
  async #lookForLoss(known: KnownPlace, lastSequence: number): Promise<void> {
    if (known.sequence === 0) return;
    const message = known.sequence > lastSequence ? null : await this.stream.get(known.sequence);
    if (message === null ? known.sequence <= lastSequence : message.tag === known.tag) return;
    const survivor = await this.lastStoredBy(known.storedBy, Math.min(known.sequence, lastSequence));
    const mark: Break = { cut: survivor.sequence, at: Math.max(Date.now(), known.storedBy + 1), reason: 'rewound' };
    // What was learned since then may be from before the loss as well.
    this.#known = survivor;
    this.#knownAt = Number.NEGATIVE_INFINITY;
    this.#goBackTo(survivor);
    if (!this.#add(mark)) return;
    const { cut = mark.cut } = this.#unwritten ?? {};
    this.#unwritten = { ...mark, cut: Math.min(cut, mark.cut) };
  }

  #goBackTo(place: Place): void {
    if (this.#untold === null || place.sequence < this.#untold.sequence) this.#untold = place;
  }

  #add(mark: Break): boolean {
    const same = this.#breaks.some(({ cut, at }) => cut === mark.cut && Math.abs(at - mark.at) < SAME_BREAK_MS);
    if (same) return false;
    this.#breaks.push(mark);
    this.#breaks.sort((a, b) => a.at - b.at);
    if (this.#breaks.length > MAX_BREAKS) this.#breaks.splice(1, this.#breaks.length - MAX_BREAKS);
    return true;
  }
}

export function offsetOf({ sequence, tag }: Place): Offset {
  return formatOffset(sequence, tag);
}

export function placeOf(offset: Offset): Place {
  const [sequence = '', tag = ''] = offset.split('-');
  return { sequence: Number.parseInt(sequence, 36), tag: Number.parseInt(tag, 36) };
}

function parseMark(data: string): Break | null {
  try {
    const { cut, at } = JSON.parse(data) as { cut?: unknown; at?: unknown };
    return Number.isSafeInteger(cut) && Number.isSafeInteger(at)
      ? { cut: cut as number, at: at as number, reason: 'rewound' }
      : null;
  } catch {
    return null;
  }
}

/** A stream's creation, to the nanosecond. */
function epochOf(created: string): string {
  const fraction = /\.\d{3}(\d{0,6})/.exec(created)?.[1] ?? '';
  return `n${Date.parse(created).toString(36)}${Number(fraction.padEnd(6, '0')).toString(36)}`;
}
