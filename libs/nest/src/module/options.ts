/** The module's options: their defaults, and the check at boot. */
import { Channel, MAX_TIMER_MS, SseChannelsError } from '@sse-channels/protocol';
import type { Backplane, CursorSealOptions, Observer } from '@sse-channels/engine';
import { hostname } from 'node:os';
import type { SseTicketsOptions } from '../ticket/sse-tickets.js';

export interface SseChannelsModuleOptions {
  /**
   * The longest silence on a stream, in milliseconds; a heartbeat is written when nothing else was. A channel may set its own.
   * @default 15_000
   */
  heartbeatMs?: number;
  /**
   * What clients wait before they reconnect, in milliseconds; each is told its own, from half to one and a half times this, so
   * that they do not come back together. A channel may set its own.
   * @default 3_000
   */
  retryMs?: number;
  /**
   * How long a connection may last, in milliseconds; up to a tenth less for each, so that they do not end together. The client
   * is told to come back. Null: as long as it likes.
   * @default null
   */
  maxConnectionAgeMs?: number | null;
  /**
   * How long bytes may wait for a peer that takes none of them, in milliseconds; then the connection ends as `slow`.
   * @default 60_000
   */
  writeDeadlineMs?: number;
  /** How the streams are ended when the application shuts down. */
  drain?: Partial<DrainSettings>;
  /** How many connections there may be; who comes later is refused with a status, nobody is put out. */
  limits?: Partial<Limits>;
  /**
   * Names whom a request is of, for limits and for `bus.connections`; null or undefined where nobody is known. Called after the
   * guards, with the framework's request.
   * @default `request.user`: itself where it is a string, else its `id` or `sub`
   */
  principal?: (request: any) => string | null | undefined;
  /**
   * How often a route's guards are run again while its streams are open, in milliseconds; a stream that they refuse is ended as
   * `revoked`. A route may set its own. Null: never.
   * @default null
   */
  reauthorizeMs?: number | null;
  /**
   * The names that streams are served under: a request with another `Host` is answered 403. Against pages of strangers whose name
   * is made to point at this server (DNS rebinding). Without a port a name holds for all ports. Null: any.
   * @default null
   */
  allowedHosts?: readonly string[] | null;
  /** The origins that may open streams; a request whose `Origin` is another is answered 403. Null: any. @default null */
  allowedOrigins?: readonly string[] | null;
  /**
   * How long events are gathered before they go out, in milliseconds: fewer and larger writes for more latency. With 0 they go
   * out at the end of the turn of the event loop, and under load gather by themselves.
   * @default 0
   */
  flushWindowMs?: number;
  /**
   * How many bytes an Observable of `@SseStream` may be ahead of its peer; more ends the connection as `slow`. An async iterable
   * is simply not asked for more.
   * @default 1_048_576
   */
  maxBufferedBytes?: number;
  /**
   * What happens to properties of an event that its class has no rule for: `reject` fails the publish and names them, `strip`
   * leaves them out, `keep` sends them. A class without any rule keeps all.
   * @default 'reject'
   */
  unknownProperties?: 'reject' | 'strip' | 'keep';
  /** Channels to make known at boot; feature modules use `forFeature`. @default [] */
  channels?: ReadonlyArray<Channel<any, any>>;
  /**
   * The channel of what concerns one principal and nobody else: its one parameter is the principal. Every stream of a hub carries its
   * principal's topic besides, and counts it as one of its own; `bus.toPrincipal(user)` publishes there. It needs no route.
   * @default none
   */
  principalChannel?: Channel<any, any> | null;
  /**
   * Signs the cursors of channels, so that a client cannot make one, nor come with that of another topic or principal: it is a gap
   * with the reason `invalid`. Turning it on, and changing `bindTo`, is such a gap for all who are connected; a new secret before
   * the old one is not.
   * @default cursors are not signed
   */
  cursor?: CursorSealOptions;
  /** Makes single-use tickets, for `SseTickets`. @default none are made or taken */
  tickets?: SseTicketsOptions;
  /** What other nodes know of this one, where the backplane is shared; see `bus.connections.everywhere`. */
  node?: Partial<NodeSettings>;
  /**
   * Told of everything that happens beside Nest's log and `SseChannelsMetrics`: connections, gaps, failures, the backplane's state. For
   * traces, or the metrics library of the application. What it throws is not caught.
   * @default none
   */
  observer?: Observer;
  /** What keeps the logs. It is closed with the application. @default new MemoryBackplane() */
  backplane?: Backplane;
}

