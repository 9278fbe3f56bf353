/**
 * Asks the routes of channels which of their topics a request may have: the request goes through the application once more, with
 * another URL, and meets the very middleware, guards, pipes and handler that the channel's own stream would.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Grant, TopicRequest } from '@sse-channels/engine';
import type { StreamRequest } from './stream-request.js';

/** Names an inquiry in the request that asks; nobody outside can guess one. */
const INQUIRY_HEADER = 'x-sse-channels-inquiry';
/** A route that takes longer is asked again later: what it gives must not hold up the other topics of a stream. */
const ANSWER_MS = 8_000;
const LATE: Refusal = { status: 504, message: "The topic's route did not answer in time." };
/** Of an answer so much is kept: a refusal is short. */
const ANSWER_BYTES = 16_384;
/** What concerns the hub's own request, and not the one that is made of it. */
const OWN_HEADERS = new Set([
  'accept',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'keep-alive',
  'last-event-id',
  'te',
  'transfer-encoding',
  'upgrade',
  INQUIRY_HEADER,
]);

/** What a route gives to a request. */
export interface GivenTopics {
  readonly requests: readonly TopicRequest[];
  readonly grant: Grant;
}

/** An inquiry that is under way. */
export interface Inquiry {
  /** The hub's request: what parameters of the handler see of the connection. */
  readonly request: StreamRequest;
  /** The same as it came from outside. */
  readonly original: IncomingMessage;
  answer(given: GivenTopics): void;
}

/** A route that did not give. */
export interface Refusal {
  readonly status: number;
  /** What its exception filters told, as far as it is a text. */
  readonly message: string;
}

@Injectable()
export class RouteInquiries {
  readonly #open = new Map<string, Inquiry>();

  constructor(private readonly host: HttpAdapterHost) {}

  /** The inquiry that a request belongs to; undefined for one from outside. */
  of(request: IncomingMessage): Inquiry | undefined {
    if (this.#open.size === 0) return undefined;
    const token = request.headers[INQUIRY_HEADER];
    return typeof token === 'string' ? this.#open.get(token) : undefined;
  }

  /**
   * Asks one route, and waits for it so long; one that is late is a refusal for now.
   * @param url of the channel's stream
   * @param original the hub's request, whose headers and address the route sees
   */
  async ask(url: string, original: IncomingMessage, request: StreamRequest): Promise<GivenTopics | Refusal> {
    const token = randomBytes(18).toString('base64url');
    let given: GivenTopics | undefined;
    this.#open.set(token, { request, original, answer: (topics) => (given = topics) });
    // Who is late is an inquiry still, and not somebody who is given a stream.
    const answered = this.#send(url, original, request, token).finally(() => this.#open.delete(token));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Refusal>((resolve) => (timer = setTimeout(resolve, ANSWER_MS, LATE).unref()));
    const refusal = await Promise.race([answered, late]).finally(() => clearTimeout(timer));
    return given ?? refusal;
  }

  /** Sends the request into the application, past the network, and waits for the whole answer. */
  async #send(url: string, original: IncomingMessage, asking: StreamRequest, token: string): Promise<Refusal> {
    const socket = new InquirySocket(original.socket);
    // Node makes these for a request that came by the network; a framework cannot tell the difference.
    const request = new IncomingMessage(socket as unknown as Socket);
    request.method = 'GET';
    request.url = url;
    // Answered without chunks.
    request.httpVersion = '1.0';
    request.httpVersionMajor = 1;
    request.httpVersionMinor = 0;
    request.headers = { ...headersOf(original), accept: 'text/event-stream', [INQUIRY_HEADER]: token };
    request.rawHeaders = Object.entries(request.headers).flatMap(([name, value]) =>
      [value ?? []].flat().flatMap((one) => [name, one]),
    );
    request.push(null);
    request.complete = true;
    asking.lendTo(request);
    const response = new ServerResponse(request);
    response.assignSocket(socket as unknown as Socket);
    const finished = once(response, 'finish');
    const server: unknown = this.host.httpAdapter.getInstance();
    if (typeof server === 'function') (server as RequestListener)(request, response);
    else (server as { readonly routing: RequestListener }).routing(request, response);
    await finished;
    return { status: response.statusCode, message: socket.message() ?? response.statusMessage };
  }
}

type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** The end of a connection that is none: it says where the hub's own request came from, and keeps what is answered. */
class InquirySocket extends Duplex {
  readonly #peer: Socket;
  readonly #answer: Buffer[] = [];
  #answerBytes = 0;

  constructor(peer: Socket) {
    super();
    this.#peer = peer;
  }

  get remoteAddress(): string | undefined {
    return this.#peer.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#peer.remotePort;
  }

  get encrypted(): unknown {
    return (this.#peer as { readonly encrypted?: unknown }).encrypted;
  }

  /** What an exception filter told: Nest's answer `{ message }`; undefined for anything else. */
  message(): string | undefined {
    const text = Buffer.concat(this.#answer).toString();
    try {
      const { message } = JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as { readonly message?: unknown };
      return typeof message === 'string' && message !== '' ? message : undefined;
    } catch {
      return undefined;
    }
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#answerBytes < ANSWER_BYTES) this.#answer.push(chunk);
    this.#answerBytes += chunk.length;
    done();
  }
}

function headersOf({ headers }: IncomingMessage): IncomingMessage['headers'] {
  const kept = Object.entries(headers).filter(([name]) => !OWN_HEADERS.has(name) && !name.startsWith(':'));
  const authority = headers[':authority'];
  return { ...(typeof authority === 'string' ? { host: authority } : {}), ...Object.fromEntries(kept) };
}

/** Whether a route did not give. */
export function isRefusal(answer: GivenTopics | Refusal): answer is Refusal {
  return 'status' in answer;
}
