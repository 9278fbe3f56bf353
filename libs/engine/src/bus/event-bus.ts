/** The bus: where application code publishes events and listens to them. */
import {
  eventNameOf,
  formatCursor,
  parseCursor,
  SseChannelsError,
  Topic,
  type Channel,
  type Cursor,
  type EventInput,
  type EventInstance,
  type EventType,
  type GapReason,
  type Offset,
} from '@sse-channels/protocol';
import type { Subscriber } from 'rxjs';
import type { AppendOptions, Backplane, Draft } from '../backplane/backplane.js';
import type { ChannelRegistry } from '../channel/channel-registry.js';
import { unpackInstance, type EventCodec } from '../codec/event-codec.js';
import { EMPTY_DIRECTORY, type ConnectionDirectory } from '../directory/connection-directory.js';
import type { Observer } from '../observer/observer.js';
import type { History } from './delivery.js';
import { deliver, EventStream, type EventStreamSource } from './event-stream.js';
import { TokenBuckets } from './token-buckets.js';

/** The most events that one `topic.read()` answers. */
const MAX_READ = 10_000;
const MAX_KEY_LENGTH = 256;

/** What a bus is made of. */
export interface EventBusParts {
  readonly backplane: Backplane;
  readonly codec: EventCodec;
  readonly channels: ChannelRegistry;
  readonly observer: Observer;
  /** This node's connections, where it has any. */
  readonly connections?: ConnectionDirectory;
  /** The channel whose topics are of one principal each; it has one parameter. */
  readonly principalChannel?: Channel<any, any> | null;
}

/** Publishes and listens, on every topic and from every node. */
export class EventBus {
  /** The connections of this node: lists them, and ends some of them. */
  readonly connections: ConnectionDirectory;
  readonly #parts: EventBusParts;
  readonly #open = new Set<Subscriber<never>>();
  /** Topics with an event whose validator is still at work: what comes later waits behind it. */
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #buckets = new TokenBuckets();

  constructor(parts: EventBusParts) {
    this.#parts = parts;
    this.connections = parts.connections ?? EMPTY_DIRECTORY;
  }

