/** Whether this node takes new streams, for readiness probes. */
import { Injectable } from '@nestjs/common';
import { Connections, Hub } from '@sse-channels/engine';

/** What a probe is told; a health indicator's result of `@nestjs/terminus` has the same form. */
export interface HealthReport {
  readonly sseChannels: {
    /** `down` from the moment at which the application begins to shut down. */
    readonly status: 'up' | 'down';
    /** Streams that are open on this node. */
    readonly connections: number;
  };
}

/**
 * Injectable. A readiness probe that answers 503 while `ready` is false lets balancers send new clients elsewhere; with
 * `drain.noticeMs` they have the time to notice.
 * @example
 * \@Get('ready')
 * readiness() {
 *   if (!this.health.ready) throw new ServiceUnavailableException(this.health.report());
 *   return this.health.report();
 * }
 */
@Injectable()
export class SseChannelsHealth {
  constructor(
    private readonly hub: Hub,
    private readonly connections: Connections,
  ) {}

  /** Whether new streams are taken. */
  get ready(): boolean {
    return !this.hub.draining;
  }

  report(): HealthReport {
    return { sseChannels: { status: this.ready ? 'up' : 'down', connections: this.connections.size } };
  }
}
