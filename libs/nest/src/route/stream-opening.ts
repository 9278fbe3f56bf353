/** Opens the streams of routes, as far as there is room for them. */
import { Inject, Injectable, type ExecutionContext } from '@nestjs/common';
import {
  Connections,
  Hub,
  NOBODY,
  type ChangeableStream,
  type Connection,
  type Grant,
  type Party,
  type Sink,
  type Source,
} from '@sse-channels/engine';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { ShutdownHookCheck } from '../module/shutdown-hook-check.js';
import { AnswerSink } from '../response/answer-sink.js';
import { ResponseSink } from '../response/response-sink.js';
import { SharedGzip } from '../response/shared-gzip.js';
import { VanishedPeers } from '../response/vanished-peers.js';
import type { Exchange } from './exchange.js';
import { jitter } from './jitter.js';
import type { StreamRequest } from './stream-request.js';

/** A source and what the route and the handler say of its connection. */
export interface Plan {
  readonly source: Source;
  readonly heartbeatMs: number;
  readonly retryMs: number;
  readonly grant: Grant;
  /** Whether it is sent as gzip to a client that accepts it. */
  readonly compression: boolean;
  /** The way to change its topics while it is open. @default there is none */
  readonly stream?: ChangeableStream;
}

@Injectable()
export class StreamOpening {
  constructor(
    private readonly hub: Hub,
    private readonly hooks: ShutdownHookCheck,
    private readonly vanishedPeers: VanishedPeers,
    private readonly gzip: SharedGzip,
    private readonly connections: Connections,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

  /** Whom a request's connection counts for. */
  partyOf(context: ExecutionContext): Party {
    const request = context.switchToHttp().getRequest<{ readonly ip?: string }>();
    const { principal, limits } = this.settings;
    const named = principal(request);
    const address = limits.perAddress === null ? null : (request.ip ?? null);
    return named === null && address === null ? NOBODY : { principal: named, address };
  }

  /**
   * Sees whether there is room; once more when the stream is opened, since others may come meanwhile.
   * @throws SseChannelsError `DRAINING`, LimitError
   */
  assertRoom(party: Party): void {
    this.hub.assertOpen();
    this.connections.assertRoom(party);
  }

  /** @returns null where the peer has left while guards, pipes or the handler were at work; the source is closed then */
  open(exchange: Exchange, request: StreamRequest, plan: Plan, party: Party): Connection | null {
    if (exchange.gone) {
      plan.source.close();
      return null;
    }
    try {
      // Once the head is sent, there is no status to say so with.
      this.assertRoom(party);
    } catch (error) {
      plan.source.close();
      throw error;
    }
    this.hooks.check();
    return this.hub.connect(plan.source, this.#sinkOf(exchange, request, plan), {
      id: request.id,
      heartbeatMs: plan.heartbeatMs,
      retryMs: jitter(plan.retryMs),
      grant: plan.grant,
      party,
      ...(plan.stream === undefined ? {} : { stream: plan.stream }),
    });
  }

  #sinkOf(exchange: Exchange, { waitMs, lastEventId: cursor }: StreamRequest, { compression }: Plan): Sink {
    const { writeDeadlineMs } = this.settings;
    if (waitMs !== null) return new AnswerSink(exchange.openAnswer(), { waitMs, writeDeadlineMs, cursor });
    const gzip = compression && exchange.acceptsGzip ? this.gzip.stream() : undefined;
    const response = exchange.openStream(compression ? gzip !== undefined : null);
    return new ResponseSink(response, writeDeadlineMs, this.vanishedPeers, gzip);
  }
}
