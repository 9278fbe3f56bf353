/** The module's options: their defaults, and the check at boot. */
import { Channel, MAX_TIMER_MS, SseChannelsError } from '@sse-channels/protocol';
import type { Backplane } from '@sse-channels/engine';

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
  /**
   * How long peers have at shutdown to take what was already published, in milliseconds; then they are cut.
   * @default 1_000
   */
  drainGraceMs?: number;
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
  /** What keeps the logs. It is closed with the application. @default new MemoryBackplane() */
  backplane?: Backplane;
}

/** The options with every default filled in, but for those that are made anew for each application. */
export type SseChannelsSettings = Required<Omit<SseChannelsModuleOptions, 'channels' | 'backplane'>>;

export const DEFAULT_SETTINGS: SseChannelsSettings = Object.freeze({
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxConnectionAgeMs: null,
  writeDeadlineMs: 60_000,
  drainGraceMs: 1_000,
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

/** The range of each option that is a number. */
const RANGES = {
  heartbeatMs: [10, MAX_TIMER_MS],
  retryMs: [0, MAX_TIMER_MS],
  maxConnectionAgeMs: [1_000, Number.MAX_SAFE_INTEGER],
  writeDeadlineMs: [100, MAX_TIMER_MS],
  drainGraceMs: [0, MAX_TIMER_MS],
  flushWindowMs: [0, 10_000],
  maxBufferedBytes: [1_024, Number.MAX_SAFE_INTEGER],
} as const;

const UNKNOWN_PROPERTIES = ['reject', 'strip', 'keep'];
const OTHER_OPTIONS = ['unknownProperties', 'channels', 'backplane'];
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
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(RANGES, name) && !OTHER_OPTIONS.includes(name)) {
      throw refuse(`has no option "${name}"; it knows ${[...Object.keys(RANGES), ...OTHER_OPTIONS].join(', ')}.`);
    }
  }
  const { channels = [], backplane, ...rest } = options;
  checkChannels(channels, 'channels');
  if (backplane !== undefined && PORT.some((method) => typeof backplane?.[method] !== 'function')) {
    throw refuse(
      `needs backplane to have the methods ${PORT.join(', ')}; pass an instance of a backplane, or leave it out.`,
    );
  }
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const settings = { ...DEFAULT_SETTINGS, ...given } as SseChannelsSettings;
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value = settings[name as keyof typeof RANGES];
    if (value === null && name === 'maxConnectionAgeMs') continue;
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) continue;
    throw refuse(`needs ${name} to be a whole number from ${min} to ${max}, not ${String(value)}.`);
  }
  if (!UNKNOWN_PROPERTIES.includes(settings.unknownProperties)) {
    throw refuse(
      `needs unknownProperties to be one of ${UNKNOWN_PROPERTIES.join(', ')}, not ${settings.unknownProperties as string}.`,
    );
  }
  return settings;
}

/** @throws SseChannelsError `INVALID_OPTION` unless it is a list of channels */
export function checkChannels(channels: unknown, option: string): void {
  if (Array.isArray(channels) && channels.every((channel) => channel instanceof Channel)) return;
  throw refuse(`needs ${option} to be a list of channels; make them with defineChannel("orders/:orderId", { … }).`);
}

function refuse(why: string): SseChannelsError {
  return new SseChannelsError('INVALID_OPTION', `SseChannelsModule ${why}`);
}