/** How the streams are ended when the application shuts down. New ones are refused with 503 from its beginning. */
export interface DrainSettings {
  /**
   * How long open streams stay as they are at first, in milliseconds, while `SseChannelsHealth` says that this server is not
   * ready: balancers need a moment to hear of it.
   * @default 0
   */
  noticeMs: number;
  /**
   * Over how long the ends are spread, in milliseconds, so that the clients do not reach the next server all at once; at most
   * 5 ms for each connection. What clients are told to wait is spread as widely.
   * @default 5_000
   */
  windowMs: number;
  /** How long peers have after that to take what was already published, in milliseconds; then they are cut. @default 1_000 */
  graceMs: number;
}

/** What other nodes know of this one. */
export interface NodeSettings {
  /** Its name for people: in `bus.connections.everywhere` and in logs. @default the host's name and the process's id */
  name: string;
  /**
   * How long this node counts as there when it says nothing, in milliseconds: so long after it was killed its connections are still
   * counted. It says three times as often that it is there. The same on all nodes.
   * @default 15_000
   */
  leaseMs: number;
}

/** How many there may be; null is no limit. */
export interface Limits {
  /** Connections in all, on this node. Beyond: 503 with `Retry-After`. @default 50_000 */
  connections: number | null;
  /** Connections of one principal, on this node, or with `acrossNodes` on all. Beyond: 429 with `Retry-After`. @default 100 */
  perPrincipal: number | null;
  /**
   * Connections of one address, on this node, or with `acrossNodes` on all. Beyond: 429 with `Retry-After`. Behind a proxy all have its address, unless the
   * framework is told to trust it (`trust proxy`, `trustProxy`).
   * @default null
   */
  perAddress: number | null;
  /** Connections to one topic, on this node. Beyond: 429 with `Retry-After`. @default null */
  perTopic: number | null;
  /** Topics of one connection. Beyond: 400; a hub refuses what is beyond topic by topic. @default 100 */
  topicsPerConnection: number | null;
  /** Bytes of one event's JSON. Beyond: the publish rejects with `EVENT_TOO_LARGE`, a stream fails. @default 1_048_576 */
  eventBytes: number | null;
  /**
   * Records of one topic that a client is replayed that resumes. One that is further behind begins with the last so many, after a
   * `$gap` with the reason `trimmed`.
   * @default 10_000
   */
  replayEvents: number | null;
  /**
   * Whether `perPrincipal` and `perAddress` hold for all nodes that share the backplane together. What others have is known as of
   * about a second ago, so that who connects to several nodes at the very same time can get past; nobody is refused for the
   * connections of a node that is gone for longer than its lease. The same on all nodes.
   * @default false, each node counts its own
   */
  acrossNodes: boolean;
}

/** The options with every default filled in, but for secrets and those that are made anew for each application. */
export type SseChannelsSettings = Required<
  Omit<
    SseChannelsModuleOptions,
    'channels' | 'backplane' | 'observer' | 'cursor' | 'drain' | 'limits' | 'node' | 'principal' | 'tickets'
  >
> & {
  readonly drain: Readonly<DrainSettings>;
  readonly limits: Readonly<Limits>;
  readonly node: Readonly<NodeSettings>;
  readonly principal: (request: unknown) => string | null;
};

