/** Whether this node takes new streams, for readiness probes. */
import { Inject, Injectable } from '@nestjs/common';
import { Hub, Nodes, type Backplane, type BackplaneState } from '@sse-channels/engine';
import { SSE_CHANNELS_BACKPLANE } from '../module/options.js';

/** What a probe is told; a health indicator's result of `@nestjs/terminus` has the same form. */
export interface HealthReport {
  readonly sseChannels: {
    /** `down` from the moment at which the application begins to shut down. */
    readonly status: 'up' | 'down';
    /** Streams that are open on this node. */
    readonly connections: number;
    /** Nodes of the application that are there, with this one; 1 where the backplane is not shared. */
    readonly nodes: number;
    /**
     * Whether the logs can be reached. It does not make `status` go down: every node would, at once, and the streams that are open
     * outlast it.
     */
    readonly backplane: BackplaneState;
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
    private readonly nodes: Nodes,
    @Inject(SSE_CHANNELS_BACKPLANE) private readonly backplane: Backplane,
  ) {}

  /** Whether new streams are taken. */
  get ready(): boolean {
    return !this.hub.draining;
  }

  report(): HealthReport {
    const status = this.ready ? 'up' : 'down';
    const nodes = this.nodes.everywhere.nodes().length;
    return { sseChannels: { status, connections: this.nodes.size, nodes, backplane: this.backplane.state } };
  }
}
