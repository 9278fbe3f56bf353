/** The sample: a small trading floor. */
import { Module } from '@nestjs/common';
import { SseChannelsModule } from '@sse-channels/nest';
import { HealthController } from './health/health.controller.js';
import { NotificationsModule } from './notifications/notifications.module.js';
import { PageController } from './page/page.controller.js';
import { PricesModule } from './prices/prices.module.js';
import { ReportsModule } from './reports/reports.module.js';

@Module({
  imports: [
    SseChannelsModule.forRoot({ heartbeatMs: 15_000, retryMs: 2_000 }),
    PricesModule,
    NotificationsModule,
    ReportsModule,
  ],
  controllers: [PageController, HealthController],
})
export class AppModule {}
