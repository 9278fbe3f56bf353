/** The engine: bus, backplane, hub and connections. Knows neither Nest nor HTTP. */
export * from './backplane/backplane.js';
export * from './backplane/continuous-tail.js';
export * from './backplane/memory-backplane.js';
export * from './bus/delivery.js';
export * from './bus/event-bus.js';
export * from './bus/event-stream.js';
export * from './bus/operators.js';
export * from './channel/channel-registry.js';
export * from './codec/event-codec.js';
export * from './connection/connection.js';
export * from './connection/item-source.js';
export * from './connection/sink.js';
export * from './connection/source.js';
export * from './hub/hub.js';
export * from './hub/subscription.js';
export * from './hub/topic-source.js';
export * from './observer/observer.js';