export const DEFAULT_SETTINGS: SseChannelsSettings = Object.freeze({
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxConnectionAgeMs: null,
  writeDeadlineMs: 60_000,
  drain: Object.freeze({ noticeMs: 0, windowMs: 5_000, graceMs: 1_000 }),
  limits: Object.freeze({
    connections: 50_000,
    perPrincipal: 100,
    perAddress: null,
    perTopic: null,
    topicsPerConnection: 100,
    eventBytes: 1_048_576,
    replayEvents: 10_000,
    acrossNodes: false,
  }),
  node: Object.freeze({ name: `${hostname()}:${process.pid}`, leaseMs: 15_000 }),
  principal: userOf,
  principalChannel: null,
  reauthorizeMs: null,
  allowedHosts: null,
  allowedOrigins: null,
  flushWindowMs: 0,
  maxBufferedBytes: 1_048_576,
  unknownProperties: 'reject',
});

/** The injection token of `SseChannelsSettings`. */
export const SSE_CHANNELS_SETTINGS = Symbol.for('@sse-channels/settings');
/** The injection token of the backplane. */
export const SSE_CHANNELS_BACKPLANE = Symbol.for('@sse-channels/backplane');
/** The injection token of the observer. */
export const SSE_CHANNELS_OBSERVER = Symbol.for('@sse-channels/observer');

/** The range of each option that is a number; with `null` where there may be none. */
type Range = readonly [min: number, max: number, none?: null];

const RANGES: Readonly<Record<string, Range>> = {
  heartbeatMs: [10, MAX_TIMER_MS],
  retryMs: [0, MAX_TIMER_MS],
  maxConnectionAgeMs: [1_000, Number.MAX_SAFE_INTEGER, null],
  writeDeadlineMs: [100, MAX_TIMER_MS],
  flushWindowMs: [0, 10_000],
  maxBufferedBytes: [1_024, Number.MAX_SAFE_INTEGER],
  reauthorizeMs: [100, MAX_TIMER_MS, null],
};
/** The same of the options that are groups, which are numbers but for a few. */
const GROUPS: Readonly<Record<'drain' | 'limits' | 'node', Readonly<Record<string, Range>>>> = {
  drain: { noticeMs: [0, MAX_TIMER_MS], windowMs: [0, MAX_TIMER_MS], graceMs: [0, MAX_TIMER_MS] },
  limits: {
    connections: [1, Number.MAX_SAFE_INTEGER, null],
    perPrincipal: [1, Number.MAX_SAFE_INTEGER, null],
    perAddress: [1, Number.MAX_SAFE_INTEGER, null],
    perTopic: [1, Number.MAX_SAFE_INTEGER, null],
    topicsPerConnection: [1, Number.MAX_SAFE_INTEGER, null],
    eventBytes: [1, Number.MAX_SAFE_INTEGER, null],
    replayEvents: [1, Number.MAX_SAFE_INTEGER, null],
  },
  node: { leaseMs: [1_000, 600_000] },
};
const OTHERS_OF_GROUPS = { drain: [], limits: ['acrossNodes'], node: ['name'] } as const;

const UNKNOWN_PROPERTIES = ['reject', 'strip', 'keep'];
const BIND_TO = ['topic', 'principal'];
const CURSOR_OPTIONS = ['secret', 'bindTo'];
const TICKET_OPTIONS = ['secret', 'ttlMs'];
/** Within the time for which the log knows an idempotency key. */
const TICKET_RANGES: Readonly<Record<string, Range>> = { ttlMs: [1_000, 300_000] };
const MIN_SECRET_BYTES = 32;
const MAX_NODE_NAME = 255;
const OTHER_OPTIONS = [
  'allowedHosts',
  'allowedOrigins',
  'principal',
  'principalChannel',
  'unknownProperties',
  'channels',
  'backplane',
  'observer',
  'cursor',
  'tickets',
];
const ALL_OPTIONS = [...Object.keys(RANGES), ...Object.keys(GROUPS), ...OTHER_OPTIONS];
/** The methods of a backplane. */
const PORT = ['ready', 'append', 'read', 'tail', 'close'] as const;

/**
 * Fills in the defaults.
 * @throws SseChannelsError `INVALID_OPTION` for an option that is unknown or out of range
 */
