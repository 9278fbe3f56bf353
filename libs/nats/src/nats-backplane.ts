/** The backplane on NATS JetStream: one stream holds all logs, and core NATS carries what it stores to every node. */
import { createHash } from 'node:crypto';
import type { Msg, Subscription } from '@nats-io/nats-core';
import {
  AppendWindow,
  AttemptError,
  IdempotencyKeys,
  LiveTails,
  type AppendOptions,
  type Attempt,
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
import {
  AppendError,
  compareOffsets,
  formatCursor,
  formatOffset,
  SseChannelsError,
  type Cursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import { readAcknowledgement } from './acknowledgement.js';
import { LogReader, tooLong } from './log-reader.js';
import { LogSpace, offsetOf, placeOf } from './log-space.js';
import { LogStream } from './log-stream.js';
import { NatsLink, RequestError } from './nats-link.js';
import { checkOptions, type CheckedOptions, type NatsBackplaneOptions } from './options.js';
import { neverWritten, readMessage, recordHeaders, writtenOnce } from './record-message.js';
import { TopicSubjects } from './topic-subjects.js';
import { TopicTrimmer } from './topic-trimmer.js';

/** How long one attempt to append waits for its acknowledgement. */
const ATTEMPT_TIMEOUT_MS = 2_000;
/** How long JetStream may leave a process that starts without an answer. */
const BEGIN_MS = 10_000;
/** First and longest pause before what failed is tried again. */
const RETRY_MS = 50;
const MAX_RETRY_MS = 500;
/**
 * A leader that steps down can lose an append and its successor store the next one, without a connection being lost: where there are
 * replicas the next append of a topic is sent when the one before it is answered.
 */
const REPLICATED_IN_FLIGHT_PER_TOPIC = 1;
/** The heads of so many topics are compared in one sweep. */
const SWEEP_TOPICS = 1_000;
/** What the stream's own limits remove is older than this: by then every followed topic has been swept. */
const SWEPT_WITHIN_MS = 600_000;
/** Warnings about retentions are told apart up to so many. */
const MAX_WARNED = 100;
const CLOSED = 'The NATS backplane is closed; the application has shut down.';

interface Job {
  readonly subject: string;
  readonly draft: Draft;
  readonly payload: Uint8Array;
  /** Null where the subject says it. */
  readonly topicHeader: string | null;
  readonly retention: Retention;
  /** Null for one without an idempotency key: the attempt's token is its id. */
  readonly messageId: string | null;
}

/** While it is not known whether the log space is still what it was. */
interface Doubt {
  readonly over: Promise<void>;
  readonly end: () => void;
}

/** What one subscription of the engine has brought. */
interface Followed {
  readonly subscription: Subscription;
  /** Of a filter: where what has come is judged from. */
  readonly chain: FilterChain | null;
}

/**
 * Keeps the logs in a JetStream stream, so that every process with the same `prefix` shares them and they outlast all of them.
 * Needs NATS 2.10 or later; 2.11 or later reads faster.
 */
export class NatsBackplane implements Backplane {
  /**
   * Core NATS can lose a message between two servers of a cluster without a word: a record says of its own topic alone what came
   * before it.
   */
  readonly capabilities: BackplaneCapabilities;

  readonly #options: CheckedOptions;
  readonly #subjects: TopicSubjects;
  readonly #keys = new IdempotencyKeys<Promise<Cursor>>();
  readonly #tails: LiveTails;
  readonly #trimmer: TopicTrimmer;
  readonly #followed = new Map<TopicFilter, Followed>();
  readonly #warned = new Set<string>();
  #listener: BackplaneListener = {};
  #appends: AppendWindow<Job, Cursor> | undefined;
  #link: NatsLink | undefined;
  #stream: LogStream | undefined;
  #space: LogSpace | undefined;
  #reader: LogReader | undefined;
  #state: BackplaneState = 'down';
  #recovering = false;
  #recoverAgain = false;
  /** What comes live is let go of, and reads wait: it may follow on a loss that readers must be told of before. */
  #doubt: Doubt | undefined;
  #trouble = '';
  #sweepTimer: NodeJS.Timeout | undefined;
  #sweepFrom = 0;
  #closed = false;

  /** @throws SseChannelsError `INVALID_OPTION` */
  constructor(options: NatsBackplaneOptions = {}) {
    this.#options = checkOptions(options);
    const { prefix, storage, lingerMs } = this.#options;
    this.capabilities = { durable: storage === 'file', sharedAcrossNodes: true, order: 'topic' };
    this.#subjects = new TopicSubjects(prefix);
    this.#tails = new LiveTails(
      {
        want: (filter) => this.#follow(filter),
        unwant: (filter) => this.#unfollow(filter),
        place: () => this.#place(),
      },
      { order: 'topic', lingerMs },
    );
    this.#trimmer = new TopicTrimmer(
      async (subject, before) => this.#stream?.purge(subject, before),
      (error) => {
        if (error instanceof RequestError && error.failure === 'refused')
          this.#warnOnce(
            `Topics cannot be trimmed to what their channels keep, only to the limits of the stream: ${error.message}. Allow ${this.#subjects.prefix}'s processes to purge it.`,
          );
      },
    );
  }

  get state(): BackplaneState {
    return this.#state;
  }

  get epoch(): string {
    return this.#space?.epoch ?? '';
  }

  async ready(listener: BackplaneListener = {}): Promise<void> {
    this.#assertOpen();
    this.#listener = listener;
    const { connection, servers } = this.#options;
    let link: NatsLink;
    try {
      link = await NatsLink.open(
        { name: `sse-channels ${this.#options.prefix}`, ...connection, servers },
        {
          onDown: (reason) => this.#down(reason),
          onUp: () => this.#up(),
          onError: (error) => this.#warnOnce(`NATS says: ${error.message}.`),
        },
      );
    } catch (error) {
      throw new SseChannelsError(
        'UNAVAILABLE',
        `NATS cannot be reached at ${servers.join(', ')}: ${error instanceof Error ? error.message : String(error)}. Start it, or correct "servers".`,
        { cause: error },
      );
    }
    const stream = new LogStream(link, this.#subjects, this.#options);
    const space = new LogSpace(stream, link, this.#subjects);
    try {
      stream.checkVersion();
      await this.#begin(stream, space);
      link.subscribe(space.rewoundSubject, () => void this.#recover());
      await link.flush();
    } catch (error) {
      await link.close();
      throw error instanceof SseChannelsError
        ? error
        : new SseChannelsError('UNAVAILABLE', `JetStream cannot be used: ${(error as Error).message}`, {
            cause: error,
          });
    }
    this.#link = link;
    this.#stream = stream;
    this.#space = space;
    this.#reader = new LogReader(stream, space, this.#subjects);
    this.#appends = new AppendWindow((attempt) => this.#attempt(attempt), {
      appendTimeoutMs: this.#options.appendTimeoutMs,
      inFlightPerTopic: stream.replicas > 1 ? REPLICATED_IN_FLIGHT_PER_TOPIC : undefined,
    });
    this.#state = 'live';
    if (!link.up) this.#down('The link to NATS is lost.');
    this.#sweepTimer = setInterval(
      () => void this.#sweep(),
      this.#options.sweepMs * (0.75 + Math.random() / 2),
    ).unref();
  }

  async append(topic: string, draft: Draft, retention: Retention, options: AppendOptions = {}): Promise<Cursor> {
    if (this.#closed) throw new SseChannelsError('CLOSED', CLOSED);
    const subject = this.#subjects.ofLog(topic);
    if (subject === null) throw new AppendError(topic, 'not-written', tooLong(topic).message);
    const { idempotencyKey } = options;
    const appends = this.#appends as AppendWindow<Job, Cursor>;
    const job: Job = {
      subject,
      draft,
      payload: Buffer.from(draft.data),
      topicHeader: this.#subjects.tells(topic) ? null : topic,
      retention: this.#allowed(retention),
      messageId: idempotencyKey === undefined ? null : messageIdOf(topic, idempotencyKey),
    };
    if (idempotencyKey === undefined) return appends.append(topic, job);
    const made = this.#keys.get(topic, idempotencyKey);
    if (made !== undefined) return made;
    const appended = appends.append(topic, job);
    this.#keys.set(topic, idempotencyKey, appended);
    appended.catch(() => this.#keys.delete(topic, idempotencyKey));
    return appended;
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    return this.#untilAnswered(async () => (this.#reader as LogReader).read(filter, start, limit));
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    this.#assertOpen();
    return this.#tails.tail(filter, onRecord, onLoss);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweepTimer);
    this.#doubt?.end();
    this.#appends?.close(CLOSED);
    this.#tails.close();
    this.#trimmer.close();
    await this.#link?.close();
  }

  async #attempt({ job, token, findOnly, firstSentAt }: Attempt<Job>): Promise<Cursor> {
    const { subject, draft, payload, topicHeader, retention, messageId } = job;
    const id = messageId ?? token;
    const headers = findOnly
      ? neverWritten(id)
      : writtenOnce(id, recordHeaders(draft, topicHeader, firstSentAt, retention));
    const stream = this.#stream as LogStream;
    const space = this.#space as LogSpace;
    let tag = firstSentAt;
    let sequence: number;
    try {
      const message = await (this.#link as NatsLink).request(subject, payload, ATTEMPT_TIMEOUT_MS, headers);
      const { isDuplicate, ...acknowledgement } = readAcknowledgement(message.data, findOnly);
      ({ sequence } = acknowledgement);
      // Of a key, another append may have been the first; its record has its own tag.
      if (isDuplicate && messageId !== null) tag = (await stream.getOfLeader(sequence))?.tag ?? tag;
    } catch (error) {
      throw error instanceof RequestError ? attemptErrorOf(error) : error;
    }
    space.learn(sequence, tag, Date.now());
    this.#trimmer.appended(subject, sequence, payload.length, retention);
    return formatCursor(space.epoch, formatOffset(sequence, tag));
  }

  /** Waits a while for an answer: a cluster gives none while it chooses who leads, or while another node has it make the stream. */
  async #begin(stream: LogStream, space: LogSpace): Promise<void> {
    const deadline = performance.now() + BEGIN_MS;
    for (;;) {
      try {
        const { info, raised } = await stream.ensure((message) => this.#warnOnce(message));
        space.adopt(info.created);
        if (raised) await space.dropMarks();
        await space.readMarks();
        await space.keepMarks();
        await space.look();
        // Nobody reads yet.
        space.takeCut();
        return;
      } catch (error) {
        const why = error instanceof SseChannelsError ? error.cause : error;
        const isRefused = !(why instanceof RequestError) || why.failure === 'refused';
        if (isRefused || performance.now() > deadline) throw error;
        await pause(MAX_RETRY_MS);
      }
    }
  }

  /** What the stream allows of what a channel asks for. */
  #allowed(retention: Retention): Retention {
    const { maxEvents, maxAgeMs, maxBytes } = retention;
    const most = (this.#stream as LogStream).maxPerTopic - 1;
    const oldest = (this.#stream as LogStream).maxAgeMs;
    if (maxEvents <= most && maxAgeMs <= oldest) return retention;
    this.#warnOnce(
      `A channel keeps ${maxEvents} events for ${maxAgeMs} ms, but the JetStream stream ${most} of a topic for ${oldest} ms at most. Raise the backplane's maxEventsPerTopic and maxAgeMs, or lower the channel's replay.`,
    );
    return { maxEvents: Math.min(maxEvents, most), maxAgeMs: Math.min(maxAgeMs, oldest), maxBytes };
  }

  async #follow(filter: TopicFilter): Promise<void> {
    const subject = this.#subjects.ofLive(filter);
    if (subject === null) throw tooLong(filter);
    const link = this.#link as NatsLink;
    const chain = filter.includes('*') ? new FilterChain((this.#space as LogSpace).known.sequence) : null;
    const subscription = link.subscribe(subject, (message) => this.#arrived(filter, chain, message));
    this.#followed.set(filter, { subscription, chain });
    try {
      await this.#untilAnswered(() => link.flush());
    } catch (error) {
      this.#unfollow(filter);
      throw error;
    }
  }

  #unfollow(filter: TopicFilter): void {
    this.#followed.get(filter)?.subscription.unsubscribe();
    this.#followed.delete(filter);
  }

  async #place(): Promise<Offset> {
    const space = this.#space as LogSpace;
    await this.#untilAnswered(() => space.look());
    return offsetOf(space.known);
  }

  #arrived(filter: TopicFilter, chain: FilterChain | null, message: Msg): void {
    const stored = readMessage(message);
    if (stored === null || this.#closed) return;
    const space = this.#space as LogSpace;
    const { sequence, tag, storedAt, previous } = stored;
    if (space.isReused(stored)) {
      this.#beginDoubt();
      void this.#recover();
    }
    // When that is over, the heads of all topics tell who has missed something.
    if (this.#doubt !== undefined) return;
    space.learn(sequence, tag, storedAt);
    const record = (this.#reader as LogReader).recordOf(stored, this.#prevOf(sequence, previous));
    if (record === null) return;
    if (chain?.misses(record.topic, sequence, previous) === true) this.#tails.lose(filter);
    this.#tails.handOver(record, chain === null ? 'topic' : 'filters');
  }

  /**
   * The live message tells the sequence of the one before it, not its tag: the lowest offset of that sequence is not after a reader
   * exactly if the reader has that message, as long as the sequence was not used before; and when the engine is found to have lost
   * messages, all readers are sent to the log before anything else.
   */
  #prevOf(sequence: number, previous: number): Offset | null {
    if (previous > 0) return formatOffset(previous, 0);
    // None is kept. Trimming leaves one of a topic, so it is the first, or the stream's own limits took the others: where they
    // take them later than every sweep comes by, none of those was missed. Otherwise let the log be asked.
    const { maxBytes } = this.#options;
    const swept = maxBytes === null && (this.#stream as LogStream).maxAgeMs >= SWEPT_WITHIN_MS;
    return swept ? null : formatOffset(sequence - 1, 0);
  }

  /** Waits until NATS answers, and what it answers is not in doubt, at most for `readTimeoutMs`. */
  async #untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
    const space = this.#space as LogSpace;
    const deadline = performance.now() + this.#options.readTimeoutMs;
    let pauseMs = RETRY_MS;
    let error: RequestError | undefined;
    for (;;) {
      this.#assertOpen();
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || error?.failure === 'refused') {
        const reason = error?.message ?? this.#trouble;
        throw new SseChannelsError('UNAVAILABLE', `The log could not be read: ${reason}`, { cause: error });
      }
      if (this.#doubt !== undefined) {
        await Promise.race([this.#doubt.over, pause(leftMs)]);
        continue;
      }
      if (error !== undefined) {
        await pause(Math.min(pauseMs, leftMs));
        pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS);
        error = undefined;
        continue;
      }
      const { doubts } = space;
      try {
        const answer = await ask();
        if (space.doubts === doubts) return answer;
      } catch (thrown) {
        if (!(thrown instanceof RequestError)) throw thrown;
        error = thrown;
      }
    }
  }

  /** Until the log space was looked at, nothing that comes is taken for what follows. */
  #beginDoubt(): void {
    this.#tails.freeze();
    (this.#space as LogSpace).doubt();
    if (this.#doubt !== undefined) return;
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#doubt = { over, end };
  }

  #down(reason: string): void {
    if (this.#closed || this.#stream === undefined) return;
    this.#trouble = reason;
    this.#beginDoubt();
    this.#appends?.hold(reason);
    this.#setState('down', reason);
  }

  #up(): void {
    if (this.#closed || this.#stream === undefined) return;
    this.#setState('catching-up', 'The link to NATS is there again.');
    this.#appends?.resume();
    void this.#recover();
  }

  /** Looks what may have been missed, and whether the log space is still what it was; tails go on from there. */
  async #recover(): Promise<void> {
    if (this.#recovering) {
      this.#recoverAgain = true;
      return;
    }
    this.#recovering = true;
    let pauseMs = RETRY_MS;
    do {
      this.#recoverAgain = false;
      try {
        await this.#lookWhatMoved();
      } catch (error) {
        if (this.#closed || this.#link?.up !== true) break;
        this.#trouble = (error as Error).message;
        if (error instanceof SseChannelsError) this.#warnOnce(error.message);
        this.#recoverAgain = true;
        await pause(pauseMs);
        pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS);
      }
    } while (this.#recoverAgain && !this.#closed && this.#link?.up === true);
    this.#recovering = false;
    if (this.#closed || this.#link?.up !== true) return;
    this.#setState('live', 'The logs can be reached.');
  }

  async #lookWhatMoved(): Promise<void> {
    const space = this.#space as LogSpace;
    await this.#checkSpace();
    if (space.doubted) throw new RequestError('lost', 'The link to NATS was lost meanwhile.');
    this.#doubt?.end();
    this.#doubt = undefined;
    await space.writeMarks();
    await space.keepMarks();
    await space.look();
    const topics = [...this.#tails.followed()].filter(([filter]) => !filter.includes('*'));
    this.#tails.thaw(await this.#moved(topics));
  }

  /** Sends readers back to the log where the stream is not the same, with all that it had. */
  async #checkSpace(): Promise<void> {
    const space = this.#space as LogSpace;
    await space.check((message) => this.#warnOnce(message));
    const cut = space.takeCut();
    if (cut === null) return;
    for (const { chain } of this.#followed.values()) chain?.restart(space.known.sequence);
    this.#tails.rewind(offsetOf(cut));
  }

  /** Which of these topics have records that have not come. */
  async #moved(topics: ReadonlyArray<readonly [topic: string, reached: Offset]>): Promise<string[]> {
    const bySubject = new Map<string, readonly [topic: string, reached: Offset]>();
    for (const one of topics) {
      const subject = this.#subjects.ofLog(one[0]);
      if (subject !== null && one[1] !== '') bySubject.set(subject, one);
    }
    const heads = await (this.#stream as LogStream).heads([...bySubject.keys()]);
    const moved: string[] = [];
    for (const { subject, sequence } of heads) {
      const topic = bySubject.get(subject);
      if (topic !== undefined && sequence > placeOf(topic[1]).sequence) moved.push(topic[0]);
    }
    return moved;
  }

  /** Finds what was lost without a word. */
  async #sweep(): Promise<void> {
    if (this.#state !== 'live' || this.#recovering || this.#closed) return;
    const space = this.#space as LogSpace;
    try {
      await this.#checkSpace();
      await space.writeMarks();
      await space.keepMarks();
      const topics: Array<readonly [topic: string, reached: Offset]> = [];
      const filters: Array<readonly [filter: string, chain: FilterChain]> = [];
      for (const followed of this.#tails.followed()) {
        const chain = this.#followed.get(followed[0])?.chain;
        if (chain == null) topics.push(followed);
        else filters.push([followed[0], chain]);
      }
      if (this.#sweepFrom >= topics.length) this.#sweepFrom = 0;
      const some = topics.slice(this.#sweepFrom, this.#sweepFrom + SWEEP_TOPICS);
      this.#sweepFrom += SWEEP_TOPICS;
      const moved = new Set(await this.#moved(some));
      const behind: Array<readonly [filter: string, chain: FilterChain, head: number]> = [];
      for (const [filter, chain] of filters) {
        const subject = this.#subjects.ofLog(filter);
        const head = subject === null ? null : await (this.#stream as LogStream).lastOfLeader(subject);
        if (head !== null && head.sequence > chain.newest) behind.push([filter, chain, head.sequence]);
      }
      if (moved.size === 0 && behind.length === 0) return;
      // What was only on its way has come by now.
      await (this.#link as NatsLink).flush();
      const before = new Map(some);
      for (const [topic, reached] of this.#tails.followed()) {
        if (moved.has(topic) && compareOffsets(reached, before.get(topic) ?? '') === 0) this.#tails.lose(topic);
      }
      for (const [filter, chain, head] of behind) {
        if (chain.newest >= head) continue;
        chain.restart(head);
        this.#tails.lose(filter);
      }
    } catch (error) {
      if (!(error instanceof RequestError) && !this.#closed) this.#warnOnce(String(error));
    }
  }

  #setState(state: BackplaneState, reason: string): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener.onState?.(state, reason);
  }

  #warnOnce(message: string): void {
    if (this.#warned.has(message) || this.#warned.size >= MAX_WARNED) return;
    this.#warned.add(message);
    this.#listener.onWarning?.(message);
  }

  #assertOpen(): void {
    if (this.#closed) throw new SseChannelsError('CLOSED', CLOSED);
  }
}

/** What has come of a filter's topics: a record that names another before it than the last that came shows that one was lost. */
class FilterChain {
  static readonly #MAX_TOPICS = 100_000;
  readonly #last = new Map<string, number>();
  /** Of topics without an entry everything up to here is known. */
  #from: number;
  newest: number;

  constructor(from: number) {
    this.#from = from;
    this.newest = from;
  }

  misses(topic: string, sequence: number, previous: number): boolean {
    const last = this.#last.get(topic) ?? this.#from;
    const missed = previous > last;
    if (this.#last.size >= FilterChain.#MAX_TOPICS && !this.#last.has(topic)) {
      // The log is asked what it has up to here, so that nothing need be known of single topics.
      this.restart(sequence);
      return true;
    }
    this.#last.set(topic, Math.max(last, sequence));
    this.newest = Math.max(this.newest, sequence);
    return missed;
  }

  /** The log was asked, or will be, for everything up to this sequence. */
  restart(from: number): void {
    this.#last.clear();
    this.#from = from;
    this.newest = from;
  }
}

function attemptErrorOf(error: RequestError): AttemptError {
  switch (error.failure) {
    case 'unsent':
    case 'nobody':
      return new AttemptError('not-executed', error.message, { cause: error });
    case 'refused':
      return new AttemptError('refused', error.message, { cause: error });
    default:
      return new AttemptError('unknown', error.message, { cause: error });
  }
}

/** JetStream remembers ids for the whole stream. */
function messageIdOf(topic: string, key: string): string {
  return `key-${createHash('sha256').update(`${topic}\n${key}`).digest('base64url')}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
