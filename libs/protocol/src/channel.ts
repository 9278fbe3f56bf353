/** Channels: a declared family of topics, the events that they may carry, and how much of them is kept. */
import { SseChannelsError } from './errors.js';
import { eventNameOf, type EventType } from './event.js';
import { TopicPattern, type ParamsOf } from './topic-pattern.js';

/** What a topic's log keeps; the first bound that is reached wins. */
export interface Retention {
  /** Newest records kept; 0 keeps none, so that a reconnect after any event is a gap. @default 1000 */
  readonly maxEvents: number;
  /** Records older than this many milliseconds are dropped, and an idle topic's memory after it. @default 300_000 */
  readonly maxAgeMs: number;
  /** Bytes of encoded data kept. @default 1_048_576 */
  readonly maxBytes: number;
}

/**
 * What becomes of a reader that does not take what it is given. `catch-up`: it is left behind by its cursor, and goes on from
 * there at its own pace, from the log. `latest`: when it reads again it is given the newest record of each event, and of each
 * key where the event declares one, after a `$gap` with the count of what was skipped. `disconnect`: it is ended as `slow`.
 */
export type SlowReaders = 'catch-up' | 'latest' | 'disconnect';

/** How far behind a reader may be that catches up; the first bound that is passed counts. */
export interface LagLimit {
  /** Records that it may be behind. @default no limit */
  readonly maxEvents?: number;
  /** Bytes of frames that it may be behind. @default no limit */
  readonly maxBytes?: number;
  /**
   * What happens then: `gap` skips to the newest record when the reader reads again, after a `$gap` with the count of what was
   * skipped; `disconnect` ends it as `slow` at once. What a client replays after a reconnect is no lag.
   * @default 'gap'
   */
  readonly exceeded?: 'gap' | 'disconnect';
}

/** How many events each topic of a channel takes from each node. */
export interface PublishLimit {
  /** Events a second in the long run, from 0.001 to 1,000,000. */
  readonly perSecond: number;
  /** Events at once, after a quiet time. @default `perSecond`, and at least 1 */
  readonly burst?: number;
}

/** What `defineChannel` takes. */
export interface ChannelOptions<E extends EventType> {
  /** The events that this channel's topics carry; at least one, each with a name of its own. */
  readonly events: readonly E[];
  /** How much of each topic is kept for replay. */
  readonly replay?: Partial<Retention>;
  /** The longest silence on this channel's streams, in milliseconds. @default the module's `heartbeatMs` */
  readonly heartbeatMs?: number;
  /** What clients wait before they reconnect, in milliseconds, jittered for each connection. @default the module's `retryMs` */
  readonly retryMs?: number;
  /** What becomes of a reader that does not keep up. @default 'catch-up' */
  readonly slowReaders?: SlowReaders;
  /** How far behind a reader may be that catches up. @default as far as the log reaches */
  readonly lagLimit?: LagLimit;
  /** How many events each of its topics takes; a publish of more rejects with `RATE_LIMITED`. @default no limit */
  readonly publishLimit?: PublishLimit;
  /**
   * Whether streams are sent as gzip to clients that accept it; each batch is compressed once for all of them. Leave it off where
   * one event may hold both a secret and text that a stranger chooses: the size of what is sent then tells of the secret
   * (CRIME, BREACH), as it may for channels of one principal. @default false
   */
  readonly compression?: boolean;
}

/** `topic()` takes no argument where the pattern has no parameter. */
type TopicArguments<Pattern extends string> = keyof ParamsOf<Pattern> extends never ? [] : [params: ParamsOf<Pattern>];

/** A declared family of topics; make one with `defineChannel`. */
export class Channel<Pattern extends string = string, E extends EventType = EventType> {
  readonly events: readonly E[];
  readonly retention: Retention;
  readonly heartbeatMs: number | undefined;
  readonly retryMs: number | undefined;
  readonly slowReaders: SlowReaders;
  readonly lagLimit: LagLimit | undefined;
  readonly publishLimit: Required<PublishLimit> | undefined;
  readonly compression: boolean;
  /** The pattern, parsed. */
  readonly topicPattern: TopicPattern;
  readonly #eventsByName = new Map<string, E>();

  /** @throws SseChannelsError `INVALID_CHANNEL`, `INVALID_OPTION`, `INVALID_EVENT_DEFINITION` */
  constructor(
    readonly pattern: Pattern,
    options: ChannelOptions<E>,
  ) {
    this.topicPattern = new TopicPattern(pattern);
    if (!Array.isArray(options?.events) || options.events.length === 0) {
      throw new SseChannelsError(
        'INVALID_CHANNEL',
        `Channel "${pattern}" declares no event; list at least one in "events".`,
      );
    }
    this.events = [...options.events];
    for (const type of this.events) {
      const name = eventNameOf(type);
      if (this.#eventsByName.has(name)) {
        throw new SseChannelsError(
          'INVALID_CHANNEL',
          `Channel "${pattern}" declares the event "${name}" twice; list it once, or rename one of the two.`,
        );
      }
      this.#eventsByName.set(name, type);
    }
    const { maxEvents = 1000, maxAgeMs = 300_000, maxBytes = 1_048_576 } = options.replay ?? {};
    this.retention = Object.freeze({
      maxEvents: this.#wholeNumber('replay.maxEvents', maxEvents, 0),
      maxAgeMs: this.#wholeNumber('replay.maxAgeMs', maxAgeMs, 1),
      maxBytes: this.#wholeNumber('replay.maxBytes', maxBytes, 0),
    });
    this.heartbeatMs =
      options.heartbeatMs === undefined
        ? undefined
        : this.#wholeNumber('heartbeatMs', options.heartbeatMs, 10, MAX_TIMER_MS);
    this.retryMs =
      options.retryMs === undefined ? undefined : this.#wholeNumber('retryMs', options.retryMs, 0, MAX_TIMER_MS);
    this.slowReaders = this.#oneOf('slowReaders', options.slowReaders ?? 'catch-up', SLOW_READERS);
    this.compression = this.#oneOf('compression', options.compression ?? false, [true, false]);
    this.lagLimit = options.lagLimit === undefined ? undefined : this.#lagLimit(options.lagLimit);
    this.publishLimit = options.publishLimit === undefined ? undefined : this.#publishLimit(options.publishLimit);
  }

