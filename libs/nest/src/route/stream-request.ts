/** A request on its way to become a connection: what the handler's parameters see of it. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BadRequestException, SSE_ABORT_CONTROLLER, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { SseChannelsError } from '@sse-channels/protocol';
import { Exchange } from './exchange.js';

/** Those that the parameters of a handler can ask for, by Node's own request. */
const requests = new WeakMap<IncomingMessage, StreamRequest>();

/** Longer than proxies let a request be without a byte. */
const MAX_WAIT_MS = 60_000;
const ID_BYTES = 12;
const ID_LENGTH = 16;
const IDS_AT_ONCE = 32;
let randomness = '';
let used = 0;

/** An id that nobody guesses; randomness is fetched for many, since each fetch has its price. */
function newId(): string {
  if (used === randomness.length) {
    randomness = randomBytes(ID_BYTES * IDS_AT_ONCE).toString('base64url');
    used = 0;
  }
  const id = randomness.slice(used, used + ID_LENGTH);
  used += ID_LENGTH;
  return id;
}

export class StreamRequest {
  readonly lastEventId: string | null;
  readonly #exchange: Exchange;
  #id = newId();
  #waitMs: number | null = null;
  #controller: AbortController | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    this.lastEventId = exchange.lastEventId;
  }

  /** The one that the handler's parameters were given, or a new one. */
  static of(exchange: Exchange): StreamRequest {
    return requests.get(exchange.request) ?? new StreamRequest(exchange);
  }

  get id(): string {
    return this.#id;
  }

  /** How long an answer may be held back while there is nothing to tell, in milliseconds; null: it is a stream. */
  get waitMs(): number | null {
    return this.#waitMs;
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

  /**
   * Says what it is a request for, before the handler is called.
   * @param mark what the id ends with
   * @throws BadRequestException for a `waitMs` that is none
   */
  plan(isPoll: boolean, mark: string): void {
    this.#id += mark;
    if (isPoll) this.#waitMs = waitMsIn(this.#exchange.query);
  }

  /** Makes the parameters of the handler of another request find this one. */
  lendTo(request: IncomingMessage): void {
    requests.set(request, this);
  }
}

/** Makes the parameters of the handler find its request: ours, and Nest's own `@SseSignal()`. Guards come before parameters. */
export const ATTACHING: CanActivate = {
  canActivate(context: ExecutionContext): true {
    const exchange = new Exchange(context);
    const request = StreamRequest.of(exchange);
    request.lendTo(exchange.request);
    const seen = context.switchToHttp().getRequest<object>();
    Object.defineProperty(seen, SSE_ABORT_CONTROLLER, { get: () => request.controller, configurable: true });
    return true;
  },
};

function waitMsIn(query: URLSearchParams): number {
  const text = query.get('waitMs') ?? '0';
  if (/^\d+$/.test(text)) return Math.min(Number(text), MAX_WAIT_MS);
  throw new BadRequestException(`waitMs is a whole number of milliseconds, not ${JSON.stringify(text)}.`);
}

/** The connection of the request that is being handled. */
export function connectionOf(context: ExecutionContext): StreamRequest {
  const request = requests.get(new Exchange(context).request);
  if (request !== undefined) return request;
  throw new SseChannelsError(
    'INVALID_HANDLER_RESULT',
    `${context.getClass().name}.${context.getHandler().name} takes a parameter of a stream but is none; mark it with @SseChannel or @SseStream.`,
  );
}
