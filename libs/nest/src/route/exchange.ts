/** One request for a stream, seen the same whether Express or Fastify received it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ExecutionContext } from '@nestjs/common';
import Negotiator from 'negotiator';
import { isGone, onGone } from '../response/peer.js';

/** Fastify's reply, as far as it matters here. */
interface FastifyReply {
  readonly raw: ServerResponse;
  hijack(): void;
  getHeaders(): Record<string, number | string | string[] | undefined>;
}

/** The headers of every stream; those that the application set before stay. */
const STREAM_HEADERS = {
  'Cache-Control': 'no-store, no-cache, must-revalidate, no-transform',
  'X-Accel-Buffering': 'no',
  'X-Content-Type-Options': 'nosniff',
};

const STREAM_TYPE = 'text/event-stream';
const JSON_TYPE = 'application/json; charset=utf-8';

export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #reply: FastifyReply | undefined;

  constructor(context: ExecutionContext) {
    const http = context.switchToHttp();
    const request = http.getRequest<IncomingMessage & { raw?: IncomingMessage }>();
    const response = http.getResponse<ServerResponse | FastifyReply>();
    this.request = request.raw ?? request;
    if ('raw' in response) {
      this.#reply = response;
      this.response = response.raw;
    } else {
      this.response = response;
    }
  }

  /** The cursor that the client brought, in the `Last-Event-ID` header or else in the `lastEventId` query parameter. */
  get lastEventId(): string | null {
    const header = this.request.headers['last-event-id'];
    if (typeof header === 'string' && header !== '') return header;
    const parameter = this.request.url?.includes('?') ? this.query.get('lastEventId') : null;
    return parameter === '' ? null : parameter;
  }

  get query(): URLSearchParams {
    const url = this.request.url ?? '';
    const query = url.indexOf('?');
    return new URLSearchParams(query === -1 ? '' : url.slice(query + 1));
  }

  /**
   * Whether the client is given the stream, or what is due of it as JSON, which is for those who do not name `text/event-stream`; null
   * where it takes neither. What EventSource and most others send needs no parsing.
   * @param polls whether there is JSON for it
   */
  accepted(polls: boolean): 'stream' | 'answer' | null {
    const { accept } = this.request.headers;
    if (accept === undefined || accept === STREAM_TYPE || accept === '*/*') return 'stream';
    const negotiator = new Negotiator(this.request);
    const types = polls && !accept.includes(STREAM_TYPE) ? [STREAM_TYPE, 'application/json'] : [STREAM_TYPE];
    const type = negotiator.mediaType(types);
    return type === undefined ? null : type === STREAM_TYPE ? 'stream' : 'answer';
  }

  /** Whether the client takes gzip. */
  get acceptsGzip(): boolean {
    return new Negotiator(this.request).encoding(['gzip', 'identity']) === 'gzip';
  }

  /** Whether the peer went away before there was a stream. */
  get gone(): boolean {
    return isGone(this.response);
  }

  /** Calls back once when the peer has gone, whatever became of the stream; not when it has gone already. */
  onGone(listener: () => void): void {
    onGone(this.response, listener);
  }

  /** Sets a header on whatever the framework will answer, an exception filter's response included. */
  setHeader(name: string, value: string): void {
    if (this.#reply !== undefined)
      (this.#reply as unknown as { header(n: string, v: string): void }).header(name, value);
    else this.response.setHeader(name, value);
  }

  /**
   * Takes the response over from the framework, with the headers that were set so far, and makes it a stream's.
   * @param gzip whether the stream is sent as gzip; null where it never is
   */
  openStream(gzip: boolean | null = null): ServerResponse {
    const { response } = this;
    const headers = this.#takeOver();
    const isChunked = this.request.httpVersion === '1.1';
    if (isChunked && gzip === null && headers.size === 0 && response.getHeaderNames().length === 0) {
      response.writeHead(200, PLAIN_HEAD);
      flushHead(response);
      return response;
    }
    if (gzip !== null) vary(headers, response, 'Accept-Encoding');
    if (gzip === true) headers.set('content-encoding', 'gzip');
    sendHead(
      response,
      withStreamHeaders(headers, isChunked, (name) => response.hasHeader(name)),
    );
    return response;
  }

  /** Takes the response over as `openStream` does, for JSON that is sent later. */
  openAnswer(): ServerResponse {
    const { response } = this;
    const headers = this.#takeOver();
    vary(headers, response, 'Accept');
    setHeaders(response, headers);
    response.statusCode = 200;
    response.setHeader('Content-Type', JSON_TYPE);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    if (!response.hasHeader('Cache-Control')) response.setHeader('Cache-Control', 'no-store');
    return response;
  }

  /** Answers 204: the client has had everything and must not come back. */
  answerNoContent(): void {
    this.#answer(204);
  }

  /** Answers with JSON instead of a stream. */
  answer(status: number, body: unknown): void {
    this.response.setHeader('Content-Type', JSON_TYPE);
    this.#answer(status, JSON.stringify(body));
  }

  #answer(status: number, text?: string): void {
    setHeaders(this.response, this.#takeOver());
    this.response.statusCode = status;
    this.response.setHeader('Cache-Control', 'no-store');
    this.response.setHeader('X-Content-Type-Options', 'nosniff');
    this.response.end(text);
  }

  /** The headers that the framework kept for the response, by their names in lower case. */
  #takeOver(): Headers {
    const headers: Headers = new Map();
    if (this.#reply === undefined) return headers;
    const kept = Object.entries(this.#reply.getHeaders());
    this.#reply.hijack();
    for (const [name, value] of kept) if (value !== undefined) headers.set(name.toLowerCase(), value);
    return headers;
  }
}

type Headers = Map<string, number | string | string[]>;

/**
 * Adds what the head of every stream says.
 * @param isSet whether the application said it before, on the response itself
 */
function withStreamHeaders(headers: Headers, isChunked: boolean, isSet: (name: string) => boolean): Headers {
  headers.set('content-type', STREAM_TYPE);
  // What Node would choose by itself, said so that it is known; HTTP/1.0 and HTTP/2 have no chunks.
  if (isChunked) headers.set('transfer-encoding', 'chunked');
  for (const [name, value] of Object.entries(STREAM_HEADERS)) {
    if (!headers.has(name.toLowerCase()) && !isSet(name)) headers.set(name.toLowerCase(), value);
  }
  return headers;
}

/** The head of nearly every stream, as Node takes it: HTTP/1.1, and nobody set a header before. */
const PLAIN_HEAD = pairsOf(withStreamHeaders(new Map(), true, () => false));

/** Names and values in turn. */
function pairsOf(headers: Headers): string[] {
  return [...headers].flatMap(([name, value]) => [value].flat().flatMap((one) => [name, String(one)]));
}

/** Adds to what the answer depends on. */
function vary(headers: Headers, response: ServerResponse, name: string): void {
  headers.set('vary', [headers.get('vary') ?? response.getHeader('vary') ?? [], name].flat().join(', '));
}

function setHeaders(response: ServerResponse, headers: Headers): void {
  for (const [name, value] of headers) response.setHeader(name, value);
}

/** Headers that are given with the head, and not set before it, Node does not keep as well. */
function sendHead(response: ServerResponse, headers: Headers): void {
  if (response.req.httpVersionMajor === 1 && response.getHeaderNames().length === 0) {
    response.writeHead(200, pairsOf(headers));
  } else {
    setHeaders(response, headers);
    response.statusCode = 200;
  }
  flushHead(response);
}

/**
 * Sends the head together with what is written in this turn. Node makes it from some thirty strings and keeps it as long as the
 * response: written by itself it becomes one flat string, put before the first chunk it stays a tree of them, three times as large.
 */
function flushHead(response: ServerResponse): void {
  const { socket } = response;
  // HTTP/2 has no such head; a response that waits behind another has no socket yet.
  if (response.req.httpVersionMajor !== 1 || socket === null) return;
  socket.cork();
  response.flushHeaders();
  process.nextTick(uncork, socket);
}

function uncork(socket: Socket): void {
  socket.uncork();
}
