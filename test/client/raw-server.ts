/** A server that answers as a test says, byte by byte, and remembers what it was asked. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Answers the request with that number, counted from 0 over all paths. */
export type Answer = (response: ServerResponse, request: SeenRequest, number: number) => void | Promise<void>;

export class RawServer {
  readonly requests: SeenRequest[] = [];
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #answer: Answer = (response) => void response.writeHead(404).end();

  static async listen(answer?: Answer): Promise<RawServer> {
    const server = new RawServer();
    if (answer !== undefined) server.#answer = answer;
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  answer(answer: Answer): void {
    this.#answer = answer;
  }

  /** Cuts what is open. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method = '', url = '', headers } = request;
    const seen = { method, url, headers, body };
    const number = this.requests.push(seen) - 1;
    response.on('error', () => undefined);
    await this.#answer(response, seen, number);
  }
}

/** Answers with a stream of these bytes, which stays open. */
export function streamOf(...chunks: Array<string | Uint8Array>): Answer {
  return async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const chunk of chunks) {
      response.write(chunk);
      // Each is a packet of its own, as far as that can be had.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
}

/** Answers the first request with the one, every other with the other. */
export function firstThen(first: Answer, then: Answer): Answer {
  return (response, request, number) => (number === 0 ? first : then)(response, request, number);
}
