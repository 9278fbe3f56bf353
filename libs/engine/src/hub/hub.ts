/** The hub: this node's connections and feeds, and the one turn in which what is new goes out to all of them. */
import {
  LimitError,
  SseChannelsError,
  type Cursor,
  type EndReason,
  type ErrorData,
  type Topic,
} from '@sse-channels/protocol';
import type { Backplane } from '../backplane/backplane.js';
import type { ChannelRegistry } from '../channel/channel-registry.js';
import { Connection, type ConnectionListener, type ConnectionOptions } from '../connection/connection.js';
import { Connections } from '../connection/connections.js';
import type { Grant } from '../connection/grant.js';
import type { Sink } from '../connection/sink.js';
import type { Source } from '../connection/source.js';
import type { EventCodec } from '../codec/event-codec.js';
import type { Observer } from '../observer/observer.js';
import type { CursorSeal } from './cursor-seal.js';
import { Feed, type FeedListener } from './feed.js';
import type { FrameForm } from './frame-ring.js';
import { Pass } from './pass.js';
import { Subscription, type StartPosition, type SubscriptionView } from './subscription.js';
import { TopicSets } from './topic-set.js';
import { TopicSource, type Opening } from './topic-source.js';

/** The timer that heartbeats and expiries share looks this often within the shortest heartbeat, and at least once a second. */
const LOOKS_PER_HEARTBEAT = 10;
const MIN_TICK_MS = 5;
const MAX_TICK_MS = 1_000;

/** How many connections are moved before other work has its turn: a millisecond or two, most of it the kernel's. */
const WRITES_PER_TURN = 256;
/** How many of them may be of one feed while others wait. */
const WRITES_PER_FEED = 64;

/** A drain ends some connections at a time, and takes no longer for each than this. */
const END_STEP_MS = 20;
const MAX_MS_PER_END = 5;

/** What a hub is made of. */
export interface HubParts {
  readonly backplane: Backplane;
  readonly codec: EventCodec;
  readonly channels: ChannelRegistry;
  readonly observer: Observer;
  /** What a client may know of an error. */
  readonly describeError: (error: unknown) => ErrorData;
  /** How long events are gathered before they go out, in milliseconds. @default 0, the end of the turn */
  readonly flushWindowMs?: number;
  /** This node's connections. */
  readonly connections?: Connections;
  /** The most subscriptions of one topic, and topics of one connection; null is no limit. @default no limits */
  readonly limits?: TopicLimits;
  /** Signs cursors. @default they are not signed */
  readonly seal?: CursorSeal;
}

/** Limits that are about topics; null is no limit. */
export interface TopicLimits {
  readonly perTopic: number | null;
  readonly topicsPerConnection: number | null;
  /** The most records of a topic that a client is replayed that resumes. @default null */
  readonly replayEvents?: number | null;
}

const NO_LIMITS: TopicLimits = { perTopic: null, topicsPerConnection: null };

/** Whose connection joins, and how. */
export interface JoinOptions {
  /** Whom cursors are bound to, where they are bound to principals; null where nobody is known. @default null */
  readonly principal?: string | null;
  /** How events name their topic. @default 'plain' */
  readonly form?: FrameForm;
}

/** What is said in place of a cursor that was not signed here: no cursor at all. */
const UNSEALED: Cursor = '';

/** One topic of a connection. */
export interface TopicRequest {
  readonly topic: Topic;
  /** Where to begin when the client brings no cursor. @default 'latest' */
  readonly start?: StartPosition | undefined;
  /** Lets an event through to this connection only where it answers true. */
  readonly filter?: ((event: any) => boolean) | undefined;
  /** The client's cursor for this topic alone, signed where cursors are; null: it has none. @default the stream's */
  readonly lastEventId?: Cursor | null | undefined;
}

/** What a node holds now; all zero when nothing is left. */
export interface HubSnapshot {
  readonly connections: number;
  readonly feeds: number;
  readonly subscriptions: number;
}

/** How a drain goes. */
export interface DrainOptions {
  /**
   * How long streams stay as they are before the first is ended, in milliseconds: balancers that ask whether this server is ready
   * hear that it is not. @default 0
   */
  readonly noticeMs?: number;
  /**
   * Over how long the ends are spread, in milliseconds, so that clients do not all come back at once; shorter where there are few.
   * @default 0, all at once
   */
  readonly windowMs?: number;
  /** How long peers have to take what was written before they are cut. */
  readonly graceMs: number;
  /** What a client is told to wait before it reconnects; called for each. */
  readonly retryMs: () => number;
}