export function resolveSettings(options: SseChannelsModuleOptions): SseChannelsSettings {
  if (typeof options !== 'object' || options === null) {
    throw refuse(`needs an object of options, not ${String(options)}; does the factory return one?`);
  }
  checkNames(options, ALL_OPTIONS, '');
  const { channels = [], backplane, observer, cursor, tickets, drain, limits, node, principal, ...rest } = options;
  checkChannels(channels, 'channels');
  if (cursor !== undefined) checkCursor(cursor);
  if (tickets !== undefined) checkTickets(tickets);
  if (backplane !== undefined && PORT.some((method) => typeof backplane?.[method] !== 'function')) {
    throw refuse(
      `needs backplane to have the methods ${PORT.join(', ')}; pass an instance of a backplane, or leave it out.`,
    );
  }
  if (observer !== undefined && (typeof observer !== 'object' || observer === null)) {
    throw refuse(
      'needs observer to be an object with methods of an Observer, such as { failed(error, context) { … } }.',
    );
  }
  if (principal !== undefined && typeof principal !== 'function') {
    throw refuse('needs principal to be a function of the request, such as (request) => request.user?.id.');
  }
  checkPrincipalChannel(options.principalChannel);
  const settings = {
    ...DEFAULT_SETTINGS,
    ...given(rest),
    ...(principal === undefined ? {} : { principal: (request: unknown) => principal(request) ?? null }),
    drain: group('drain', drain),
    limits: group('limits', limits),
    node: group('node', node),
  } as SseChannelsSettings;
  checkNumbers(settings, RANGES, '');
  const { acrossNodes } = settings.limits;
  if (typeof acrossNodes !== 'boolean') {
    throw refuse(`needs limits.acrossNodes to be true or false, not ${JSON.stringify(acrossNodes)}.`);
  }
  const { name } = settings.node;
  if (typeof name !== 'string' || name === '' || name.length > MAX_NODE_NAME) {
    throw refuse(`needs node.name to be a text of 1 to ${MAX_NODE_NAME} characters, not ${JSON.stringify(name)}.`);
  }
  if (!UNKNOWN_PROPERTIES.includes(settings.unknownProperties)) {
    throw refuse(
      `needs unknownProperties to be one of ${UNKNOWN_PROPERTIES.join(', ')}, not ${settings.unknownProperties as string}.`,
    );
  }
  return {
    ...settings,
    allowedHosts: hostsOf(settings.allowedHosts),
    allowedOrigins: originsOf(settings.allowedOrigins),
  };
}

function group<Name extends keyof typeof GROUPS>(name: Name, options: unknown): SseChannelsSettings[Name] {
  const { [name]: ranges } = GROUPS;
  if (options === undefined) return DEFAULT_SETTINGS[name];
  if (typeof options !== 'object' || options === null) {
    throw refuse(`needs ${name} to be an object of options, not ${JSON.stringify(options)}.`);
  }
  checkNames(options, [...Object.keys(ranges), ...OTHERS_OF_GROUPS[name]], `${name}.`);
  const settings = { ...DEFAULT_SETTINGS[name], ...given(options) };
  checkNumbers(settings, ranges, `${name}.`);
  return settings;
}

/** Without what is undefined: that stands for the default. */
function given(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function checkNames(options: object, known: readonly string[], prefix: string): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw refuse(`has no option "${prefix}${name}"; it knows ${known.join(', ')}.`);
  }
}

function checkNumbers(
  settings: Readonly<Record<string, unknown>>,
  ranges: Readonly<Record<string, Range>>,
  prefix: string,
): void {
  for (const [name, [min, max, none]] of Object.entries(ranges)) {
    const value = settings[name];
    if (value === null && none === null) continue;
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) continue;
    throw refuse(`needs ${prefix}${name} to be a whole number from ${min} to ${max}, not ${String(value)}.`);
  }
}

