/** The backplane on Redis Streams: one log for every node, on one server, behind sentinels or on a cluster. */
import { randomBytes } from 'node:crypto';
import {
  LiveTails,
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
import {
  AppendError,
  compareOffsets,
  FIRST_OFFSET,
  formatCursor,
  laterOffset,
  SseChannelsError,
  type Cursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import type { Link } from './link.js';
import { LogReader } from './log-reader.js';
import { checkOptions, type CheckedOptions, type RedisBackplaneOptions } from './options.js';
import { Partition, partitionOf } from './partition.js';
import { PartitionMerge } from './partition-merge.js';
import { isBefore, PartitionWriter } from './partition-writer.js';
import { Primaries } from './primaries.js';
import { fromMessage, payloadOf, type RedisRecord } from './record-text.js';
import { failureOf, hasMoved, reasonOf } from './redis-failure.js';
import { EPOCH, LOST, MARK, OPEN, SCRIPTS } from './scripts.js';
import { checkServer, checkVersion } from './server-check.js';
import { topologyOf } from './topology.js';

/** How many heads are read by one command. */
const HEADS_BATCH = 1_000;
/** How many appends may be unanswered, over all partitions. */
const MAX_UNANSWERED = 20_000;
const MAX_KEY_LENGTH = 256;
/** How long a close waits for what is under way. */
const CLOSE_MS = 1_000;
const NO_ID = '0-1';

/** A partition as this process sees it. */
interface Part {
  readonly partition: Partition;
  readonly writer: PartitionWriter;
  /** The last id that is known here. */
  lastId: string;
  /** Readers from before it cannot be vouched for; empty until it is known. */
  floor: string;
  reopening: Promise<void> | undefined;
  /** Whoever wants to know the partition's end now shares one look. */
  ending: Promise<Offset> | undefined;
}

/**
 * Keeps the logs in Redis 6.2 or later, or Valkey.
 *
 * ```ts
 * SseChannelsModule.forRoot({ backplane: new RedisBackplane({ url: 'redis://localhost:6379' }) })
 * ```
 *
 * What was acknowledged survives the end of every node. Whether it survives the end of Redis is Redis's own promise: with
 * `appendonly yes` and `appendfsync always` it does, with less it may not, and then readers are told. See docs/redis.md.
 */
export class RedisBackplane implements Backplane {
  readonly capabilities: BackplaneCapabilities;

  readonly #options: CheckedOptions;
  readonly #parts: readonly Part[];
  readonly #primaries: Primaries;
  readonly #tails: LiveTails;
  readonly #reader: LogReader;
  readonly #merge: PartitionMerge | undefined;
  readonly #sharded: boolean;
  readonly #publishCommand: string;
  /** The last record of each followed topic that has come. */
  readonly #newest = new Map<string, Offset>();
  /** Filters that are followed. */
  readonly #filters = new Set<TopicFilter>();
  /** Partitions whose subscriber is away. */
  readonly #unheard = new Set<Partition>();
  /** Subscriptions of one turn of the event loop go out together. */
  readonly #asked = new Map<Partition, { readonly channels: string[]; readonly answer: Promise<void> }>();
  #epoch = '';
  #seen: Offset = FIRST_OFFSET;
  #evicting = false;
  #state: BackplaneState = 'down';
  #trouble = 'Redis has not been reached yet.';
  #listener: BackplaneListener = {};
  #started = false;
  #sweep: NodeJS.Timeout | undefined;
  #sweeping = false;
  #closed = false;

  /** @throws SseChannelsError `INVALID_OPTION` */
  constructor(options: RedisBackplaneOptions) {
    this.#options = checkOptions(options);
    const { partitions: count, prefix, database, appendTimeoutMs, indexEvents, headTtlMs } = this.#options;
    const partitions = Array.from({ length: count }, (_, number) => new Partition(prefix, number, count, database));
    const topology = topologyOf(this.#options, partitions);
    this.#sharded = topology.sharded;
    const publishCommand = topology.sharded ? 'SPUBLISH' : 'PUBLISH';
    this.#publishCommand = publishCommand;
    this.#parts = partitions.map((partition) =>
      this.#part(partition, {
        appendTimeoutMs,
        maxUnanswered: Math.ceil(MAX_UNANSWERED / count),
        indexEvents,
        headTtlMs,
        publishCommand,
      }),
    );
    const order = count === 1 ? 'space' : 'topic';
    this.capabilities = { durable: true, sharedAcrossNodes: true, order };
    this.#primaries = new Primaries(topology, partitions, {
      onMessage: (partition, message, channel) => this.#arrived(partition, message, channel),
      onCommandable: (some) => this.#commandable(some),
      onSubscribed: (some, still) => this.#subscribed(some, still),
      onLost: (some, error) => this.#lost(some, error),
      onChange: () => this.#lookAtState(),
      onTrouble: (error) => (this.#trouble = reasonOf(error)),
    });
    this.#tails = new LiveTails(
      {
        want: (filter) => this.#want(filter),
        unwant: (filter) => this.#unwant(filter),
        place: (filter) => this.#place(filter),
      },
      { order },
    );
    this.#merge =
      count === 1
        ? undefined
        : new PartitionMerge(count, {
            hand: (record) => this.#tails.handOver(record, 'filters'),
            pull: (number, offset) => void this.#pin(this.#parts[number] as Part, offset).catch(() => undefined),
            overflow: () => this.#loseFilters(),
          });
    this.#reader = new LogReader({
      partitions,
      headTtlMs,
      epoch: () => this.#epoch,
      evicting: () => this.#evicting,
      partitionOf: (topic) => this.#partOf(topic).partition,
      together: (partition, commands) => this.#waitFor(partition, (link) => link.together(commands)),
      reopen: (partition) => this.#reopen(this.#parts[partition.number] as Part),
      pin: (partition, offset) => this.#pin(this.#parts[partition.number] as Part, offset),
      seen: (partition, id) => this.#saw(this.#parts[partition.number] as Part, id),
    });
  }

  get state(): BackplaneState {
    return this.#state;
  }

  /** Random, and kept in Redis; another one after everything was removed from Redis while no node ran. */
  get epoch(): string {
    return this.#epoch;
  }

  async ready(listener: BackplaneListener = {}): Promise<void> {
    this.#assertOpen();
    this.#listener = listener;
    try {
      await this.#primaries.open();
      for (const [index, link] of this.#primaries.commands.entries()) {
        const { evicting, warnings } = await checkServer(link);
        this.#evicting ||= evicting;
        // The servers of a cluster are set up alike.
        if (index === 0) for (const warning of warnings) listener.onWarning?.(warning);
      }
    } catch (error) {
      await this.close();
      if (error instanceof SseChannelsError) throw error;
      const message = `Redis cannot be used at ${this.#where()}: ${reasonOf(error)} Start it, or correct the address or the credentials of the Redis backplane.`;
      throw new SseChannelsError('UNAVAILABLE', message, { cause: error });
    }
    this.#started = true;
    this.#lookAtState();
    this.#sweep = setInterval(() => void this.#sweepHeads(), this.#options.sweepMs);
    this.#sweep.unref();
  }

  async append(topic: string, draft: Draft, retention: Retention, options: AppendOptions = {}): Promise<Cursor> {
    this.#assertOpen();
    const { idempotencyKey } = options;
    if (idempotencyKey !== undefined && idempotencyKey.length > MAX_KEY_LENGTH) {
      const reason = `its idempotencyKey has ${idempotencyKey.length} characters; ${MAX_KEY_LENGTH} are the most.`;
      throw new AppendError(topic, 'not-written', reason);
    }
    const { writer, partition } = this.#partOf(topic);
    const id = await writer.append(topic, payloadOf(draft), retention, idempotencyKey);
    return formatCursor(this.#epoch, partition.offset(id));
  }

  async read(filter: TopicFilter, start: ReadStart, limit: number): Promise<Page> {
    this.#assertOpen();
    const page = await this.#reader.read(filter, start, limit);
    const last = page.records.at(-1);
    // What was read has been given as well as what came live: if the log loses it, that has to be told.
    if (last !== undefined && !filter.includes('*') && this.#tails.follows(filter)) {
      this.#newest.set(filter, laterOffset(this.#newest.get(filter) ?? FIRST_OFFSET, last.offset));
    }
    return page;
  }

  async tail(filter: TopicFilter, onRecord: (record: EventRecord) => void, onLoss: () => void): Promise<Tail> {
    this.#assertOpen();
    return this.#tails.tail(filter, onRecord, onLoss);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweep);
    this.#tails.close();
    this.#merge?.clear();
    this.#newest.clear();
    for (const { writer } of this.#parts) writer.close('The Redis backplane was closed.');
    await this.#primaries.close(CLOSE_MS);
    this.#state = 'down';
  }

  #part(partition: Partition, options: ConstructorParameters<typeof PartitionWriter>[2]): Part {
    const part: Part = {
      partition,
      writer: new PartitionWriter(
        partition,
        {
          command: () => this.#primaries.commandOf(partition),
          epoch: () => this.#epoch,
          lastId: () => part.lastId,
          saw: (id) => this.#saw(part, id),
          idAfterOthers: () => (partition.count === 1 ? '' : partition.idAfter(this.#seen)),
          reopen: () => void this.#reopen(part).catch((error: unknown) => (this.#trouble = reasonOf(error))),
          moved: () => this.#primaries.moved(),
          reload: (link) => void loadScripts(link).catch(() => undefined),
        },
        options,
      ),
      lastId: NO_ID,
      floor: '',
      reopening: undefined,
      ending: undefined,
    };
    return part;
  }

  #partOf(topic: string): Part {
    return this.#parts[partitionOf(topic, this.#parts.length)] as Part;
  }

  #saw(part: Part, id: string): void {
    if (!isBefore(part.lastId, id)) return;
    part.lastId = id;
    this.#seen = laterOffset(this.#seen, part.partition.offset(id));
  }

  // What arrives.

  #arrived(partition: Partition, message: string, channel: string): void {
    const read = fromMessage(partition, message);
    if (typeof read === 'string') {
      const offset = partition.offset(read);
      if (this.#merge === undefined) this.#tails.pass(offset);
      else this.#merge.pass(partition.number, offset);
      return;
    }
    const ofTopic = partition.topicOf(channel) !== null;
    if (ofTopic) this.#checkLink(partition, read);
    const { record, offset } = read;
    if (record === null) {
      // Readers meet the mark in the log.
      if (ofTopic) this.#tails.lose(read.topic);
      else this.#loseFilters();
    } else if (ofTopic) this.#tails.handOver(record, 'topic');
    else if (this.#merge === undefined) this.#tails.handOver(record, 'filters');
    else this.#merge.add(partition.number, record);
    this.#saw(this.#parts[partition.number] as Part, partition.id(offset));
  }

  /** Compares what a live record says it follows with what has come. */
  #checkLink(partition: Partition, { topic, record, offset, prev }: RedisRecord): void {
    const newest = this.#newest.get(topic);
    // What comes after it was let go of must not be remembered for ever.
    if (this.#tails.follows(topic)) this.#newest.set(topic, offset);
    if (newest === undefined || record === null || compareOffsets(newest, offset) >= 0) return;
    if (record.prev === null) {
      // There was a record, and Redis does not know of it: flushed, or removed to make room.
      this.#tails.lose(topic);
      if (prev === '-') void this.#reopen(this.#parts[partition.number] as Part).catch(() => undefined);
    } else if (compareOffsets(record.prev, newest) < 0) {
      // Who follows it looks into the log, which says what is gone, before this record is given.
      this.#tails.lose(topic);
      void this.#mark(topic, newest).catch(() => undefined);
    }
  }

  #loseFilters(): void {
    this.#merge?.clear();
    for (const filter of this.#filters) this.#tails.lose(filter);
  }

  // What is followed.

  async #want(filter: TopicFilter): Promise<void> {
    const isFilter = filter.includes('*');
    if (isFilter) {
      this.#filters.add(filter);
      // One channel carries what all filters follow.
      await Promise.all(this.#parts.map((part) => this.#subscribe(part, part.partition.filterChannel, filter)));
    } else {
      const part = this.#partOf(filter);
      await this.#subscribe(part, part.partition.channel(filter), filter);
    }
  }

  async #subscribe({ partition }: Part, channel: string, filter: TopicFilter): Promise<void> {
    const deadline = performance.now() + this.#options.readTimeoutMs;
    for (;;) {
      try {
        await this.#subscriptions(partition, channel);
        return;
      } catch (error) {
        this.#trouble = reasonOf(error);
        const left = deadline - performance.now();
        const wasHeard = this.#primaries.isSubscribed(partition);
        if (left > 0 && (await this.#primaries.until(() => this.#primaries.isSubscribed(partition), left)) && !wasHeard)
          continue;
        if (left > 0 && wasHeard && !hasFinallyFailed(error)) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          continue;
        }
        this.#unwant(filter);
        throw this.#unavailable();
      }
    }
  }

  #subscriptions(partition: Partition, channel: string): Promise<void> {
    const asked = this.#asked.get(partition);
    if (asked !== undefined) {
      asked.channels.push(channel);
      return asked.answer;
    }
    const channels = [channel];
    const answer = Promise.resolve().then(() => {
      this.#asked.delete(partition);
      return this.#primaries.subscribe(partition, channels);
    });
    this.#asked.set(partition, { channels, answer });
    return answer;
  }

  #unwant(filter: TopicFilter): void {
    if (!filter.includes('*')) {
      const { partition } = this.#partOf(filter);
      this.#newest.delete(filter);
      this.#primaries.unsubscribe(partition, [partition.channel(filter)]);
      return;
    }
    this.#filters.delete(filter);
    if (this.#filters.size > 0) return;
    this.#merge?.clear();
    for (const { partition } of this.#parts) this.#primaries.unsubscribe(partition, [partition.filterChannel]);
  }

  async #place(filter: TopicFilter): Promise<Offset> {
    if (!filter.includes('*')) return this.#end(this.#partOf(filter));
    const ends = await Promise.all(this.#parts.map((part) => this.#end(part)));
    return ends.reduce(laterOffset);
  }

  /** Where a partition ends, not before any record of it that was appended when this was called. */
  #end(part: Part): Promise<Offset> {
    part.ending ??= Promise.resolve().then(() => {
      part.ending = undefined;
      return this.#lookAtEnd(part);
    });
    return part.ending;
  }

  async #lookAtEnd(part: Part): Promise<Offset> {
    const { partition } = part;
    for (;;) {
      const [last] = await this.#waitFor(partition, (link) =>
        link.send<Array<[string]>>(['XREVRANGE', partition.index(this.#epoch), '+', '-', 'COUNT', '1']),
      );
      if (last === undefined) {
        await this.#reopen(part);
        continue;
      }
      this.#saw(part, last[0]);
      return partition.offset(last[0]);
    }
  }

  // Being away, and coming back.

  async #commandable(some: readonly Partition[]): Promise<void> {
    for (const partition of some) {
      const part = this.#parts[partition.number] as Part;
      await this.#open(part, this.#primaries.rawCommandOf(partition));
    }
  }

  async #subscribed(some: readonly Partition[], still: () => boolean): Promise<void> {
    if (this.#started) this.#setState('catching-up', 'Redis is there again; what was missed is looked for.');
    const moved = await this.#compareHeads(new Set(some));
    // Lost again while the heads were compared: what comes from the next connection must not move a position before they are again.
    if (!still()) return;
    for (const partition of some) this.#unheard.delete(partition);
    if (this.#unheard.size === 0) this.#tails.thaw(moved);
    else for (const topic of moved) this.#tails.lose(topic);
  }

  #lost(some: readonly Partition[], error: Error): void {
    if (this.#closed) return;
    this.#trouble = reasonOf(error);
    for (const partition of some) {
      if (this.#primaries.commandOf(partition) === undefined)
        (this.#parts[partition.number] as Part).writer.hold(this.#trouble);
      if (this.#primaries.isSubscribed(partition)) continue;
      this.#unheard.add(partition);
      this.#merge?.clear();
      this.#tails.freeze();
    }
  }

  #lookAtState(): void {
    for (const { partition, writer } of this.#parts) {
      if (this.#primaries.commandOf(partition) !== undefined) writer.resume();
    }
    if (!this.#started || this.#closed) return;
    if (this.#primaries.live) this.#setState('live', 'Redis is there, and nothing is missing.');
    else if (!this.#primaries.connected) this.#setState('down', this.#trouble);
  }

  #setState(state: BackplaneState, reason: string): void {
    if (this.#state === state || this.#closed) return;
    this.#state = state;
    this.#listener.onState?.(state, reason);
  }

  /** Topics whose log is not where it was, as far as this process knows. */
  async #compareHeads(some: ReadonlySet<Partition>): Promise<string[]> {
    const moved: string[] = [];
    const byPart = new Map<Part, Array<readonly [topic: string, reached: Offset]>>();
    for (const [filter, reached] of this.#tails.followed()) {
      if (filter.includes('*')) continue;
      const part = this.#partOf(filter);
      if (!some.has(part.partition)) continue;
      const topics = byPart.get(part);
      if (topics === undefined) byPart.set(part, [[filter, reached]]);
      else topics.push([filter, reached]);
    }
    for (const [{ partition }, topics] of byPart) {
      for (let from = 0; from < topics.length; from += HEADS_BATCH) {
        const batch = topics.slice(from, from + HEADS_BATCH);
        const keys = batch.map(([topic]) => partition.head(topic));
        const link = this.#primaries.rawCommandOf(partition);
        const heads = await link.send<Array<string | null>>(['MGET', ...keys]);
        const doubtful: string[] = [];
        for (const [index, [topic, reached]] of batch.entries()) {
          const id = heads[index]?.split(' ', 1)[0];
          const head = id === undefined ? FIRST_OFFSET : partition.offset(id);
          const newest = this.#newest.get(topic);
          if (newest !== undefined && head !== newest) doubtful.push(topic);
          if (newest !== undefined && compareOffsets(head, newest) < 0) moved.push(topic);
          else if (reached === '' || compareOffsets(head, reached) > 0) moved.push(topic);
        }
        // A head that has moved on may hide that what came before it was lost.
        await Promise.all(
          doubtful.map((topic) => this.#markAt(link, topic, partition.id(this.#newest.get(topic) ?? FIRST_OFFSET))),
        );
      }
    }
    return moved;
  }

  /** A record came whose predecessor is older than what had come: the log had lost its tail. */
  async #mark(topic: string, given: Offset): Promise<void> {
    const { partition } = this.#partOf(topic);
    const link = this.#primaries.commandOf(partition);
    if (link !== undefined) await this.#markAt(link, topic, partition.id(given));
  }

  async #markAt(link: Link, topic: string, givenId: string): Promise<void> {
    const part = this.#partOf(topic);
    const { partition } = part;
    const id = await link.run<string | null>(
      MARK,
      [partition.index(this.#epoch), partition.head(topic), partition.log(topic)],
      [
        topic,
        givenId,
        partition.channel(topic),
        partition.filterChannel,
        this.#publishCommand,
        String(this.#options.headTtlMs),
      ],
    );
    if (id === LOST) await this.#reopen(part);
    else if (id !== null) this.#saw(part, id);
  }

  /** What no connection told: half-open links, and errors of ours. */
  async #sweepHeads(): Promise<void> {
    if (this.#sweeping || this.#closed) return;
    this.#sweeping = true;
    try {
      await this.#primaries.look();
      if (!this.#primaries.live) return;
      const partitions = new Set(this.#parts.map(({ partition }) => partition));
      for (const part of this.#parts) await this.#lookAtEnd(part);
      const suspects = await this.#compareHeads(partitions);
      if (suspects.length === 0) return;
      // What was appended while the heads were read is on its way; who is still behind after another look has missed it.
      await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
      const behind = new Set(await this.#compareHeads(partitions));
      for (const topic of suspects) if (behind.has(topic)) this.#tails.lose(topic);
    } catch (error) {
      this.#trouble = reasonOf(error);
    } finally {
      this.#sweeping = false;
    }
  }

  // The log space.

  /** Agrees with the other nodes on the epoch, and sees to it that the partition has a floor, an index and a clock that is not behind. */
  async #open(part: Part, link: Link): Promise<void> {
    // Before the first word that an old server does not know.
    if (!this.#started) await checkVersion(link, this.#sharded);
    const { partition } = part;
    const [first] = this.#parts;
    const candidate = this.#epoch === '' ? randomBytes(6).toString('base64url') : this.#epoch;
    const firstPartition = (first as Part).partition;
    const teller = firstPartition === partition ? link : this.#primaries.rawCommandOf(firstPartition);
    const epoch = await teller.run<string>(EPOCH, [firstPartition.floor], [candidate]);
    this.#epoch = epoch;
    const [floor, last] = await this.#openAt(part, link, this.#seen);
    this.#saw(part, last);
    const begunAnew = part.floor !== '' && part.floor !== floor;
    part.floor = floor;
    // Readers learn of it by reading.
    if (begunAnew) this.#tails.loseAll();
  }

  #openAt({ partition }: Part, link: Link, offset: Offset): Promise<[floor: string, last: string]> {
    const passed = offset === FIRST_OFFSET ? NO_ID : partition.idAt(offset);
    return link.run<[string, string]>(
      OPEN,
      [partition.floor, partition.index(this.#epoch)],
      [this.#epoch, passed, partition.filterChannel, this.#publishCommand],
    );
  }

  /** Everything, or a part of it, was removed from Redis. */
  #reopen(part: Part): Promise<void> {
    part.reopening ??= this.#waitFor(part.partition, (link) => this.#open(part, link))
      .then(() => part.writer.resume())
      .finally(() => (part.reopening = undefined));
    return part.reopening;
  }

  /** Sees to it that every later record of the partition comes after an offset, and after all that this process has seen. */
  async #pin(part: Part, offset: Offset = this.#seen): Promise<void> {
    if (compareOffsets(part.partition.offset(part.lastId), offset) >= 0) return;
    const [, last] = await this.#waitFor(part.partition, (link) => this.#openAt(part, link, offset));
    this.#saw(part, last);
  }

  /** Asks the server of a partition; while it is away, waits for it within the deadline. */
  async #waitFor<T>(partition: Partition, ask: (link: Link) => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#options.readTimeoutMs;
    for (;;) {
      this.#assertOpen();
      const link = this.#primaries.commandOf(partition);
      if (link !== undefined) {
        const left = deadline - performance.now();
        try {
          return await within(left, ask(link));
        } catch (error) {
          if (error instanceof SseChannelsError) throw error;
          this.#trouble = reasonOf(error);
          if (hasMoved(error)) this.#primaries.moved();
          else if (failureOf(error) === 'refused') throw this.#unavailable(error);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      const left = deadline - performance.now();
      if (left <= 0 || !(await this.#primaries.until(() => this.#primaries.commandOf(partition) !== undefined, left))) {
        this.#assertOpen();
        throw this.#unavailable();
      }
    }
  }

  #unavailable(cause?: unknown): SseChannelsError {
    const message = `The log in Redis cannot be read (waited ${this.#options.readTimeoutMs} ms): ${this.#trouble}`;
    return new SseChannelsError('UNAVAILABLE', message, { cause });
  }

  /** Without credentials. */
  #where(): string {
    const { subject } = this.#options;
    if (subject.kind === 'cluster') return subject.nodes.map(({ host, port }) => `${host}:${port}`).join(', ');
    if (subject.kind === 'sentinel')
      return `"${subject.name}" of the sentinels ${subject.sentinels.map(({ host, port }) => `${host}:${port}`).join(', ')}`;
    const { url, socket } = subject.client;
    if (url !== undefined) return url.replace(/\/\/[^/@]*@/, '//');
    const { host, port, path } = (socket ?? {}) as { host?: string; port?: number; path?: string };
    return path ?? `${host ?? 'localhost'}:${port ?? 6379}`;
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new SseChannelsError('CLOSED', 'The Redis backplane is closed; the application has shut down.');
  }
}

async function loadScripts(link: Link): Promise<void> {
  await Promise.all(SCRIPTS.map(({ source }) => link.send(['SCRIPT', 'LOAD', source])));
}

function hasFinallyFailed(error: unknown): boolean {
  return failureOf(error) === 'refused';
}

async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), Math.max(ms, 1));
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