  /**
   * The topic of these parameters.
   * @throws SseChannelsError `INVALID_TOPIC_PARAMETER`
   */
  topic(...[params]: TopicArguments<Pattern>): Topic<Pattern, E> {
    return new Topic(this, this.topicPattern.format(params ?? {}));
  }

  /** The topic of that name; null when it is not of this channel. */
  topicNamed(name: string): Topic<Pattern, E> | null {
    return this.topicPattern.parse(name) === null ? null : new Topic(this, name);
  }

  /** The declared event of that name, if there is one. */
  eventNamed(name: string): E | undefined {
    return this.#eventsByName.get(name);
  }

  #lagLimit({ maxEvents, maxBytes, exceeded = 'gap' }: LagLimit): LagLimit {
    if (this.slowReaders !== 'catch-up') {
      throw new SseChannelsError(
        'INVALID_OPTION',
        `Channel "${this.pattern}": lagLimit is for slowReaders "catch-up", not "${this.slowReaders}"; leave one of the two out.`,
      );
    }
    return Object.freeze({
      ...(maxEvents === undefined ? {} : { maxEvents: this.#wholeNumber('lagLimit.maxEvents', maxEvents, 0) }),
      ...(maxBytes === undefined ? {} : { maxBytes: this.#wholeNumber('lagLimit.maxBytes', maxBytes, 0) }),
      exceeded: this.#oneOf('lagLimit.exceeded', exceeded, ['gap', 'disconnect']),
    });
  }

  #publishLimit({ perSecond, burst = Math.ceil(perSecond) }: PublishLimit): Required<PublishLimit> {
    if (typeof perSecond !== 'number' || !(perSecond >= MIN_PER_SECOND && perSecond <= MAX_PER_SECOND)) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        `Channel "${this.pattern}": publishLimit.perSecond must be a number from ${MIN_PER_SECOND} to ${MAX_PER_SECOND}, not ${String(perSecond)}.`,
      );
    }
    return Object.freeze({
      perSecond,
      burst: this.#wholeNumber('publishLimit.burst', burst, 1),
    });
  }

  #oneOf<Value extends string | boolean>(option: string, value: Value, values: readonly Value[]): Value {
    if (values.includes(value)) return value;
    throw new SseChannelsError(
      'INVALID_OPTION',
      `Channel "${this.pattern}": ${option} must be one of ${values.join(', ')}, not ${value}.`,
    );
  }

  #wholeNumber(option: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new SseChannelsError(
      'INVALID_OPTION',
      `Channel "${this.pattern}": ${option} must be a whole number ${range}, not ${String(value)}.`,
    );
  }
}

const MIN_PER_SECOND = 0.001;
const MAX_PER_SECOND = 1_000_000;

const SLOW_READERS: readonly SlowReaders[] = ['catch-up', 'latest', 'disconnect'];

/** The longest delay that a JavaScript timer can wait. */
export const MAX_TIMER_MS = 2_147_483_647;

/** A channel with its parameters filled in: the unit of order, log and fan-out. */
export class Topic<Pattern extends string = string, E extends EventType = EventType> {
  constructor(
    readonly channel: Channel<Pattern, E>,
    /** The unambiguous name: `orders/42`; parameters are percent-encoded. */
    readonly name: string,
  ) {}

  /** The parameters, decoded; numbers come back as strings. */
  get params(): { readonly [Name in keyof ParamsOf<Pattern>]: string } {
    return this.channel.topicPattern.parse(this.name) as { [Name in keyof ParamsOf<Pattern>]: string };
  }

  toString(): string {
    return this.name;
  }
}

/**
 * Declares a channel: the contract between those who publish and those who listen.
 *
 * @example
 * export const ordersChannel = defineChannel('orders/:orderId', {
 *   events: [OrderPlaced, OrderShipped],
 *   replay: { maxEvents: 500, maxAgeMs: 3_600_000 },
 * });
 * @throws SseChannelsError `INVALID_CHANNEL`, `INVALID_OPTION`, `INVALID_EVENT_DEFINITION`
 */
export function defineChannel<const Pattern extends string, E extends EventType>(
  pattern: Pattern,
  options: ChannelOptions<E>,
): Channel<Pattern, E> {
  return new Channel(pattern, options);
}
