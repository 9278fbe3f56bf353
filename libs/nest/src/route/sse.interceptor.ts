/** Turns what a handler returned into an open stream; everything that can be refused is refused here, with a status. */
import {
  ForbiddenException,
  HttpException,
  Inject,
  Injectable,
  NotAcceptableException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import {
  Connections,
  EventCodec,
  FOR_EVER,
  Hub,
  ItemSource,
  NOBODY,
  type Grant,
  type Party,
  type Source,
  type StreamInput,
  type TopicRequest,
} from '@sse-channels/engine';
import { FINAL_CURSOR, type EventType, type Topic } from '@sse-channels/protocol';
import Negotiator from 'negotiator';
import type { IncomingMessage } from 'node:http';
import { catchError, isObservable, map, mergeMap, of, take, type Observable } from 'rxjs';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { ShutdownHookCheck } from '../module/shutdown-hook-check.js';
import { ResponseSink } from '../response/response-sink.js';
import { SharedGzip } from '../response/shared-gzip.js';
import { VanishedPeers } from '../response/vanished-peers.js';
import { Exchange } from './exchange.js';
import { jitter } from './jitter.js';
import { refusalOf } from './refusal.js';
import { RouteGuards } from './route-guards.js';
import { checkSender } from './sender-check.js';
import { SSE_ROUTE, StreamResult, type SseRoute } from './sse-route.js';
import { StreamRequest } from './stream-request.js';
import { describe, invalidResult, selectionOf } from './topic-selection.js';

/** What was answered without a stream; Nest waits for one value, and takes an Observable without any for an error. */
const ANSWERED: Observable<void> = of(undefined);

/** A source and what the route and the handler say of its connection. */
interface Plan {
  readonly source: Source;
  readonly heartbeatMs: number;
  readonly retryMs: number;
  readonly grant: Grant;
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
    private readonly connections: Connections,
    private readonly guards: RouteGuards,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<void> {
    const exchange = new Exchange(context);
    const refuse = (error: unknown): never => {
      throw refusalOf(error, exchange, this.settings.retryMs);
    };
    try {
      return this.#answer(context, next, exchange).pipe(catchError(refuse));
    } catch (error) {
      return refuse(error);
    }
  }

  #answer(context: ExecutionContext, next: CallHandler, exchange: Exchange): Observable<void> {
    const route = this.reflector.get<SseRoute, symbol>(SSE_ROUTE, context.getHandler());
    this.hub.assertOpen();
    checkSender(exchange.request, this.settings);
    if (!acceptsEventStream(exchange.request)) {
      throw new NotAcceptableException('This is a stream of Server-Sent Events; accept text/event-stream.');
    }
    if (exchange.request.method === 'HEAD') {
      exchange.openStream().end();
      return ANSWERED;
    }
    const request = new StreamRequest(exchange);
    if (request.lastEventId === FINAL_CURSOR) {
      exchange.answerNoContent();
      return ANSWERED;
    }
    const party = this.#partyOf(context);
    // Once more when it is opened: others may come meanwhile. Here it spares the handler's work.
    this.connections.assertRoom(party);
    request.attach(context);
    return next.handle().pipe(
      take(1),
      mergeMap((result: unknown) => this.#plan(context, route, result, request, party)),
      map((plan) => this.#open(exchange, request, plan, party)),
    );
  }

  #partyOf(context: ExecutionContext): Party {
    const request = context.switchToHttp().getRequest<{ readonly ip?: string }>();
    const { principal, limits } = this.settings;
    const named = principal(request);
    const address = limits.perAddress === null ? null : (request.ip ?? null);
    return named === null && address === null ? NOBODY : { principal: named, address };
  }

  async #plan(
    context: ExecutionContext,
    route: SseRoute,
    result: unknown,
    request: StreamRequest,
    party: Party,
  ): Promise<Plan> {
    const handler = `${context.getClass().name}.${context.getHandler().name}`;
    if (route.kind === 'stream') return this.#planStream(context, route, handler, result);
    const { channel, options } = route;
    const selections = (Array.isArray(result) ? result : [result]).map((entry) => selectionOf(entry, channel, handler));
    if (selections.length === 0)
      throw invalidResult(`${handler} returned no topic; return at least one, or throw NotFoundException.`);
    const expiries = selections.flatMap(({ expiresAt }) => (expiresAt === undefined ? [] : [Number(expiresAt)]));
    const grant = await this.#grant(
      context,
      route,
      selections.map(({ topic }) => topic),
      expiries,
    );
    const requests = selections.map(({ topic, start, filter }): TopicRequest => ({
      topic,
      start: start ?? options.start,
      filter,
    }));
    return {
      source: await this.hub.join(requests, request.lastEventId, party),
      heartbeatMs: channel.heartbeatMs ?? this.settings.heartbeatMs,
      retryMs: channel.retryMs ?? this.settings.retryMs,
      grant,
      compression: channel.compression,
    };
  }

  /** What the connection may stay open by: its age, what the handler and `authorize` say, and the guards. */
  async #grant(
    context: ExecutionContext,
    route: SseRoute,
    topics: readonly Topic[],
    expiries: readonly number[],
  ): Promise<Grant> {
    const { maxConnectionAgeMs } = this.settings;
    const authorize = route.kind === 'channel' ? route.options.authorize : undefined;
    const everyMs =
      route.options.reauthorizeMs === undefined ? this.settings.reauthorizeMs : route.options.reauthorizeMs;
    const fixed = [...expiries];
    if (maxConnectionAgeMs !== null) fixed.push(Date.now() + maxConnectionAgeMs * (1 - Math.random() / 10));
    const endsAt = async (): Promise<number | null> => {
      const ends = [...fixed];
      if (authorize !== undefined) {
        const request = context.switchToHttp().getRequest<unknown>();
        for (const topic of topics) {
          const answer = await authorize(request, topic);
          if (answer === false) throw new ForbiddenException();
          if (answer !== true) ends.push(expiryOf(answer.expiresAt));
        }
      }
      return ends.length === 0 ? null : Math.min(...ends);
    };
    if (authorize === undefined && fixed.length === 0 && everyMs === null) return FOR_EVER;
    const first = await endsAt();
    if (everyMs === null) return { endsAt: first };
    const ask = async (): Promise<number | null | false> => {
      try {
        await this.guards.activate(context);
        return await endsAt();
      } catch (error) {
        if (error instanceof HttpException && error.getStatus() < 500) return false;
        throw error;
      }
    };
    return { endsAt: first, review: { everyMs, ask } };
  }

  async #planStream(
    context: ExecutionContext,
    route: SseRoute & { readonly events: readonly EventType[] },
    handler: string,
    result: unknown,
  ): Promise<Plan> {
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
        events: route.events,
        maxBufferedBytes: this.settings.maxBufferedBytes,
      }),
      heartbeatMs: this.settings.heartbeatMs,
      retryMs: this.settings.retryMs,
      grant: await this.#grant(context, route, [], []),
      compression: false,
    };
  }

  #open(exchange: Exchange, request: StreamRequest, plan: Plan, party: Party): void {
    // The peer may have left while guards, pipes or the handler were at work.
    if (exchange.gone) return plan.source.close();
    try {
      // Or the drain began, or others came; once the head is sent, there is no status to say so with.
      this.hub.assertOpen();
      this.connections.assertRoom(party);
    } catch (error) {
      plan.source.close();
      throw error;
    }
    this.hooks.check();
    const gzip = plan.compression && exchange.acceptsGzip ? this.gzip.stream() : undefined;
    const response = exchange.openStream(plan.compression ? gzip !== undefined : null);
    this.hub.connect(plan.source, new ResponseSink(response, this.settings.writeDeadlineMs, this.vanishedPeers, gzip), {
      id: request.id,
      heartbeatMs: plan.heartbeatMs,
      retryMs: jitter(plan.retryMs),
      grant: plan.grant,
      party,
    });
  }
}

function expiryOf(expiresAt: unknown): number {
  const ms = Number(expiresAt);
  if (Number.isFinite(ms)) return ms;
  throw invalidResult(`authorize answered expiresAt ${describe(expiresAt)}; give a Date or milliseconds since 1970.`);
}

/** Whether a request is content with an event stream; what EventSource and most others send needs no parsing. */
function acceptsEventStream(request: IncomingMessage): boolean {
  const { accept } = request.headers;
  if (accept === undefined || accept === 'text/event-stream' || accept === '*/*') return true;
  return new Negotiator(request).mediaType(['text/event-stream']) !== undefined;
}
