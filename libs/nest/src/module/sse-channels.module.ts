/** `SseChannelsModule`: the bus, the hub and their end, for one application. */
import {
  ConfigurableModuleBuilder,
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import {
  ChannelRegistry,
  Connections,
  CursorSeal,
  EventBus,
  EventCodec,
  Hub,
  MemoryBackplane,
  observersOf,
  Nodes,
  SharedCounts,
  type Backplane,
  type Observer,
} from '@sse-channels/engine';
import type { Channel } from '@sse-channels/protocol';
import { SseChannelsHealth } from '../health/sse-channels-health.js';
import { MetricsObserver, SseChannelsMetrics } from '../metrics/sse-channels-metrics.js';
import { ChannelUrls } from '../route/channel-urls.js';
import { HubRoute } from '../route/hub-route.js';
import { HubTopics } from '../route/hub-topics.js';
import { errorDataOf } from '../route/refusal.js';
import { RouteGuards } from '../route/route-guards.js';
import { RouteInquiries } from '../route/route-inquiries.js';
import { SseResponder } from '../route/sse-responder.js';
import { StreamGrants } from '../route/stream-grants.js';
import { StreamOpening } from '../route/stream-opening.js';
import { SharedGzip } from '../response/shared-gzip.js';
import { VanishedPeers } from '../response/vanished-peers.js';
import { SseTickets } from '../ticket/sse-tickets.js';
import { ClassEventValidator } from '../validation/class-event-validator.js';
import { LogObserver } from './log-observer.js';
import {
  checkChannels,
  resolveSettings,
  SSE_CHANNELS_BACKPLANE,
  SSE_CHANNELS_OBSERVER,
  SSE_CHANNELS_SETTINGS,
  type SseChannelsModuleOptions,
  type SseChannelsSettings,
} from './options.js';
import { RouteExplorer } from './route-explorer.js';
import { ShutdownHookCheck } from './shutdown-hook-check.js';

/** Vanished peers are looked for once a heartbeat, and at least so often. */
const MAX_LOOK_MS = 15_000;

/** The injection token of the counts of all nodes; null where limits are of each node. */
const SHARED_COUNTS = Symbol('SharedCounts');

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SseChannelsModuleOptions>({ moduleName: 'SseChannels' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSseChannelsOptions')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();

/** What `forRootAsync` takes. */
export type SseChannelsModuleAsyncOptions = typeof ASYNC_OPTIONS_TYPE;

/** What a class for `forRootAsync({ useClass })` implements. */
export interface SseChannelsOptionsFactory {
  createSseChannelsOptions(): SseChannelsModuleOptions | Promise<SseChannelsModuleOptions>;
}

@Module({
  imports: [DiscoveryModule],
  providers: [
    { provide: SSE_CHANNELS_SETTINGS, inject: [MODULE_OPTIONS_TOKEN], useFactory: resolveSettings },
    {
      provide: ChannelRegistry,
      // After the settings: by then the options are known to be right.
      inject: [MODULE_OPTIONS_TOKEN, SSE_CHANNELS_SETTINGS],
      useFactory: ({ channels = [], principalChannel }: SseChannelsModuleOptions) =>
        registering(new ChannelRegistry(), principalChannel == null ? channels : [...channels, principalChannel]),
    },
    {
      provide: SSE_CHANNELS_BACKPLANE,
      // After the settings: an application that is not going to start opens no backplane.
      inject: [MODULE_OPTIONS_TOKEN, SSE_CHANNELS_OBSERVER, SSE_CHANNELS_SETTINGS],
      useFactory: async ({ backplane = new MemoryBackplane() }: SseChannelsModuleOptions, observer: Observer) => {
        await backplane.ready({
          onState: (state, reason) => observer.backplaneChanged?.(state, reason),
          onWarning: (message) => observer.warned?.(message),
        });
        return backplane;
      },
    },
    { provide: MetricsObserver, useFactory: () => new MetricsObserver() },
    {
      provide: SSE_CHANNELS_OBSERVER,
      inject: [MODULE_OPTIONS_TOKEN, MetricsObserver, SSE_CHANNELS_SETTINGS],
      useFactory: ({ observer }: SseChannelsModuleOptions, metrics: MetricsObserver) =>
        observersOf([new LogObserver(), metrics, ...(observer === undefined ? [] : [observer])]),
    },
    {
      provide: EventCodec,
      inject: [SSE_CHANNELS_SETTINGS],
      useFactory: ({ unknownProperties, limits }: SseChannelsSettings) =>
        new EventCodec(new ClassEventValidator(unknownProperties), limits.eventBytes),
    },
    {
      provide: Connections,
      inject: [SSE_CHANNELS_SETTINGS, SHARED_COUNTS],
      useFactory: ({ limits }: SseChannelsSettings, counts: SharedCounts | null) => new Connections(limits, counts),
    },
    {
      provide: SHARED_COUNTS,
      inject: [SSE_CHANNELS_SETTINGS, SSE_CHANNELS_BACKPLANE],
      useFactory: ({ limits }: SseChannelsSettings, { capabilities }: Backplane) =>
        limits.acrossNodes && capabilities.sharedAcrossNodes ? new SharedCounts() : null,
    },
    {
      provide: Nodes,
      inject: [SSE_CHANNELS_SETTINGS, SSE_CHANNELS_BACKPLANE, SSE_CHANNELS_OBSERVER, Connections, SHARED_COUNTS],
      useFactory: (
        { node }: SseChannelsSettings,
        backplane: Backplane,
        observer: Observer,
        connections: Connections,
        counts: SharedCounts | null,
      ) => new Nodes({ backplane, observer, connections, counts, ...node }),
    },
    {
      provide: EventBus,
      inject: [
        SSE_CHANNELS_BACKPLANE,
        EventCodec,
        ChannelRegistry,
        SSE_CHANNELS_OBSERVER,
        Nodes,
        SSE_CHANNELS_SETTINGS,
      ],
      useFactory: (
        backplane: Backplane,
        codec: EventCodec,
        channels: ChannelRegistry,
        observer: Observer,
        connections: Nodes,
        { principalChannel }: SseChannelsSettings,
      ) => new EventBus({ backplane, codec, channels, observer, connections, principalChannel }),
    },
    {
      provide: CursorSeal,
      inject: [MODULE_OPTIONS_TOKEN, SSE_CHANNELS_SETTINGS],
      useFactory: ({ cursor }: SseChannelsModuleOptions) => new CursorSeal(cursor ?? null),
    },
    {
      provide: SseTickets,
      inject: [MODULE_OPTIONS_TOKEN, SSE_CHANNELS_BACKPLANE, RouteInquiries],
      useFactory: ({ tickets }: SseChannelsModuleOptions, backplane: Backplane, inquiries: RouteInquiries) =>
        new SseTickets(backplane, inquiries, tickets ?? null),
    },
    {
      provide: Hub,
      inject: [
        SSE_CHANNELS_BACKPLANE,
        EventCodec,
        ChannelRegistry,
        SSE_CHANNELS_OBSERVER,
        Connections,
        CursorSeal,
        SSE_CHANNELS_SETTINGS,
      ],
      useFactory: (
        backplane: Backplane,
        codec: EventCodec,
        channels: ChannelRegistry,
        observer: Observer,
        connections: Connections,
        seal: CursorSeal,
        { flushWindowMs, limits }: SseChannelsSettings,
      ) =>
        new Hub({
          backplane,
          codec,
          channels,
          observer,
          connections,
          seal,
          describeError: errorDataOf,
          flushWindowMs,
          limits,
        }),
    },
    {
      provide: VanishedPeers,
      inject: [SSE_CHANNELS_SETTINGS],
      useFactory: ({ heartbeatMs, writeDeadlineMs }: SseChannelsSettings) =>
        new VanishedPeers({ lookMs: Math.min(heartbeatMs, MAX_LOOK_MS), deadlineMs: writeDeadlineMs }),
    },
    { provide: SharedGzip, useFactory: () => new SharedGzip() },
    ShutdownHookCheck,
    RouteExplorer,
    RouteGuards,
    RouteInquiries,
    ChannelUrls,
    StreamGrants,
    StreamOpening,
    HubTopics,
    HubRoute,
    SseResponder,
    SseChannelsHealth,
    SseChannelsMetrics,
  ],
  exports: [
    EventBus,
    Hub,
    Connections,
    CursorSeal,
    EventCodec,
    ChannelRegistry,
    SseTickets,
    SseChannelsHealth,
    SseChannelsMetrics,
    // Injected into controllers and interceptors of the application.
    SseResponder,
    SSE_CHANNELS_SETTINGS,
  ],
})
export class SseChannelsModule
  extends ConfigurableModuleClass
  implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  constructor(
    private readonly hub: Hub,
    private readonly bus: EventBus,
    private readonly nodes: Nodes,
    @Inject(SSE_CHANNELS_BACKPLANE) private readonly backplane: Backplane,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {
    super();
  }

  /** Makes the bus and the hub of an application; without options every default holds. */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /**
   * Makes a feature module's channels known at boot, so that a conflict with another channel stops the application there and not
   * at the first publish. Channels that a controller serves with `@SseChannel` are known without it.
   * @throws SseChannelsError `INVALID_OPTION` for what is no list of channels
   */
  static forFeature(channels: ReadonlyArray<Channel<any, any>>): DynamicModule {
    checkChannels(channels, 'forFeature(channels)');
    features += 1;
    return {
      module: SseChannelsFeature,
      providers: [
        {
          // Numbered: an application with `moduleIdGeneratorAlgorithm: 'deep-hash'` takes modules that print alike for one.
          provide: Symbol(`SseChannelsFeature ${features}`),
          inject: [ChannelRegistry],
          useFactory: (registry: ChannelRegistry) => registering(registry, channels),
        },
      ],
    };
  }

  /** Before the first stream, so that the others soon know of this node; not waited for, or they would hold up its start. */
  onApplicationBootstrap(): void {
    void this.nodes.open();
  }

  /** Streams hold the server open: they end before it is closed, after what `onModuleDestroy` hooks still published. */
  async beforeApplicationShutdown(): Promise<void> {
    const { drain, retryMs } = this.settings;
    this.nodes.drain();
    // From half of what they wait anyhow, spread as widely as the ends are.
    const spreadMs = Math.max(retryMs, drain.windowMs);
    await this.hub.drain({ ...drain, retryMs: () => Math.round(retryMs / 2 + Math.random() * spreadMs) });
  }

  async onApplicationShutdown(): Promise<void> {
    this.bus.close();
    await this.nodes.close();
    await this.backplane.close();
  }
}

let features = 0;

/** Stands for one `forFeature`; separate, so that only the root has the hub's lifecycle. */
@Module({})
class SseChannelsFeature {}

function registering(registry: ChannelRegistry, channels: ReadonlyArray<Channel<any, any>>): ChannelRegistry {
  for (const channel of channels) registry.register(channel);
  return registry;
}
