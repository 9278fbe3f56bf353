/** The sample: a small trading floor. */
import { Module } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { SseChannelsModule, SseErrorInterceptor } from '@sse-channels/nest';
import { backplaneAt } from './backplane.js';
import { HealthController } from './health/health.controller.js';
import { LiveController } from './live/live.controller.js';
import { NodeModule } from './node/node.module.js';
import { ThisNode } from './node/this-node.js';
import { NotificationsModule } from './notifications/notifications.module.js';
import { PageController } from './page/page.controller.js';
import { PricesModule } from './prices/prices.module.js';
import { ReportsModule } from './reports/reports.module.js';

@Module({
  imports: [
    SseChannelsModule.forRootAsync({
      imports: [NodeModule],
      inject: [ThisNode],
      useFactory: ({ id }: ThisNode) => ({
        heartbeatMs: 15_000,
        retryMs: 2_000,
        backplane: backplaneAt(process.env['BACKPLANE']),
        // Six seconds after a node was killed the others no longer count its connections.
        node: { name: id, leaseMs: 6_000 },
      }),
    }),
    NodeModule,
    PricesModule,
    NotificationsModule,
    ReportsModule,
  ],
  controllers: [LiveController, PageController, HealthController],
  // Where the engine does not confirm what a route publishes, the answer is 503 with Retry-After.
  providers: [{ provide: APP_INTERCEPTOR, useClass: SseErrorInterceptor }],
})
export class AppModule {}
