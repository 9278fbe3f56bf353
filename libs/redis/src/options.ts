/** What a Redis backplane is told, checked when it is made. */
import type { RedisClientOptions } from '@redis/client';
import { SseChannelsError } from '@sse-channels/protocol';

/** Options of a connection, as the Redis client takes them: `username`, `password`, `database`, `socket: { tls, ca, … }`. */
export type RedisConnectionOptions = RedisClientOptions;

/** Where a server listens. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

/** Says under which address a server is reached from here, where the cluster or the sentinels name another one: behind NAT, for instance. */
export type RedisAddressMap = (address: RedisAddress) => RedisAddress;

export interface RedisClusterSubject {
  /** Some of the cluster's nodes; the others are found through them. */
  readonly nodes: readonly RedisAddress[];
  /** For the connections to all nodes: credentials, TLS. */
  readonly client?: RedisConnectionOptions | undefined;
  readonly addressMap?: RedisAddressMap | undefined;
}

export interface RedisSentinelSubject {
  /** The name under which the sentinels watch the primary. */
  readonly name: string;
  readonly sentinels: readonly RedisAddress[];
  /** For the connections to the primary. */
  readonly client?: RedisConnectionOptions | undefined;
  /** For the connections to the sentinels. */
  readonly sentinelClient?: RedisConnectionOptions | undefined;
  readonly addressMap?: RedisAddressMap | undefined;
}

export interface RedisBackplaneOptions {
  /** `redis://…`, `rediss://…` for TLS, or `unix:/…`. One of `url`, `client`, `cluster` and `sentinel`. */
  readonly url?: string | undefined;
  /** One server, by the options of the Redis client; may be beside `url`. */
  readonly client?: RedisConnectionOptions | undefined;
  /** A Redis Cluster; Redis 7.0 or later, for its sharded pub/sub. */
  readonly cluster?: RedisClusterSubject | undefined;
  /** The primary that sentinels name. */
  readonly sentinel?: RedisSentinelSubject | undefined;
  /** What the names of all keys and channels begin with, in braces: another one is another log space. @default 'sse' */
  readonly prefix?: string | undefined;
  /**
   * Into how many parts the log space is cut; all keys of a part live on one server. Must be the same on every node, and for as long as
   * the logs live. @default 1; 16 with `cluster`
   */
  readonly partitions?: number | undefined;
  /** How long an append is tried, in milliseconds; then it rejects. @default 10000 */
  readonly appendTimeoutMs?: number | undefined;
  /** How long a read or a new tail waits for a server that is away, in milliseconds. @default 5000 */
  readonly readTimeoutMs?: number | undefined;
  /** How many appends each partition's index keeps: how far back a channel's stream (of many topics) can be replayed. @default 100000 */
  readonly indexEvents?: number | undefined;
  /**
   * For how long a topic is remembered after its last event, in milliseconds. A reader that is older than that is told that events
   * may be missing. @default 86400000
   */
  readonly headTtlMs?: number | undefined;
  /** How often what no connection told is looked for, in milliseconds. @default 15000 */
  readonly sweepMs?: number | undefined;
}

/** The options with their defaults. */
export interface CheckedOptions {
  readonly subject:
    | { readonly kind: 'server'; readonly client: RedisConnectionOptions }
    | ({ readonly kind: 'cluster' } & RedisClusterSubject)
    | ({ readonly kind: 'sentinel' } & RedisSentinelSubject);
  readonly prefix: string;
  readonly partitions: number;
  readonly appendTimeoutMs: number;
  readonly readTimeoutMs: number;
  readonly indexEvents: number;
  readonly headTtlMs: number;
  readonly sweepMs: number;
  readonly database: number;
}

const MAX_TIMER_MS = 2_147_483_647;
const PREFIX = /^[^\s{}:]{1,64}$/;

/** @throws SseChannelsError `INVALID_OPTION` */
export function checkOptions(options: RedisBackplaneOptions): CheckedOptions {
  const { prefix = 'sse' } = options;
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) {
    throw invalid('prefix', prefix, 'must be 1 to 64 characters without spaces, braces and colons');
  }
  const subject = subjectOf(options);
  return {
    subject,
    prefix,
    partitions: whole('partitions', options.partitions ?? (subject.kind === 'cluster' ? 16 : 1), 1, 1_024),
    appendTimeoutMs: whole('appendTimeoutMs', options.appendTimeoutMs ?? 10_000, 1, MAX_TIMER_MS),
    readTimeoutMs: whole('readTimeoutMs', options.readTimeoutMs ?? 5_000, 1, MAX_TIMER_MS),
    indexEvents: whole('indexEvents', options.indexEvents ?? 100_000, 1_000, 1_000_000_000),
    headTtlMs: whole('headTtlMs', options.headTtlMs ?? 86_400_000, 60_000, 31_536_000_000),
    sweepMs: whole('sweepMs', options.sweepMs ?? 15_000, 100, MAX_TIMER_MS),
    database: databaseOf(subject),
  };
}

function subjectOf({ url, client, cluster, sentinel }: RedisBackplaneOptions): CheckedOptions['subject'] {
  const given = [url ?? client, cluster, sentinel].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new SseChannelsError(
      'INVALID_OPTION',
      `A Redis backplane needs one of "url" (or "client"), "cluster" and "sentinel"; ${given.length} were given.`,
    );
  }
  for (const [option, of] of [
    ['client', client],
    ['cluster.client', cluster?.client],
    ['sentinel.client', sentinel?.client],
  ] as const) {
    if (of?.keyPrefix !== undefined)
      throw invalid(`${option}.keyPrefix`, of.keyPrefix, 'cannot be used; the option "prefix" does it');
  }
  if (cluster !== undefined) {
    if (cluster.nodes.length === 0) throw invalid('cluster.nodes', '[]', 'must name at least one node');
    if ((cluster.client?.database ?? 0) !== 0)
      throw invalid('cluster.client.database', cluster.client?.database, 'must be 0: a cluster has one database');
    return { kind: 'cluster', ...cluster };
  }
  if (sentinel !== undefined) {
    if (sentinel.sentinels.length === 0) throw invalid('sentinel.sentinels', '[]', 'must name at least one sentinel');
    if (sentinel.name === '') throw invalid('sentinel.name', '', 'must be the name that the sentinels know');
    return { kind: 'sentinel', ...sentinel };
  }
  if (url !== undefined && !/^(rediss?:\/\/|unix:)/.test(url)) {
    // It may hold a password.
    throw new SseChannelsError(
      'INVALID_OPTION',
      'Option "url" must begin with redis://, rediss:// or unix:, as in redis://localhost:6379.',
    );
  }
  return { kind: 'server', client: { ...client, ...(url === undefined ? {} : { url }) } };
}

/** Pub/sub knows no databases, so the channels' names tell them apart. */
function databaseOf(subject: CheckedOptions['subject']): number {
  const client = subject.client;
  const inUrl = client?.url?.match(/^rediss?:\/\/[^/]*\/(\d+)/)?.[1] ?? client?.url?.match(/^unix:.*[?&]db=(\d+)/)?.[1];
  return inUrl === undefined ? (client?.database ?? 0) : Number(inUrl);
}

function whole(option: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw invalid(option, value, `must be a whole number from ${least} to ${most}`);
}

function invalid(option: string, value: unknown, rule: string): SseChannelsError {
  return new SseChannelsError(
    'INVALID_OPTION',
    `Option "${option}" of the Redis backplane is ${String(value)}; it ${rule}.`,
  );
}