  /**
   * Publishes one event: validates it once, appends it to the topic's log, and thereby sends it to every listener and
   * connection on every node. Events of one topic keep the order of the calls.
   * @param type the event's class or definition, with `data`; or alone an instance: of the class, or `definition.of(data)`
   * @returns the record's cursor, when the log has it
   * @throws rejects with EventValidationError listing every failed property; SseChannelsError `EVENT_NOT_DECLARED`,
   * `EVENT_NOT_SERIALIZABLE`, `EVENT_TOO_LARGE`, `INVALID_OPTION`, `CLOSED`; RateLimitError; or AppendError, which says whether the
   * event may be in the log after all
   */
  publish<E extends EventType, T extends E>(
    topic: Topic<string, E>,
    type: T,
    data: EventInput<T>,
    options?: PublishOptions,
  ): Promise<Cursor>;
  publish<E extends EventType>(topic: Topic<string, E>, event: EventInstance<E>): Promise<Cursor>;
  async publish(topic: Topic, ...args: [unknown] | [EventType, unknown, PublishOptions?]): Promise<Cursor> {
    const event: [unknown] | [EventType, unknown] = args.length === 1 ? args : [args[0], args[1]];
    const options = args[2] ?? {};
    checkOptions(options);
    return this.#inTurn(topic, this.#encode(topic, event), (draft) => {
      this.#take(topic, 1);
      return this.#append(topic, draft, options);
    });
  }

  /**
   * Publishes several events of one topic in their order. All are validated before the first is appended: when one is not
   * valid, or they are more than the topic takes now, none is sent.
   * @param options an `idempotencyKey` stands for all of them: each has the key with its number in the list
   * @returns their cursors
   * @throws as `publish`; when an append fails, those before it may be in the log
   */
  async publishMany<E extends EventType>(
    topic: Topic<string, E>,
    events: ReadonlyArray<EventInstance<E>>,
    options: PublishOptions = {},
  ): Promise<Cursor[]> {
    checkOptions(options);
    const { idempotencyKey } = options;
    const drafts = events.map((event) => {
      try {
        return this.#encode(topic, [event]);
      } catch (error) {
        // Not thrown here: the validators before it are still at work, and what they reject with must be heard.
        return Promise.reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
    const encoded = drafts.some((draft) => draft instanceof Promise)
      ? Promise.all(drafts.map((draft) => Promise.resolve(draft)))
      : (drafts as Draft[]);
    return this.#inTurn(topic, encoded, (all) => {
      this.#take(topic, all.length);
      return Promise.all(
        all.map((draft, index) =>
          this.#append(
            topic,
            draft,
            idempotencyKey === undefined ? {} : { idempotencyKey: `${idempotencyKey}/${index}` },
          ),
        ),
      );
    });
  }

  /** Events of a channel or a topic as they are published, on any node: an Observable of `{ topic, name, event, cursor }`. */
  stream<Pattern extends string, E extends EventType>(
    of: Channel<Pattern, E> | Topic<Pattern, E>,
  ): EventStream<E, Pattern> {
    this.#parts.channels.register(of instanceof Topic ? of.channel : of);
    return new EventStream(this.#source(), of);
  }

  /** A topic to work with: it publishes, streams and reads by itself, and is a topic everywhere a topic is taken. */
  topic<Pattern extends string, E extends EventType>(topic: Topic<Pattern, E>): BusTopic<Pattern, E> {
    return new BusTopic(this, topic);
  }

  /**
   * The topic of one principal, which every stream of a hub that is theirs carries, on every node: what is published there reaches all
   * of them, and who is away when they come back, as far as the log keeps it.
   * @param principal as the option `principal` names them
   * @throws SseChannelsError `INVALID_OPTION` where there is no `principalChannel`, `INVALID_TOPIC_PARAMETER` for an empty name or one
   * that is too large
   */
  toPrincipal(principal: string): BusTopic {
    const { principalChannel } = this.#parts;
    if (principalChannel == null) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        'toPrincipal needs to know the channel: SseChannelsModule.forRoot({ principalChannel: defineChannel("users/:user", { … }) }).',
      );
    }
    return this.topic(principalChannel.topic({ [onlyParameterOf(principalChannel)]: principal }) as Topic);
  }

  /** @internal the history of a topic; applications use `bus.topic(topic).read()` */
  async read<Pattern extends string, E extends EventType>(
    topic: Topic<Pattern, E>,
    { after, limit = 100 }: ReadOptions = {},
  ): Promise<History<E, Pattern>> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_READ) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        `read: limit must be a whole number from 1 to ${MAX_READ}, not ${String(limit)}.`,
      );
    }
    const { backplane, codec, channels } = this.#parts;
    channels.register(topic.channel);
    let start: Offset | null = null;
    let gap: GapReason | null = null;
    if (after != null) {
      const parts = parseCursor(after);
      if (parts?.epoch === backplane.epoch) start = parts.offset;
      else gap = parts === null ? 'invalid' : 'reset';
    }
    const page = await backplane.read(topic.name, start, limit);
    const cursorAt = (offset: Offset): Cursor => formatCursor(backplane.epoch, offset);
    return {
      events: page.records.flatMap((record) => deliver(topic, codec, record, cursorAt(record.offset)) ?? []),
      more: page.more,
      cursor: cursorAt(page.more ? (page.records.at(-1)?.offset ?? page.from) : page.head),
      gap: page.reason ?? gap,
    };
  }

  /** Completes all streams; the backplane is closed by whoever made it. */
  close(): void {
    for (const subscriber of this.#open) subscriber.complete();
    this.#buckets.close();
  }

  #source(): EventStreamSource {
    return { ...this.#parts, open: this.#open };
  }

  #encode(topic: Topic, event: [unknown] | [EventType, unknown]): Draft | Promise<Draft> {
    if (!(topic instanceof Topic)) {
      throw new SseChannelsError(
        'INVALID_TOPIC_PARAMETER',
        'publish needs a topic; make one with channel.topic({ … }).',
      );
    }
    this.#parts.channels.register(topic.channel);
    const { type, data } = event.length === 2 ? { type: event[0], data: event[1] } : unpackInstance(event[0]);
    const name = eventNameOf(type);
    const declared = topic.channel.eventNamed(name);
    if (declared !== type) {
      throw new SseChannelsError(
        'EVENT_NOT_DECLARED',
        declared === undefined
          ? `Event "${name}" is not declared on channel "${topic.channel.pattern}"; add it to "events".`
          : `Channel "${topic.channel.pattern}" declares another event by the name "${name}"; publish that one, or give yours a name of its own.`,
      );
    }
    return this.#parts.codec.encode(type, data);
  }

  /** Appends what is encoded at once, or after what came before it on this topic and is still being validated. */
  #inTurn<T, R>(topic: Topic, encoded: T | Promise<T>, append: (encoded: T) => Promise<R>): Promise<R> {
    const before = this.#busy.get(topic.name);
    if (before === undefined && !(encoded instanceof Promise)) return append(encoded);
    const appended = Promise.all([encoded, before]).then(([ready]) => append(ready));
    // One that is refused is over before those ahead of it; what comes later waits for them all the same.
    const settled = Promise.allSettled(before === undefined ? [appended] : [before, appended]).then(() => {
      if (this.#busy.get(topic.name) === settled) this.#busy.delete(topic.name);
    });
    this.#busy.set(topic.name, settled);
    return appended;
  }

  #take(topic: Topic, events: number): void {
    const { publishLimit } = topic.channel;
    if (publishLimit !== undefined) this.#buckets.take(topic.name, publishLimit, events);
  }

  async #append(topic: Topic, draft: Draft, options: AppendOptions): Promise<Cursor> {
    const cursor = await this.#parts.backplane.append(topic.name, draft, topic.channel.retention, options);
    this.#parts.observer.eventPublished?.(topic.name, draft.name);
    return cursor;
  }
}

