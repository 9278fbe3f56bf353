/** What the hooks listen to: a client, a subscription of a hub, or what `useChannel` gives. */
import type { ClientEvent, ClientGap, ConnectionState, Leave } from '@sse-channels/client';

/** Gives events, and says where some are missing; which ones, the compiler takes from the handler. */
export interface Listenable<E extends ClientEvent> {
  on(handler: (event: E) => unknown): Leave;
  onGap(handler: (gap: ClientGap) => unknown): Leave;
}

/** Has a state that can be shown. */
export interface Stateful {
  readonly state: ConnectionState;
  /** Calls the handler with the state as it is now, and with each that follows. */
  onState(handler: (state: ConnectionState) => unknown): Leave;
}

/** What `useChannel` opens: a client of one stream, or a subscription of a hub. */
export interface Opened<E extends ClientEvent> extends Listenable<E>, Stateful {
  /** Where it stands: a place to go on from. */
  readonly cursor?: string;
  close(): void;
}

/** The event of that name. Where names are not known to the compiler any passes, and known ones stay exact. */
export type EventNamed<E extends ClientEvent, Name extends string> = [Extract<E, { readonly name: Name }>] extends [
  never,
]
  ? E extends ClientEvent
    ? Name extends E['name']
      ? ClientEvent<Name, E['data']>
      : never
    : never
  : Extract<E, { readonly name: Name }>;
