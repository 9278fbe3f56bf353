/** Reads a stream over HTTP/1 or HTTP/2, with or without TLS, and decodes what a proxy or a middleware compressed. */
import { request as http1Request, type IncomingHttpHeaders } from 'node:http';
import type { ClientHttp2Session, IncomingHttpHeaders as Http2Headers } from 'node:http2';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { FrameParser, type ClosingData, type OpenData } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';

/** Headers of a request, beside `Accept`. */
export type RequestHeaders = Readonly<Record<string, string>>;

/** Opens a path and resolves when the head of the answer has come. */
export type OpenStream = (path: string, headers?: RequestHeaders) => Promise<StreamReader>;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders | Http2Headers;
  readonly body: Readable;
  readonly leave: () => void;
}

export class StreamReader {
  readonly status: number;
  readonly headers: IncomingHttpHeaders | Http2Headers;
  /** The names of all events so far. */
  readonly names: string[] = [];
  /** The numbers of the orders so far. */
  readonly numbers: number[] = [];
  /** How many heartbeats came. */
  heartbeats = 0;
  open: OpenData | undefined;
  closing: ClosingData | undefined;
  /** Whether the response has ended or was cut. */
  ended = false;

  readonly #answer: Answer;
  readonly #parser = new FrameParser({
    onEvent: ({ name, data }) => {
      this.names.push(name);
      const decoded: unknown = JSON.parse(data);
      if (name === '$open') this.open = decoded as OpenData;
      else if (name === '$closing') this.closing = decoded as ClosingData;
      else if (name.startsWith('order.')) this.numbers.push((decoded as { number: number }).number);
    },
    onComment: () => (this.heartbeats += 1),
  });

  private constructor(answer: Answer) {
    this.#answer = answer;
    this.status = answer.status;
    this.headers = answer.headers;
    const { body } = answer;
    const gzip = answer.headers['content-encoding'] === 'gzip';
    const plain = gzip ? pipeline(body, createGunzip(), () => undefined) : body;
    plain.on('data', (bytes: Buffer) => this.#parser.push(bytes));
    plain.on('error', () => undefined);
    plain.on('close', () => (this.ended = true));
  }

  /** Opens streams at an origin, each over a connection of its own. */
  static http1(origin: string): OpenStream {
    return (path, headers = {}) =>
      new Promise((resolve, reject) => {
        const request = http1Request(
          origin + path,
          { agent: false, headers: { accept: 'text/event-stream', ...headers } },
          (response) =>
            resolve(
              new StreamReader({
                status: response.statusCode ?? 0,
                headers: response.headers,
                body: response,
                leave: () => response.destroy(),
              }),
            ),
        );
        request.on('error', reject);
        request.end();
      });
  }

  /** Opens streams in one session. */
  static http2(session: ClientHttp2Session): OpenStream {
    return (path, headers = {}) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ':path': path, accept: 'text/event-stream', ...headers });
        stream.on('error', reject);
        stream.on('response', (answered) =>
          resolve(
            new StreamReader({
              status: answered[':status'] ?? 0,
              headers: answered,
              body: stream,
              leave: () => stream.close(),
            }),
          ),
        );
      });
  }

  /** The cursor at which this client stands. */
  get cursor(): string {
    return this.#parser.lastEventId;
  }

  /** Waits until `$open` has come. */
  async opened(): Promise<this> {
    await eventually(() => this.open !== undefined, '$open');
    return this;
  }

  /** Waits until so many orders have come, and gives their numbers. */
  async receive(count: number): Promise<number[]> {
    await eventually(() => this.numbers.length >= count, `${count} events, not [${this.numbers.join(' ')}]`);
    return this.numbers.slice(0, count);
  }

  leave(): void {
    this.#answer.leave();
  }

  /** Stops reading. */
  pause(): void {
    this.#answer.body.pause();
  }

  /** Reads on. */
  resume(): void {
    this.#answer.body.resume();
  }
}
