/** SSE Channels on Redis Streams: one log for every node, in Redis, Valkey, Cluster or Sentinel. */
export type {
  RedisAddress,
  RedisAddressMap,
  RedisBackplaneOptions,
  RedisClusterSubject,
  RedisConnectionOptions,
  RedisSentinelSubject,
} from './options.js';
export { RedisBackplane } from './redis-backplane.js';
