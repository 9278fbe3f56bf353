/** A request on its way to become a connection: what the handler's parameters see of it. */
import { randomBytes } from 'node:crypto';
import { SSE_ABORT_CONTROLLER, type ExecutionContext } from '@nestjs/common';
import { SseChannelsError } from '@sse-channels/protocol';
import type { Exchange } from './exchange.js';

const requests = new WeakMap<object, StreamRequest>();

export class StreamRequest {
  readonly id = randomBytes(12).toString('base64url');
  readonly lastEventId: string | null;
  readonly #exchange: Exchange;
  #controller: AbortController | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    this.lastEventId = exchange.lastEventId;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Made when somebody asks: most connections need none. */
  get controller(): AbortController {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.#exchange.gone) controller.abort();
      else this.#exchange.onGone(() => controller.abort());
    }
    return this.#controller;
  }

  /** Makes the parameters of the handler find this request: ours, and Nest's own `@SseSignal()`. */
  attach(context: ExecutionContext): void {
    const request = context.switchToHttp().getRequest<object>();
    requests.set(request, this);
    Object.defineProperty(request, SSE_ABORT_CONTROLLER, { get: () => this.controller, configurable: true });
  }
}

/** The connection of the request that is being handled. */
export function connectionOf(context: ExecutionContext): StreamRequest {
  const request = requests.get(context.switchToHttp().getRequest<object>());
  if (request !== undefined) return request;
  throw new SseChannelsError(
    'INVALID_HANDLER_RESULT',
    `${context.getClass().name}.${context.getHandler().name} takes a parameter of a stream but is none; mark it with @SseChannel or @SseStream.`,
  );
}
