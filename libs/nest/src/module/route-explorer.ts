/** Finds the channels that controllers serve, so that what is wrong with them is known at boot. */
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { ChannelRegistry } from '@sse-channels/engine';
import { SSE_ROUTE, type SseRoute } from '../route/sse-route.js';

@Injectable()
export class RouteExplorer implements OnModuleInit {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly channels: ChannelRegistry,
  ) {}

  /** @throws SseChannelsError `CHANNEL_CONFLICT` */
  onModuleInit(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, unknown>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        if (typeof handler !== 'function') continue;
        const route = this.reflector.get<SseRoute | undefined, symbol>(SSE_ROUTE, handler as () => unknown);
        if (route?.kind === 'channel') this.channels.register(route.channel);
      }
    }
  }
}
