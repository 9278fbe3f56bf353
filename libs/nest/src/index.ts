/** What a Nest application writes against. */
export { LastEventId } from './route/last-event-id.decorator.js';
export { SseChannel, type ChannelHandlerResult } from './route/sse-channel.decorator.js';
export type { Authorization, SseChannelOptions } from './route/sse-route.js';
export type { TopicSelection } from './route/topic-selection.js';
export { SseConnection } from './route/sse-connection.decorator.js';
export { SseInterceptor } from './route/sse.interceptor.js';
export { SseChannelsHealth, type HealthReport } from './health/sse-channels-health.js';
export { SseStream, type SseStreamOptions } from './route/sse-stream.decorator.js';
export {
  SseChannelsModule,
  type SseChannelsModuleAsyncOptions,
  type SseChannelsOptionsFactory,
} from './module/sse-channels.module.js';
export {
  DEFAULT_SETTINGS,
  SSE_CHANNELS_BACKPLANE,
  SSE_CHANNELS_OBSERVER,
  type DrainSettings,
  type Limits,
  type SseChannelsModuleOptions,
  type SseChannelsSettings,
} from './module/options.js';
export {
  BusTopic,
  Connections,
  CursorSeal,
  EventBus,
  EventStream,
  heartbeat,
  Hub,
  MemoryBackplane,
  ofEvent,
  replayFrom,
  type Backplane,
  type ConnectionDirectory,
  type ConnectionInfo,
  type ConnectionSelection,
  type CursorSealOptions,
  type Delivery,
  type EndOptions,
  type DrainOptions,
  type EventRecord,
  type History,
  type HubSnapshot,
  type Observer,
  type PlacedEvent,
  type ReadOptions,
  type StartPosition,
  type StreamInput,
  type StreamItem,
} from '@sse-channels/engine';
export {
  Channel,
  defineChannel,
  defineEvent,
  EventValidationError,
  formatCursor,
  formatOffset,
  Gap,
  Heartbeat,
  LimitError,
  SseChannelsError,
  SseEvent,
  Topic,
  TypedEvent,
  type ChannelOptions,
  type ClosingData,
  type Cursor,
  type EndReason,
  type ErrorData,
  type EventClass,
  type EventDefinition,
  type EventInput,
  type EventInstance,
  type EventIssue,
  type EventName,
  type EventOutput,
  type EventType,
  type GapData,
  type GapReason,
  type OpenData,
  type OpenTopic,
  type LagLimit,
  type Retention,
  type SlowReaders,
  type SseChannelsErrorCode,
  type StandardSchema,
} from '@sse-channels/protocol';
