/** A request on its way to become a connection: what the handler's parameters see of it. */
import { randomBytes } from 'node:crypto';
import { BadRequestException, SSE_ABORT_CONTROLLER, type ExecutionContext } from '@nestjs/common';
import { CUSTOM_ROUTE_ARGS_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { SseChannelsError } from '@sse-channels/protocol';
import type { Exchange } from './exchange.js';

const requests = new WeakMap<object, StreamRequest>();

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
  readonly id: string;
  readonly lastEventId: string | null;
  /** How long an answer may be held back while there is nothing to tell, in milliseconds; null: it is a stream. */
  readonly waitMs: number | null;
  readonly #exchange: Exchange;
  #controller: AbortController | undefined;

  /**
   * @param mark what the id ends with
   * @throws BadRequestException for a `waitMs` that is none
   */
  constructor(exchange: Exchange, isPoll = false, mark = '') {
    this.id = newId() + mark;
    this.#exchange = exchange;
    this.lastEventId = exchange.lastEventId;
    this.waitMs = isPoll ? waitMsIn(exchange.query) : null;
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
    if (!takesCustomParameters(context)) return;
    const request = context.switchToHttp().getRequest<object>();
    requests.set(request, this);
    Object.defineProperty(request, SSE_ABORT_CONTROLLER, { get: () => this.controller, configurable: true });
  }
}

function waitMsIn(query: URLSearchParams): number {
  const text = query.get('waitMs') ?? '0';
  if (/^\d+$/.test(text)) return Math.min(Number(text), MAX_WAIT_MS);
  throw new BadRequestException(`waitMs is a whole number of milliseconds, not ${JSON.stringify(text)}.`);
}

/** By handler: what its decorators say does not change. */
const customParameters = new WeakMap<object, boolean>();

/** Whether parameters of the handler may ask for the request's connection; most handlers of channels take none that could. */
function takesCustomParameters(context: ExecutionContext): boolean {
  const handler = context.getHandler();
  let takes = customParameters.get(handler);
  if (takes === undefined) {
    const parameters: unknown = Reflect.getMetadata(ROUTE_ARGS_METADATA, context.getClass(), handler.name);
    takes =
      typeof parameters !== 'object' ||
      parameters === null ||
      Object.keys(parameters).some((key) => key.includes(CUSTOM_ROUTE_ARGS_METADATA));
    customParameters.set(handler, takes);
  }
  return takes;
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
