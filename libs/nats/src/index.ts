/** SSE Channels on NATS JetStream: one log for every node. */
export * from './nats-backplane.js';
export type { NatsBackplaneOptions } from './options.js';
