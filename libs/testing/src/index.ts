/** For tests: the backplane contract, a backplane that misbehaves, and a client for end-to-end tests. */
export * from './backplane-contract.js';
export * from './eventually.js';
export * from './faulty-backplane.js';
export * from './recording-sink.js';
export * from './seeded-random.js';
export * from './shared-memory.js';
export * from './sse-test-client.js';
