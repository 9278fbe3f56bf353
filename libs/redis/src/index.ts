/** SSE Channels on Redis Streams: one log for every node, in Redis, Valkey, Cluster or Sentinel. */
export type { Backplane } from '@sse-channels/engine';
