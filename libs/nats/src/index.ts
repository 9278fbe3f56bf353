/** SSE Channels on NATS JetStream: one log for every node. */
export type { Backplane } from '@sse-channels/engine';
