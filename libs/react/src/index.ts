/** The hooks: the events of a channel as values of a component. Depends on the client and on React alone. */
export { useChannel } from './use-channel.js';
export { useConnectionState } from './use-connection-state.js';
export { useLatest } from './use-latest.js';
export { useReduced } from './use-reduced.js';
export type { EventNamed, Listenable, Opened, Stateful } from './listenable.js';
export type { LiveChannel } from './live-channel.js';