export class Hub {
  readonly #parts: HubParts;
  readonly #connections: Connections;
  /** Ended, but still sending what was written. */
  readonly #closing = new Set<Connection>();
  readonly #feeds = new Map<string, Feed>();
  /** Feeds whose news are going out. */
  readonly #passes = new Map<Feed, Pass>();
  /** What streams of several topics have in common. */
  readonly #sets = new TopicSets();
  #flushing: NodeJS.Immediate | undefined;
  #window: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tickMs = MAX_TICK_MS;
  #draining = false;
  #drain: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  /** One for all: a listener of its own for each connection or feed would be memory at rest. */
  readonly #connectionListener: ConnectionListener;
  readonly #feedListener: FeedListener;

  constructor(parts: HubParts) {
    this.#parts = parts;
    this.#connections = parts.connections ?? new Connections();
    this.#connectionListener = {
      onEnd: (ended, reason, error) => this.#ended(ended, reason, error),
      onClose: (closed) => this.#closed(closed),
      describeError: parts.describeError,
    };
    this.#feedListener = {
      onNews: (feed) => this.#onNews(feed),
      onGap: ({ topic: { name } }, reason) => parts.observer.gapTold?.(name, reason),
      onError: (error, context) => parts.observer.failed?.(error, context),
      onLeft: (feed) => this.#endFeed(feed),
    };
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @throws SseChannelsError `DRAINING` */
  assertOpen(): void {
    if (this.#draining)
      throw new SseChannelsError('DRAINING', 'This server is shutting down; connect again to reach another.');
  }

  /**
   * Joins topics at a client's cursor. All that can be refused is refused here, before a byte is sent.
   * @param lastEventId the cursor that the client brought, signed where cursors are; null for a new one
   * @throws rejects with SseChannelsError `DRAINING`, `CHANNEL_CONFLICT`, LimitError, or the backplane's error
   */
  async join(
    requests: readonly TopicRequest[],
    lastEventId: Cursor | null,
    options: JoinOptions = {},
  ): Promise<Source> {
    const subscriptions = await this.#subscribe(requests, lastEventId, options);
    const [only] = subscriptions;
    return only !== undefined && subscriptions.length === 1
      ? only
      : new TopicSource(subscriptions, this.#passes, this.#sets);
  }

  /**
   * Joins topics for a stream to which others may be added, or none for now. As `join` where they have no cursors of their own.
   * @throws as `join`
   */
  async joinMany(
    requests: readonly TopicRequest[],
    lastEventId: Cursor | null,
    options: JoinOptions = {},
  ): Promise<TopicSource> {
    const subscriptions = await this.#subscribe(requests, lastEventId, options);
    const apart = new Set(
      requests.filter((request) => request.lastEventId !== undefined).map(({ topic }) => topic.name),
    );
    return new TopicSource(
      subscriptions,
      this.#passes,
      this.#sets,
      new Set(subscriptions.filter(({ feed }) => apart.has(feed.topic.name))),
    );
  }

  /**
   * Adds a topic to a stream that is open, or gives one that it has again from an earlier place.
   * @param opening the frame that tells of it
   * @returns false where it has given no more of it than it would now, or is over
   * @throws as `join`
   */
  async add(
    source: TopicSource,
    request: TopicRequest,
    grant: Grant,
    opening: Opening,
    options: JoinOptions = {},
  ): Promise<boolean> {
    const most = this.#parts.limits?.topicsPerConnection ?? null;
    if (most !== null && source.size >= most && !source.has(request.topic.name))
      throw new LimitError('topicsPerConnection', most);
    const [subscription] = await this.#subscribe([request], null, options, source.has(request.topic.name));
    return subscription !== undefined && source.add(subscription, grant, opening);
  }

  async #subscribe(
    requests: readonly TopicRequest[],
    lastEventId: Cursor | null,
    { principal = null, form = 'plain' }: JoinOptions,
    /** It takes the place of one that counts already. */
    isReplacement = false,
  ): Promise<Subscription[]> {
    this.assertOpen();
    for (const { topic } of requests) this.#parts.channels.register(topic.channel);
    const distinct = requests.length === 1 ? requests : oncePerTopic(requests);
    if (!isReplacement) this.#assertRoom(distinct);
    const cursor = lastEventId === null ? null : this.#unseal(lastEventId, distinct, principal);
    const cursorOf = (request: TopicRequest): Cursor | null =>
      request.lastEventId == null
        ? request.lastEventId === null
          ? null
          : cursor
        : this.#unseal(request.lastEventId, [request], principal);
    const subscriptions = distinct.map(
      (request) => new Subscription(this.#joinFeed(request.topic), this.#viewOf(request, principal, form)),
    );
    try {
      const early = subscriptions.filter(({ feed }) => !feed.isLive);
      if (early.length > 0) await Promise.all(early.map(({ feed }) => feed.ready));
      // Most find their place in the ring, and read nothing.
      const reads = subscriptions
        .map((subscription, index) => {
          const request = distinct[index] as TopicRequest;
          return subscription.open(cursorOf(request), request.start ?? 'latest');
        })
        .filter((read) => read !== null);
      if (reads.length > 0) await Promise.all(reads);
      this.assertOpen();
    } catch (error) {
      for (const subscription of subscriptions) subscription.close();
      throw error;
    }
    for (const { topics } of subscriptions) {
      const [{ topic, gap }] = topics;
      if (gap !== null) this.#parts.observer.gapTold?.(topic, gap);
    }
    return subscriptions;
  }

  /**
   * Opens a connection: `$open` is written, and the source's frames follow.
   * @throws SseChannelsError `DRAINING`; the source is closed then
   */
  connect(source: Source, sink: Sink, options: ConnectionOptions): Connection {
    if (this.#draining) source.close();
    this.assertOpen();
    const connection = new Connection(sink, source, options, this.#connectionListener);
    this.#connections.add(connection, options.stream);
    this.#startTimer(Math.min(options.heartbeatMs, options.grant?.review?.everyMs ?? Infinity));
    this.#parts.observer.connectionOpened?.(connection.id);
    connection.open();
    return connection;
  }

  /** Ends all connections in order; new ones are refused from now on. Resolves when the last is closed. Once is enough. */
  drain(options: DrainOptions): Promise<void> {
    return (this.#drain ??= this.#endAll(options));
  }

  async #endAll({ noticeMs = 0, windowMs = 0, graceMs, retryMs }: DrainOptions): Promise<void> {
    this.#draining = true;
    if (noticeMs > 0) await this.#unlessEmpty(noticeMs);
    await this.#endSpread(windowMs, retryMs);
    await this.#unlessEmpty(graceMs);
    for (const connection of [...this.#connections, ...this.#closing]) connection.destroy();
  }

  /** Ends all connections, some at a time, in an order that has nothing to do with who came when. */
  async #endSpread(windowMs: number, retryMs: () => number): Promise<void> {
    const waiting = shuffled([...this.#connections]);
    const spreadMs = Math.min(windowMs, waiting.length * MAX_MS_PER_END);
    const count = waiting.length;
    const begin = performance.now();
    while (waiting.length > 0) {
      const passed = spreadMs === 0 ? 1 : Math.min(1, (performance.now() - begin + END_STEP_MS) / spreadMs);
      // What was published before goes out before the end is told: `drained` is an end after what is due.
      for (const connection of waiting.splice(Math.max(0, Math.floor(count * (1 - passed))))) {
        connection.end('drained', { retryMs: retryMs() });
      }
      if (waiting.length > 0) await this.#unlessEmpty(END_STEP_MS);
    }
  }

  /** Waits for so long, or until the last connection is closed. */
  async #unlessEmpty(ms: number): Promise<void> {
    if (this.#connections.size + this.#closing.size === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#drained = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  snapshot(): HubSnapshot {
    let subscriptions = 0;
    for (const feed of this.#feeds.values()) subscriptions += feed.subscriptions;
    return { connections: this.#connections.size, feeds: this.#feeds.size, subscriptions };
  }

  /** Whether a topic may have one subscription more. */
  hasRoom({ name }: Topic): boolean {
    const { perTopic } = this.#parts.limits ?? NO_LIMITS;
    return perTopic === null || (this.#feeds.get(name)?.subscriptions ?? 0) < perTopic;
  }

  #assertRoom(requests: readonly TopicRequest[]): void {
    const { perTopic, topicsPerConnection } = this.#parts.limits ?? NO_LIMITS;
    if (topicsPerConnection !== null && requests.length > topicsPerConnection) {
      throw new LimitError('topicsPerConnection', topicsPerConnection);
    }
    if (perTopic === null) return;
    for (const { topic } of requests) if (!this.hasRoom(topic)) throw new LimitError('perTopic', perTopic);
  }

  #joinFeed(topic: Topic): Feed {
    let feed = this.#feeds.get(topic.name);
    if (feed === undefined) {
      const { backplane, seal, limits } = this.#parts;
      const shared = seal?.bindTo === 'topic' ? seal : null;
      feed = new Feed(topic, backplane, this.#feedListener, shared, limits?.replayEvents ?? Infinity);
      this.#feeds.set(topic.name, feed);
    }
    feed.join();
    return feed;
  }

  #endFeed(feed: Feed): void {
    this.#feeds.delete(feed.topic.name);
    this.#passes.delete(feed);
    feed.end();
  }

  /** The server's cursor in what a client brought, which fits when it was signed for any topic of the stream, or for streams of several. */
  #unseal(lastEventId: Cursor, requests: readonly TopicRequest[], principal: string | null): Cursor {
    const { seal } = this.#parts;
    if (seal === undefined) return lastEventId;
    const topics = requests.map(({ topic }) => topic);
    return seal.open(lastEventId, topics, principal) ?? UNSEALED;
  }

  #viewOf({ topic, filter }: TopicRequest, principal: string | null, form: FrameForm): SubscriptionView | null {
    const { codec, seal } = this.#parts;
    const personal = seal?.bindTo === 'principal';
    if (filter === undefined && !personal && form === 'plain') return null;
    return {
      form,
      filter:
        filter === undefined
          ? null
          : (record) => {
              const type = topic.channel.eventNamed(record.name);
              return type !== undefined && filter(codec.decode(type, record));
            },
      seal: personal ? (cursor) => seal.seal(cursor, form === 'plain' ? topic : null, principal) : null,
    };
  }

  #onNews(feed: Feed): void {
    const pass = this.#passes.get(feed);
    if (pass === undefined) this.#passes.set(feed, new Pass(feed));
    else pass.onNews();
    if (this.#flushing !== undefined || this.#window !== undefined) return;
    const { flushWindowMs = 0 } = this.#parts;
    if (flushWindowMs === 0) {
      this.#flushSoon();
    } else {
      this.#window = setTimeout(() => {
        this.#window = undefined;
        this.#flush(WRITES_PER_TURN);
      }, flushWindowMs);
    }
  }

  #flushSoon(): void {
    this.#flushing = setImmediate(() => {
      this.#flushing = undefined;
      this.#flush(WRITES_PER_TURN);
    });
  }

  /**
   * Moves the connections that have news, each once for everything that came until its turn; a pass over many goes on in the next
   * turn of the event loop. All feeds take part in each, so that one with few connections does not wait for one with many.
   */
  #flush(writes: number): void {
    let left = writes;
    while (this.#passes.size > 0) {
      for (const [feed, pass] of this.#passes) {
        const moved = pass.move(WRITES_PER_FEED);
        if (moved < WRITES_PER_FEED) this.#passes.delete(feed);
        left -= moved;
        if (left <= 0 && this.#passes.size > 0) return this.#flushSoon();
      }
    }
  }

  #ended(connection: Connection, reason: EndReason, error: unknown): void {
    this.#connections.delete(connection);
    this.#closing.add(connection);
    if (this.#connections.size === 0) this.#stopTimer();
    const { observer } = this.#parts;
    if (reason === 'failed') observer.failed?.(error, `serving connection ${connection.id}`);
    observer.connectionEnded?.(connection.id, reason);
  }

  #closed(connection: Connection): void {
    this.#closing.delete(connection);
    if (this.#draining && this.#connections.size + this.#closing.size === 0) this.#drained?.();
  }

  #startTimer(heartbeatMs: number): void {
    const wanted = Math.min(MAX_TICK_MS, Math.max(MIN_TICK_MS, Math.floor(heartbeatMs / LOOKS_PER_HEARTBEAT)));
    if (this.#timer !== undefined && wanted >= this.#tickMs) return;
    clearInterval(this.#timer);
    this.#tickMs = wanted;
    this.#timer = setInterval(() => {
      const now = Date.now();
      for (const connection of this.#connections) connection.tick(now);
    }, wanted);
    this.#timer.unref();
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#tickMs = MAX_TICK_MS;
  }
}

/** A topic that is asked for twice is followed once, or each of its events would come twice; it passes what one of them lets pass. */
function oncePerTopic(requests: readonly TopicRequest[]): TopicRequest[] {
  const distinct = new Map<string, TopicRequest>();
  for (const request of requests) {
    const { name } = request.topic;
    const other = distinct.get(name);
    if (other === undefined) distinct.set(name, request);
    else distinct.set(name, { ...other, filter: either(other.filter, request.filter) });
  }
  return [...distinct.values()];
}

function either(one: TopicRequest['filter'], other: TopicRequest['filter']): TopicRequest['filter'] {
  return one === undefined || other === undefined ? undefined : (event) => one(event) || other(event);
}

/** In an order by chance. */
function shuffled<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other] as T, items[last] as T];
  }
  return items;
}