/** The name of a channel's one parameter. */
function onlyParameterOf({ pattern }: Channel<any, any>): string {
  const parameter = (pattern as string).split('/').find((segment) => segment.startsWith(':')) ?? '';
  return parameter.slice(1);
}

/** What else `publish` takes. */
export interface PublishOptions {
  /**
   * Names what is being said, such as the id of the request or the database's event: published again to the topic within ten
   * minutes, from whatever node, it adds nothing and answers the first one's cursor. 1 to 256 characters.
   * @default none: each call is an event of its own
   */
  readonly idempotencyKey?: string;
}

function checkOptions({ idempotencyKey }: PublishOptions): void {
  if (idempotencyKey === undefined) return;
  if (typeof idempotencyKey === 'string' && idempotencyKey !== '' && idempotencyKey.length <= MAX_KEY_LENGTH) return;
  throw new SseChannelsError(
    'INVALID_OPTION',
    `publish: idempotencyKey must be a string of 1 to ${MAX_KEY_LENGTH} characters, not ${JSON.stringify(idempotencyKey)}.`,
  );
}

/** What `topic.read()` takes. */
export interface ReadOptions {
  /** Read after this cursor; null or absent: from the earliest record. */
  readonly after?: Cursor | null;
  /** At most so many events, from 1 to 10,000. @default 100 */
  readonly limit?: number;
}

/** A topic bound to the bus. */
export class BusTopic<Pattern extends string = string, E extends EventType = EventType> extends Topic<Pattern, E> {
  readonly #bus: EventBus;

  constructor(bus: EventBus, topic: Topic<Pattern, E>) {
    super(topic.channel, topic.name);
    this.#bus = bus;
  }

  /** As `bus.publish(topic, …)`. */
  publish<T extends E>(type: T, data: EventInput<T>, options?: PublishOptions): Promise<Cursor>;
  publish(event: EventInstance<E>): Promise<Cursor>;
  publish(...args: [unknown] | [EventType, unknown, PublishOptions?]): Promise<Cursor> {
    return this.#bus.publish(this as Topic, ...(args as [EventType, never, PublishOptions?]));
  }

  /** As `bus.stream(topic)`. */
  stream(): EventStream<E, Pattern> {
    return this.#bus.stream<Pattern, E>(this);
  }

  /**
   * The topic's history: the events after a cursor that the log still has, oldest first, with the reason when some may be
   * missing.
   * @throws rejects with SseChannelsError `INVALID_OPTION` for a limit out of range
   */
  read(options?: ReadOptions): Promise<History<E, Pattern>> {
    return this.#bus.read<Pattern, E>(this, options);
  }
}
