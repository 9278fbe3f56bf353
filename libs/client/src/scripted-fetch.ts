/** For specs: a fetch whose answers the spec gives, request by request. */
import type { Fetch } from './connection/connection-options.js';

/** A request as it arrived, and its answer. */
export interface ScriptedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly init: RequestInit;
  readonly aborted: boolean;
  /** Answers with a stream that the spec writes. */
  stream(init?: ResponseInit): ScriptedStream;
  answer(status: number, init?: { readonly headers?: Record<string, string>; readonly body?: string }): void;
  respond(response: Response): void;
  /** As a network does it. */
  fail(): void;
}

/** A body that the spec writes. */
export interface ScriptedStream {
  send(chunk: string | Uint8Array): Promise<void>;
  /** Sends an event, with an `id:` where one is given. */
  event(name: string, data: unknown, id?: string): Promise<void>;
  /** Sends `$open` of one topic. */
  open(id?: string, topic?: { readonly resumed?: boolean; readonly gap?: string | null }): Promise<void>;
  end(): Promise<void>;
  /** Breaks off, as a network does it. */
  cut(): Promise<void>;
  readonly cancelled: boolean;
}

/** Lets everything run that waits for nothing from outside. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class ScriptedFetch {
  /** Every request so far. */
  readonly requests: ScriptedRequest[] = [];
  #taken = 0;

  readonly fetch: Fetch = (url, init) =>
    new Promise((resolve, reject) => {
      const { signal } = init;
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
      this.requests.push({
        url,
        init,
        method: init.method ?? 'GET',
        headers: Object.fromEntries(new Headers(init.headers)),
        get aborted() {
          return signal?.aborted === true;
        },
        stream: (answer) => {
          const [stream, body] = scriptedStream(signal);
          resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' }, ...answer }));
          return stream;
        },
        answer: (status, { headers = {}, body = null } = {}) => resolve(new Response(body, { status, headers })),
        respond: resolve,
        fail: () => reject(new TypeError('fetch failed')),
      });
    });

  /** The next request that no spec has seen; it must have come. */
  async next(): Promise<ScriptedRequest> {
    await settle();
    const request = this.requests[this.#taken];
    if (request === undefined) throw new Error(`There were ${this.#taken} requests and no more.`);
    this.#taken += 1;
    return request;
  }
}

function scriptedStream(signal: AbortSignal | null | undefined): [ScriptedStream, ReadableStream<Uint8Array>] {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (own) => {
      controller = own;
    },
    cancel: () => {
      cancelled = true;
    },
  });
  signal?.addEventListener('abort', () => {
    if (!cancelled) controller?.error(signal.reason);
    cancelled = true;
  });
  const send = async (chunk: string | Uint8Array): Promise<void> => {
    controller?.enqueue(typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk);
    await settle();
  };
  const event = (name: string, data: unknown, id?: string): Promise<void> =>
    send(`${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const stream: ScriptedStream = {
    send,
    event,
    open: (id, { resumed = true, gap = null } = {}) =>
      event(
        '$open',
        { protocol: 1, connection: 'c', heartbeatMs: 1_000, topics: [{ topic: 'orders/42', resumed, gap }] },
        id,
      ),
    end: async () => {
      controller?.close();
      await settle();
    },
    cut: async () => {
      controller?.error(new TypeError('terminated'));
      await settle();
    },
    get cancelled() {
      return cancelled;
    },
  };
  return [stream, body];
}
