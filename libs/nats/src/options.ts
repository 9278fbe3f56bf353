/** What a NATS backplane can be told, checked. */
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { SseChannelsError } from '@sse-channels/protocol';

/** The largest delay of a timer. */
const MAX_TIMER_MS = 2_147_483_647;
const PREFIX = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}$/;
const DOMAIN = /^[A-Za-z0-9_-]{1,64}$/;

export interface NatsBackplaneOptions {
  /** Where NATS is; several of a cluster. @default 'localhost:4222' */
  readonly servers?: string | readonly string[];
  /** Credentials, TLS and whatever else NATS's client takes; it reconnects for ever whatever is said here. */
  readonly connection?: Omit<NodeConnectionOptions, 'servers' | 'reconnect' | 'maxReconnectAttempts'>;
  /**
   * The log space: what its subjects start with, and the name of its stream (a `.` becomes a `-`). Processes with one prefix share
   * their logs. Letters, digits, `-`, `_`, and `.` between them. @default 'sse'
   */
  readonly prefix?: string;
  /** The JetStream domain, where the servers have one. @default null, none */
  readonly domain?: string | null;
  /** On how many servers of a cluster each record is kept: 1, 3 or 5. @default 1 */
  readonly replicas?: number;
  /** Where the stream lies; with `memory` it is gone when its servers are. @default 'file' */
  readonly storage?: 'file' | 'memory';
  /** Records of this age are removed, whatever their channel asks for, in milliseconds. @default 86_400_000, a day */
  readonly maxAgeMs?: number;
  /** More records of one topic are not kept, whatever its channel asks for. @default 10_000 */
  readonly maxEventsPerTopic?: number;
  /** What the whole stream may hold in bytes, the oldest records are removed first; null: as much as the servers allow. @default null */
  readonly maxBytes?: number | null;
  /**
   * How long JetStream remembers the id of each append, in milliseconds: as long `idempotencyKey` works. It costs the server memory
   * for each append within that time; see docs/nats.md. @default 600_000
   */
  readonly duplicateWindowMs?: number;
  /** How long an append is tried, in milliseconds. @default 10_000 */
  readonly appendTimeoutMs?: number;
  /** How long a read waits for NATS, in milliseconds. @default 5_000 */
  readonly readTimeoutMs?: number;
  /** How often the heads of the followed topics are compared with what came live, in milliseconds. @default 15_000 */
  readonly sweepMs?: number;
  /** How long a topic is followed on after its last reader left, in milliseconds. @default 15_000 */
  readonly lingerMs?: number;
}

/** With every default filled in. */
export interface CheckedOptions extends Required<Omit<NatsBackplaneOptions, 'servers'>> {
  readonly servers: string[];
}

const NAMES = new Set<string>([
  'servers',
  'connection',
  'prefix',
  'domain',
  'replicas',
  'storage',
  'maxAgeMs',
  'maxEventsPerTopic',
  'maxBytes',
  'duplicateWindowMs',
  'appendTimeoutMs',
  'readTimeoutMs',
  'sweepMs',
  'lingerMs',
] satisfies Array<keyof NatsBackplaneOptions>);

/** @throws SseChannelsError `INVALID_OPTION` for an option that is unknown or out of range */
export function checkOptions(options: NatsBackplaneOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw refuse('takes an object of options.');
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) throw refuse(`has no option "${name}"; there are ${[...NAMES].join(', ')}.`);
  }
  const servers =
    typeof options.servers === 'string' ? [options.servers] : [...(options.servers ?? ['localhost:4222'])];
  if (servers.length === 0 || servers.some((server) => typeof server !== 'string' || server === '')) {
    throw refuse('option "servers" takes an address, or several, such as "nats://localhost:4222".');
  }
  const prefix = options.prefix ?? 'sse';
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) {
    throw refuse(
      `option "prefix" is ${JSON.stringify(prefix)}; it takes letters, digits, "-" and "_", up to 64, and several such with "." between.`,
    );
  }
  const domain = options.domain ?? null;
  if (domain !== null && !DOMAIN.test(domain))
    throw refuse(`option "domain" is ${JSON.stringify(domain)}, no JetStream domain.`);
  const replicas = options.replicas ?? 1;
  if (![1, 2, 3, 4, 5].includes(replicas))
    throw refuse(`option "replicas" is ${String(replicas)}; it takes 1, 3 or 5.`);
  const storage = options.storage ?? 'file';
  if (storage !== 'file' && storage !== 'memory') {
    throw refuse(`option "storage" is ${JSON.stringify(storage)}; it takes "file" or "memory".`);
  }
  const { maxBytes = null } = options;
  if (maxBytes !== null) whole('maxBytes', maxBytes, 65_536, Number.MAX_SAFE_INTEGER);
  return {
    servers,
    connection: options.connection ?? {},
    prefix,
    domain,
    replicas,
    storage,
    maxBytes,
    maxAgeMs: whole('maxAgeMs', options.maxAgeMs ?? 86_400_000, 1_000, 31_536_000_000),
    maxEventsPerTopic: whole('maxEventsPerTopic', options.maxEventsPerTopic ?? 10_000, 1, 10_000_000),
    duplicateWindowMs: whole('duplicateWindowMs', options.duplicateWindowMs ?? 600_000, 1_000, 86_400_000),
    appendTimeoutMs: whole('appendTimeoutMs', options.appendTimeoutMs ?? 10_000, 1, MAX_TIMER_MS),
    readTimeoutMs: whole('readTimeoutMs', options.readTimeoutMs ?? 5_000, 1, MAX_TIMER_MS),
    sweepMs: whole('sweepMs', options.sweepMs ?? 15_000, 10, MAX_TIMER_MS),
    lingerMs: whole('lingerMs', options.lingerMs ?? 15_000, 0, MAX_TIMER_MS),
  };
}

function whole(name: keyof NatsBackplaneOptions, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw refuse(`option "${name}" takes a whole number from ${least} to ${most}, not ${String(value)}.`);
  }
  return value;
}

function refuse(why: string): SseChannelsError {
  return new SseChannelsError('INVALID_OPTION', `The NATS backplane ${why}`);
}
