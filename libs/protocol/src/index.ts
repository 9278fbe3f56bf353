/** The protocol: what goes over the wire and how a contract is declared. Depends on nothing, runs anywhere. */
export * from './channel.js';
export * from './control-event.js';
export * from './cursor.js';
export * from './errors.js';
export * from './event.js';
export * from './frame-parser.js';
export * from './frame.js';
export * from './topic-pattern.js';