/** Host names, with or without a port, in lower case as they are compared. */
function hostsOf(hosts: unknown): readonly string[] | null {
  return listOf(hosts, 'allowedHosts', 'a host such as "api.example.com" or "localhost:3000"', (host) => {
    const url = `http://${host}/`;
    return URL.canParse(url) && new URL(url).pathname === '/' && !/[/@?#]/.test(host) ? host.toLowerCase() : null;
  });
}

/** Origins as browsers write them: https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin. */
function originsOf(origins: unknown): readonly string[] | null {
  return listOf(origins, 'allowedOrigins', 'an origin such as "https://shop.example.com"', (origin) =>
    URL.canParse(origin) && new URL(origin).origin === origin ? origin : null,
  );
}

function listOf(
  values: unknown,
  option: string,
  what: string,
  read: (value: string) => string | null,
): readonly string[] | null {
  if (values === null) return null;
  if (!Array.isArray(values)) throw refuse(`needs ${option} to be a list or null, not ${JSON.stringify(values)}.`);
  return values.map((value: unknown) => {
    const entry = typeof value === 'string' ? read(value) : null;
    if (entry === null) throw refuse(`needs each of ${option} to be ${what}, not ${JSON.stringify(value)}.`);
    return entry;
  });
}

/** What passport and most guards leave on the request. */
function userOf(request: unknown): string | null {
  const { user } = (request ?? {}) as { readonly user?: unknown };
  if (typeof user === 'string') return user;
  if (typeof user !== 'object' || user === null) return null;
  const { id, sub } = user as { readonly id?: unknown; readonly sub?: unknown };
  const name = id ?? sub;
  return typeof name === 'string' || typeof name === 'number' ? String(name) : null;
}

/** @throws SseChannelsError `INVALID_OPTION` unless it is a list of channels */
export function checkChannels(channels: unknown, option: string): void {
  if (Array.isArray(channels) && channels.every((channel) => channel instanceof Channel)) return;
  throw refuse(`needs ${option} to be a list of channels; make them with defineChannel("orders/:orderId", { … }).`);
}

function checkPrincipalChannel(channel: unknown): void {
  if (channel == null) return;
  if (!(channel instanceof Channel)) {
    throw refuse('needs principalChannel to be a channel; make it with defineChannel("users/:user", { … }).');
  }
  const { pattern } = channel as Channel;
  if (pattern.split('/').filter((segment) => segment.startsWith(':')).length !== 1) {
    throw refuse(
      `needs principalChannel to have one parameter, the principal, as in "users/:user"; "${pattern}" has not.`,
    );
  }
}

/** What is wrong is named without the secret: the message ends in a log. */
function checkCursor(cursor: CursorSealOptions): void {
  if (typeof cursor !== 'object' || cursor === null) {
    throw refuse('needs cursor to be an object: { secret }, or { secret, bindTo }.');
  }
  checkNames(cursor, CURSOR_OPTIONS, 'cursor.');
  const { secret, bindTo = 'topic' } = cursor;
  checkSecret(secret, 'cursor.secret');
  if (!BIND_TO.includes(bindTo)) {
    throw refuse(`needs cursor.bindTo to be one of ${BIND_TO.join(', ')}, not ${bindTo as string}.`);
  }
}

function checkTickets(tickets: SseTicketsOptions): void {
  if (typeof tickets !== 'object' || tickets === null) {
    throw refuse('needs tickets to be an object: { secret }, or { secret, ttlMs }.');
  }
  checkNames(tickets, TICKET_OPTIONS, 'tickets.');
  checkSecret(tickets.secret, 'tickets.secret');
  if (tickets.ttlMs !== undefined) checkNumbers({ ttlMs: tickets.ttlMs }, TICKET_RANGES, 'tickets.');
}

function checkSecret(secret: unknown, name: string): void {
  const secrets: readonly unknown[] = Array.isArray(secret) ? secret : [secret];
  if (secrets.length === 0 || secrets.some((one) => typeof one !== 'string')) {
    throw refuse(`needs ${name} to be a string, or a list of at least one.`);
  }
  const short = (secrets as string[]).findIndex((one) => Buffer.byteLength(one) < MIN_SECRET_BYTES);
  if (short === -1) return;
  const which = Array.isArray(secret) ? `${name}[${short}]` : name;
  throw refuse(
    `needs ${which} to have at least ${MIN_SECRET_BYTES} bytes, not ${Buffer.byteLength(secrets[short] as string)}; make one with: openssl rand -base64 32`,
  );
}

function refuse(why: string): SseChannelsError {
  return new SseChannelsError('INVALID_OPTION', `SseChannelsModule ${why}`);
}
