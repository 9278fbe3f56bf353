/** A client for tests: opens a stream over a real socket, keeps everything that came, and waits for conditions with a deadline. */
import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import { FrameParser, type ClosingData, type GapData, type OpenData, type ParsedEvent } from '@sse-channels/protocol';

/** How a stream is asked for. */
export interface SseTestRequest {
  /** @default 'GET' */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as `Last-Event-ID`. */
  readonly lastEventId?: string;
}

/** An event as it came, with its data decoded from JSON. */
export interface ReceivedEvent<T = any> {
  readonly name: string;
  readonly data: T;
  /** The cursor that holds at this event. */
  readonly cursor: string;
}

/** How long a wait may take before it fails, in milliseconds. */
const DEADLINE_MS = 5_000;

/** One attempt at a stream; it does not reconnect by itself: pass `client.cursor` to the next one. */
export class SseTestClient {
  /** The status that was answered. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Every event so far, control events included. */
  readonly events: ReceivedEvent[] = [];
  /** The wire as it came. */
  text = '';
  /** Reconnection times that were told, in milliseconds. */
  readonly retries: number[] = [];
  /** How many heartbeats and other comments came. */
  comments = 0;
  /** Whether the response has ended. */
  ended = false;

  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  readonly #parser: FrameParser;
  readonly #waiting = new Set<() => void>();

  private constructor(request: ClientRequest, response: IncomingMessage) {
    this.#request = request;
    this.#response = response;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    this.#parser = new FrameParser({
      onEvent: (event) => this.events.push(decode(event)),
      onRetry: (retryMs) => this.retries.push(retryMs),
      onComment: () => (this.comments += 1),
    });
    // A chunk may end inside of a character.
    const decoder = new StringDecoder('utf8');
    response.on('data', (chunk: Buffer) => {
      this.text += decoder.write(chunk);
      if (String(response.headers['content-type']).startsWith('text/event-stream')) this.#parser.push(chunk);
      this.#look();
    });
    response.on('error', () => undefined);
    response.on('close', () => {
      this.ended = true;
      this.#look();
    });
  }

  /**
   * Asks for a stream and resolves when the head of the answer has come, whatever its status.
   * @throws rejects when the server cannot be reached
   */
  static connect(url: string | URL, options: SseTestRequest = {}): Promise<SseTestClient> {
    const { method = 'GET', headers = {}, body, lastEventId } = options;
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        url,
        {
          method,
          agent: false,
          headers: {
            accept: 'text/event-stream',
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
            ...headers,
          },
        },
        (response) => resolve(new SseTestClient(request, response)),
      );
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** What the client stands at: the last `id:` that came, whether with an event or without. */
  get cursor(): string {
    return this.#parser.lastEventId;
  }

  /** The data of `$open`; undefined before it came. */
  get open(): OpenData | undefined {
    return this.named<OpenData>('$open')[0]?.data;
  }

  get gaps(): GapData[] {
    return this.named<GapData>('$gap').map(({ data }) => data);
  }

  get closing(): ClosingData | undefined {
    return this.named<ClosingData>('$closing')[0]?.data;
  }

  /** The application's events: those whose names do not start with `$`. */
  get applicationEvents(): ReceivedEvent[] {
    return this.events.filter(({ name }) => !name.startsWith('$'));
  }

  /** The events of that name. */
  named<T = any>(name: string): Array<ReceivedEvent<T>> {
    return this.events.filter((event): event is ReceivedEvent<T> => event.name === name);
  }

  /**
   * Waits until the condition holds.
   * @param what the condition in words, for the message
   * @throws rejects with what came so far when it does not hold within `deadlineMs`
   */
  until(condition: (client: this) => boolean, what: string, deadlineMs = DEADLINE_MS): Promise<this> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(
          new Error(
            `Not within ${deadlineMs} ms: ${what}. Came so far (${this.ended ? 'ended' : 'open'}):\n${this.text.slice(-4_000)}`,
          ),
        );
      }, deadlineMs);
      const check = (): void => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(this);
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Waits until `$open` has come. */
  opened(deadlineMs?: number): Promise<this> {
    return this.until((client) => client.open !== undefined, '$open', deadlineMs);
  }

  /** Waits until so many of the application's events have come, and gives the first so many. */
  async receive(count: number, deadlineMs?: number): Promise<ReceivedEvent[]> {
    await this.until((client) => client.applicationEvents.length >= count, `${count} events`, deadlineMs);
    return this.applicationEvents.slice(0, count);
  }

  /** Waits until the server has ended the response. */
  end(deadlineMs?: number): Promise<this> {
    return this.until((client) => client.ended, 'the end of the response', deadlineMs);
  }

  /** Leaves: the connection is cut at once. */
  leave(): void {
    this.#request.destroy();
    this.#response.destroy();
  }

  /** Stops reading: what the server sends fills the sockets' buffers. */
  pause(): void {
    this.#response.pause();
  }

  /** Reads on. */
  resume(): void {
    this.#response.resume();
  }

  #look(): void {
    for (const check of this.#waiting) check();
  }
}

function decode({ name, data, lastEventId }: ParsedEvent): ReceivedEvent {
  return { name, data: JSON.parse(data) as unknown, cursor: lastEventId };
}
