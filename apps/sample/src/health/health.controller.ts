/** What a balancer asks: whether this process takes new streams. */
import { Controller, Get, ServiceUnavailableException } from '@nestjs/common';
import { SseChannelsHealth } from '@sse-channels/nest';

@Controller('ready')
export class HealthController {
  constructor(private readonly health: SseChannelsHealth) {}

  @Get()
  ready() {
    const report = this.health.report();
    if (!this.health.ready) throw new ServiceUnavailableException(report);
    return report;
  }
}
