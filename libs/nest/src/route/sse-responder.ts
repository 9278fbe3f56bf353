/** Turns what a handler returned into an open stream; everything that can be refused is refused here, with a status. */
import { Inject, Injectable, NotAcceptableException, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { EventCodec, Hub, ItemSource, type Party, type StreamInput } from '@sse-channels/engine';
import { FINAL_CURSOR } from '@sse-channels/protocol';
import { isObservable } from 'rxjs';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { Exchange } from './exchange.js';
import { HubRoute } from './hub-route.js';
import { refusalOf } from './refusal.js';
import { RouteInquiries, type Inquiry } from './route-inquiries.js';
import { checkSender } from './sender-check.js';
import { SSE_ROUTE, type ChannelRoute, type SseRoute, type StreamRoute } from './sse-route.js';
import { StreamGrants } from './stream-grants.js';
import { StreamOpening, type Plan } from './stream-opening.js';
import { StreamRequest } from './stream-request.js';
import { describe, handlerName, invalidResult, topicsIn } from './topic-selection.js';

/** Calls the handler. */
type Handle = () => unknown;

@Injectable()
export class SseResponder {
  constructor(
    private readonly reflector: Reflector,
    private readonly hub: Hub,
    private readonly codec: EventCodec,
    private readonly grants: StreamGrants,
    private readonly opening: StreamOpening,
    private readonly inquiries: RouteInquiries,
    private readonly hubRoute: HubRoute,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

  /**
   * Answers a request of a decorated method, whose guards and pipes let it through.
   * @throws rejects with what the exception filters are to tell
   */
  async respond(context: ExecutionContext, handle: Handle): Promise<void> {
    const exchange = new Exchange(context);
    try {
      await this.#answer(context, handle, exchange);
    } catch (error) {
      throw refusalOf(error, exchange, this.settings.retryMs);
    }
  }

  async #answer(context: ExecutionContext, handle: Handle, exchange: Exchange): Promise<void> {
    const route = this.reflector.get<SseRoute, symbol>(SSE_ROUTE, context.getHandler());
    const inquiry = this.inquiries.of(exchange.request);
    if (inquiry !== undefined) return this.#inform(inquiry, context, route, handle, exchange);
    this.hub.assertOpen();
    checkSender(exchange.request, this.settings);
    if (route.kind === 'hub') {
      const changed = this.hubRoute.connectionIn(context);
      this.hubRoute.checkMethod(exchange, changed);
      if (changed !== null) {
        await handle();
        return this.hubRoute.change(context, route, changed, exchange);
      }
    }
    // What a source of one connection gives cannot be asked for again.
    const polls = route.kind !== 'stream';
    const accepted = exchange.accepted(polls);
    const isPoll = accepted === 'answer';
    if (accepted === null) {
      throw new NotAcceptableException(
        polls
          ? 'This is a stream of Server-Sent Events; accept text/event-stream, or application/json for what is there now.'
          : 'This is a stream of Server-Sent Events without a log, of which nothing can be asked for twice; accept text/event-stream.',
      );
    }
    if (exchange.request.method === 'HEAD') {
      (isPoll ? exchange.openAnswer() : exchange.openStream()).end();
      return;
    }
    const request = StreamRequest.of(exchange);
    request.plan(isPoll, route.kind === 'hub' ? this.hubRoute.mark : '');
    if (request.lastEventId === FINAL_CURSOR) return exchange.answerNoContent();
    const party = this.opening.partyOf(context);
    // Here it spares the handler's work.
    this.opening.assertRoom(party);
    const result = await handle();
    if (route.kind === 'hub') return this.hubRoute.open(context, route, result, exchange, request, party);
    this.opening.open(exchange, request, await this.#plan(context, route, result, request, party), party);
  }

  /** A hub asks which topics this route gives to its request; no stream is opened here. */
  async #inform(
    inquiry: Inquiry,
    context: ExecutionContext,
    route: SseRoute,
    handle: Handle,
    exchange: Exchange,
  ): Promise<void> {
    if (route.kind !== 'channel') throw new NotAcceptableException('A hub carries channels alone.');
    const { requests, expiries } = topicsIn(await handle(), route, handlerName(context));
    const topics = requests.map(({ topic }) => topic);
    inquiry.answer({ requests, grant: await this.grants.grantOf(context, route, topics, expiries) });
    exchange.answerNoContent();
  }

  async #plan(
    context: ExecutionContext,
    route: ChannelRoute | StreamRoute,
    result: unknown,
    request: StreamRequest,
    party: Party,
  ): Promise<Plan> {
    if (route.kind === 'stream') return this.#planStream(context, route, result);
    const { channel } = route;
    const { requests, expiries } = topicsIn(result, route, handlerName(context));
    const topics = requests.map(({ topic }) => topic);
    const grant = await this.grants.grantOf(context, route, topics, expiries);
    return {
      source: await this.hub.join(requests, request.lastEventId, {
        ...party,
        // Of one topic there is nothing to tell apart.
        form: requests.length > 1 ? 'topic' : 'plain',
      }),
      heartbeatMs: channel.heartbeatMs ?? this.settings.heartbeatMs,
      retryMs: channel.retryMs ?? this.settings.retryMs,
      grant,
      compression: channel.compression,
    };
  }

  async #planStream(context: ExecutionContext, route: StreamRoute, result: unknown): Promise<Plan> {
    const streams =
      isObservable(result) ||
      typeof (result as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] === 'function';
    if (!streams) {
      throw invalidResult(
        `${handlerName(context)} returned ${describe(result)}; return an Observable or an async iterable of events.`,
      );
    }
    return {
      source: new ItemSource(result as StreamInput, {
        codec: this.codec,
        events: route.events,
        maxBufferedBytes: this.settings.maxBufferedBytes,
      }),
      heartbeatMs: this.settings.heartbeatMs,
      retryMs: this.settings.retryMs,
      grant: await this.grants.grantOf(context, route),
      compression: false,
    };
  }
}
