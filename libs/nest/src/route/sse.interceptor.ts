/** Turns what a handler returned into an open stream; everything that can be refused is refused here, with a status. */
import {
  BadRequestException,
  HttpException,
  Inject,
  Injectable,
  NotAcceptableException,
  ServiceUnavailableException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { EventCodec, Hub, ItemSource, type Source, type StreamInput, type TopicRequest } from '@sse-channels/engine';
import { FINAL_CURSOR, SseChannelsError, type EventType } from '@sse-channels/protocol';
import Negotiator from 'negotiator';
import type { IncomingMessage } from 'node:http';
import { catchError, EMPTY, isObservable, map, mergeMap, take, type Observable } from 'rxjs';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { ShutdownHookCheck } from '../module/shutdown-hook-check.js';
import { ResponseSink } from '../response/response-sink.js';
import { SharedGzip } from '../response/shared-gzip.js';
import { VanishedPeers } from '../response/vanished-peers.js';
import { Exchange } from './exchange.js';
import { SSE_ROUTE, StreamResult, type SseRoute } from './sse-route.js';
import { StreamRequest } from './stream-request.js';
import { describe, invalidResult, selectionOf } from './topic-selection.js';

/** A source and what the route and the handler say of its connection. */
interface Plan {
  readonly source: Source;
  readonly heartbeatMs: number;
  readonly retryMs: number;
  /** When the handler's grant runs out. */
  readonly expiresAt: number | null;
  /** Whether it is sent as gzip to a client that accepts it. */
  readonly compression: boolean;
}

@Injectable()
export class SseInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly hub: Hub,
    private readonly codec: EventCodec,
    private readonly hooks: ShutdownHookCheck,
    private readonly vanishedPeers: VanishedPeers,
    private readonly gzip: SharedGzip,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<void> {
    const exchange = new Exchange(context);
    const refuse = (error: unknown): never => {
      throw refusal(error, exchange);
    };
    try {
      return this.#answer(context, next, exchange).pipe(catchError(refuse));
    } catch (error) {
      return refuse(error);
    }
  }

  #answer(context: ExecutionContext, next: CallHandler, exchange: Exchange): Observable<void> {
    const route = this.reflector.get<SseRoute, symbol>(SSE_ROUTE, context.getHandler());
    if (this.hub.draining) throw this.#unavailable(exchange);
    if (!acceptsEventStream(exchange.request)) {
      throw new NotAcceptableException('This is a stream of Server-Sent Events; accept text/event-stream.');
    }
    if (exchange.request.method === 'HEAD') {
      exchange.openStream().end();
      return EMPTY;
    }
    const request = new StreamRequest(exchange);
    if (request.lastEventId === FINAL_CURSOR) {
      exchange.answerNoContent();
      return EMPTY;
    }
    request.attach(context);
    return next.handle().pipe(
      take(1),
      mergeMap((result: unknown) => this.#plan(context, route, result, request, exchange)),
      map((plan) => this.#open(exchange, request, plan)),
    );
  }

  async #plan(
    context: ExecutionContext,
    route: SseRoute,
    result: unknown,
    request: StreamRequest,
    exchange: Exchange,
  ): Promise<Plan> {
    const handler = `${context.getClass().name}.${context.getHandler().name}`;
    if (route.kind === 'stream') return this.#planStream(handler, route.events, result);
    const { channel } = route;
    const selections = (Array.isArray(result) ? result : [result]).map((entry) => selectionOf(entry, channel, handler));
    if (selections.length === 0)
      throw invalidResult(`${handler} returned no topic; return at least one, or throw NotFoundException.`);
    const requests = selections.map(({ topic, start, filter }): TopicRequest => ({
      topic,
      start: start ?? route.options.start,
      filter,
    }));
    const source = await this.hub.join(requests, request.lastEventId).catch((error: unknown) => {
      if (error instanceof SseChannelsError && error.code === 'DRAINING') throw this.#unavailable(exchange);
      throw error;
    });
    const expiries = selections.flatMap(({ expiresAt }) => (expiresAt === undefined ? [] : Number(expiresAt)));
    return {
      source,
      heartbeatMs: channel.heartbeatMs ?? this.settings.heartbeatMs,
      retryMs: channel.retryMs ?? this.settings.retryMs,
      expiresAt: expiries.length === 0 ? null : Math.min(...expiries),
      compression: channel.compression,
    };
  }

  #planStream(handler: string, events: readonly EventType[], result: unknown): Plan {
    const stream: unknown = result instanceof StreamResult ? result.stream : result;
    const streams =
      isObservable(stream) ||
      typeof (stream as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] === 'function';
    if (!streams) {
      throw invalidResult(
        `${handler} returned ${describe(stream)}; return an Observable or an async iterable of events.`,
      );
    }
    return {
      source: new ItemSource(stream as StreamInput, {
        codec: this.codec,
        events,
        maxBufferedBytes: this.settings.maxBufferedBytes,
      }),
      heartbeatMs: this.settings.heartbeatMs,
      retryMs: this.settings.retryMs,
      expiresAt: null,
      compression: false,
    };
  }

  #open(exchange: Exchange, request: StreamRequest, plan: Plan): void {
    // The peer may have left while guards, pipes or the handler were at work.
    if (exchange.gone) return plan.source.close();
    // Or the drain began; once the head is sent, there is no status to say so with.
    if (this.hub.draining) {
      plan.source.close();
      throw this.#unavailable(exchange);
    }
    const { maxConnectionAgeMs, writeDeadlineMs } = this.settings;
    const ends = [
      ...(maxConnectionAgeMs === null ? [] : [Date.now() + maxConnectionAgeMs * (1 - Math.random() / 10)]),
      ...(plan.expiresAt === null ? [] : [plan.expiresAt]),
    ];
    this.hooks.check();
    const gzip = plan.compression && exchange.acceptsGzip ? this.gzip.stream() : undefined;
    const response = exchange.openStream(plan.compression ? gzip !== undefined : null);
    this.hub.connect(plan.source, new ResponseSink(response, writeDeadlineMs, this.vanishedPeers, gzip), {
      id: request.id,
      heartbeatMs: plan.heartbeatMs,
      retryMs: jitter(plan.retryMs),
      endsAt: ends.length === 0 ? null : Math.min(...ends),
    });
  }

  #unavailable(exchange: Exchange): HttpException {
    exchange.setHeader('Retry-After', String(Math.max(1, Math.ceil(jitter(this.settings.retryMs) / 1000))));
    return new ServiceUnavailableException('This server is shutting down; connect again to reach another.');
  }
}

/** What an exception filter is given. The parameters that a handler makes its topic of are nearly always the request's. */
function refusal(error: unknown, exchange: Exchange): unknown {
  if (!exchange.response.headersSent) exchange.setHeader('X-Content-Type-Options', 'nosniff');
  if (!(error instanceof SseChannelsError) || error.code !== 'INVALID_TOPIC_PARAMETER') return error;
  // Not the error's own text: it may hold a name that came with the request.
  return new BadRequestException('A parameter of this stream is missing, unknown, malformed or too large.', {
    cause: error,
  });
}

/** Whether a request is content with an event stream; what EventSource and most others send needs no parsing. */
function acceptsEventStream(request: IncomingMessage): boolean {
  const { accept } = request.headers;
  if (accept === undefined || accept === 'text/event-stream' || accept === '*/*') return true;
  return new Negotiator(request).mediaType(['text/event-stream']) !== undefined;
}

/** From half to one and a half times as long, so that clients do not come back together. */
export function jitter(ms: number): number {
  return Math.round(ms * (0.5 + Math.random()));
}
