/** The hub: this node's connections and feeds, and the one turn in which what is new goes out to all of them. */
import { SseChannelsError, type Cursor, type EndReason, type ErrorData, type Topic } from '@sse-channels/protocol';
import type { Backplane, EventRecord } from '../backplane/backplane.js';
import type { ChannelRegistry } from '../channel/channel-registry.js';
import { Connection, type ConnectionOptions } from '../connection/connection.js';
import type { Sink } from '../connection/sink.js';
import type { Source } from '../connection/source.js';
import type { EventCodec } from '../codec/event-codec.js';
import type { Observer } from '../observer/observer.js';
import { Feed } from './feed.js';
import { Subscription, type StartPosition } from './subscription.js';
import { TopicSource } from './topic-source.js';

/** The timer that heartbeats and expiries share looks this often within the shortest heartbeat, and at least once a second. */
const LOOKS_PER_HEARTBEAT = 10;
const MIN_TICK_MS = 5;
const MAX_TICK_MS = 1_000;

/** What a hub is made of. */
export interface HubParts {
  readonly backplane: Backplane;
  readonly codec: EventCodec;
  readonly channels: ChannelRegistry;
  readonly observer: Observer;
  /** What a client may know of an error. */
  readonly describeError: (error: unknown) => ErrorData;
}

/** One topic of a connection. */
export interface TopicRequest {
  readonly topic: Topic;
  /** Where to begin when the client brings no cursor. @default 'latest' */
  readonly start?: StartPosition | undefined;
  /** Lets an event through to this connection only where it answers true. */
  readonly filter?: ((event: any) => boolean) | undefined;
}

/** What a node holds now; all zero when nothing is left. */
export interface HubSnapshot {
  readonly connections: number;
  readonly feeds: number;
  readonly subscriptions: number;
}

/** How a drain goes. */
export interface DrainOptions {
  /** How long peers have to take what was written before they are cut. */
  readonly graceMs: number;
  /** What a client is told to wait before it reconnects; called for each. */
  readonly retryMs: () => number;
}

export class Hub {
  readonly #parts: HubParts;
  readonly #connections = new Set<Connection>();
  /** Ended, but still sending what was written. */
  readonly #closing = new Set<Connection>();
  readonly #feeds = new Map<string, { readonly feed: Feed; subscriptions: number }>();
  readonly #news = new Set<Feed>();
  #flushing: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tickMs = MAX_TICK_MS;
  #draining = false;
  #drain: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(parts: HubParts) {
    this.#parts = parts;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Joins topics at a client's cursor. All that can be refused is refused here, before a byte is sent.
   * @param lastEventId the cursor that the client brought; null for a new one
   * @throws rejects with SseChannelsError `DRAINING`, `CHANNEL_CONFLICT`, or the backplane's error
   */
  async join(requests: readonly TopicRequest[], lastEventId: Cursor | null): Promise<TopicSource> {
    this.#assertOpen();
    for (const { topic } of requests) this.#parts.channels.register(topic.channel);
    const distinct = oncePerTopic(requests);
    const feeds = distinct.map(({ topic }) => this.#joinFeed(topic));
    const leave = (): void => {
      for (const feed of feeds) this.#leaveFeed(feed);
    };
    try {
      await Promise.all(feeds.map(({ ready }) => ready));
      const subscriptions = distinct.map(
        (request, index) =>
          new Subscription({
            feed: feeds[index] as Feed,
            start: request.start ?? 'latest',
            filter: this.#filterOf(request),
            onGap: (reason) => this.#parts.observer.gapTold?.(request.topic.name, reason),
            // A read in the background begins only after the source asked for it.
            onError: (error) => source.fail(error),
          }),
      );
      await Promise.all(subscriptions.map((subscription) => subscription.open(lastEventId)));
      this.#assertOpen();
      for (const { opened } of subscriptions) {
        if (opened.gap !== null) this.#parts.observer.gapTold?.(opened.topic, opened.gap);
      }
      const source = new TopicSource(subscriptions, leave);
      return source;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /**
   * Opens a connection: `$open` is written, and the source's frames follow.
   * @throws SseChannelsError `DRAINING`; the source is closed then
   */
  connect(source: Source, sink: Sink, options: ConnectionOptions): Connection {
    if (this.#draining) source.close();
    this.#assertOpen();
    const connection = new Connection(sink, source, options, {
      onEnd: (ended, reason, error) => this.#ended(ended, reason, error),
      onClose: (closed) => this.#closed(closed),
      describeError: this.#parts.describeError,
    });
    this.#connections.add(connection);
    this.#startTimer(options.heartbeatMs);
    this.#parts.observer.connectionOpened?.(connection.id);
    connection.open();
    return connection;
  }

  /** Ends all connections in order; new ones are refused from now on. Resolves when the last is closed. Once is enough. */
  drain(options: DrainOptions): Promise<void> {
    return (this.#drain ??= this.#endAll(options));
  }

  async #endAll({ graceMs, retryMs }: DrainOptions): Promise<void> {
    this.#draining = true;
    // What was published in this turn goes out before the end is told.
    this.#flush();
    for (const connection of this.#connections) connection.end('drained', { retryMs: retryMs() });
    if (this.#connections.size + this.#closing.size === 0) return;
    await new Promise<void>((resolve) => {
      const cut = setTimeout(() => {
        for (const connection of [...this.#connections, ...this.#closing]) connection.destroy();
        resolve();
      }, graceMs);
      this.#drained = () => {
        clearTimeout(cut);
        resolve();
      };
    });
  }

  snapshot(): HubSnapshot {
    let subscriptions = 0;
    for (const feed of this.#feeds.values()) subscriptions += feed.subscriptions;
    return { connections: this.#connections.size, feeds: this.#feeds.size, subscriptions };
  }

  #assertOpen(): void {
    if (this.#draining)
      throw new SseChannelsError('DRAINING', 'This server is shutting down; connect again to reach another.');
  }

  #joinFeed(topic: Topic): Feed {
    let entry = this.#feeds.get(topic.name);
    if (entry === undefined) {
      const feed = new Feed(topic, this.#parts.backplane, {
        onNews: (news) => this.#onNews(news),
        onGap: ({ topic: { name } }, reason) => this.#parts.observer.gapTold?.(name, reason),
        onError: (error, context) => this.#parts.observer.failed?.(error, context),
      });
      entry = { feed, subscriptions: 0 };
      this.#feeds.set(topic.name, entry);
    }
    entry.subscriptions += 1;
    return entry.feed;
  }

  #leaveFeed(feed: Feed): void {
    const entry = this.#feeds.get(feed.topic.name);
    if (entry?.feed !== feed) return;
    entry.subscriptions -= 1;
    if (entry.subscriptions > 0) return;
    this.#feeds.delete(feed.topic.name);
    this.#news.delete(feed);
    feed.end();
  }

  #filterOf({ topic, filter }: TopicRequest): ((record: EventRecord) => boolean) | null {
    if (filter === undefined) return null;
    const { codec } = this.#parts;
    return (record) => {
      const type = topic.channel.eventNamed(record.name);
      return type !== undefined && filter(codec.decode(type, record));
    };
  }

  #onNews(feed: Feed): void {
    this.#news.add(feed);
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  /** Moves every connection that has news, once for everything that this turn brought. */
  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const feeds = [...this.#news];
    this.#news.clear();
    for (const feed of feeds) {
      for (const wake of feed.wakers) wake();
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
