/** The client: typed events of a stream, in browsers, Node and React Native. Depends on the protocol alone. */
export { createSseClient, type SseClient, type SseClientOptions, type SseHubClientOptions } from './sse-client.js';
export { StreamError } from './connection/stream-error.js';
export type {
  ConnectionOptions,
  CursorStorage,
  Fetch,
  ForEachAttempt,
  HeaderValues,
  QueryValues,
} from './connection/connection-options.js';
export {
  INITIAL_STATE,
  type ConnectionState,
  type ConnectionStatus,
  type StateReason,
} from './connection/connection-state.js';
export type { LongPollAnswer, LongPollEvent } from './connection/long-poll-answer.js';
export type {
  AnyEvents,
  ChannelOf,
  ChannelsOf,
  ClientEvent,
  Contract,
  DataOf,
  EventOf,
  JsonOf,
  NameOf,
  PatternOf,
  SchemasOf,
} from './contract/contract.js';
export {
  hub,
  type HubFeature,
  type HubSubscription,
  type SseHubClient,
  type SubscribeOptions,
} from './hub/hub-client.js';
export type { QueueOptions } from './subscription/event-queue.js';
export type { ClientGap } from './subscription/listeners.js';
export type { Leave, ListenOptions } from './subscription/listening.js';
export type { ClientObservable, ClientObserver, Subscription } from './subscription/subscription.js';
export { sharedTabs, type SharedTabsOptions, type TabsFeature } from './tabs/shared-tabs.js';
export { SseChannelsError } from '@sse-channels/protocol';
export type { GapReason, SseChannelsErrorCode, StandardSchema } from '@sse-channels/protocol';
