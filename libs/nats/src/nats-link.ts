/** This process's one connection to NATS: requests that settle at once when it is lost, and word of when it is there again. */
import type { Msg, MsgHdrs, NatsConnection, ServerInfo, Subscription } from '@nats-io/nats-core';
import type { NatsConnectionImpl } from '@nats-io/nats-core/internal';
import { connect, createInbox, type NodeConnectionOptions } from '@nats-io/transport-node';

/** A link that says nothing is given up after two unanswered pings. */
const PING_INTERVAL_MS = 1_500;
const MAX_UNANSWERED_PINGS = 2;
/** How long one attempt to connect may take. */
const CONNECT_TIMEOUT_MS = 3_000;
/** The pauses between attempts: of this length to twice as long, so that nodes do not come all at once. */
const RECONNECT_MS = 100;
const CLOSED_EARLY = 'The server closed the connection before it was made.';
/** How often requests are looked at whose time is over. */
const DEADLINE_LOOK_MS = 50;

/**
 * Why a request has no answer: `unsent`, there is no link; `lost`, the link was lost meanwhile; `late`, its time was over; `nobody`,
 * no server answers for its subject; `refused`, by the server or before it was sent.
 */
export type RequestFailure = 'unsent' | 'lost' | 'late' | 'nobody' | 'refused';

export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    readonly failure: RequestFailure,
    /** A sentence. */
    reason: string,
    /** What a `refused` one was refused with. */
    readonly code = 0,
  ) {
    super(reason);
  }
}

/** What the connection tells. */
export interface LinkListener {
  /** It is lost; requests under way were rejected, later ones are until `onUp`. */
  onDown(reason: string): void;
  /** It is there again, and every subscription with it. */
  onUp(): void;
  /** A server said that something is not allowed, or the like. */
  onError(error: Error): void;
}

interface Waiting {
  /** For the next answer. */
  deadline: number;
  readonly timeoutMs: number;
  /** @returns whether more is to come */
  take(message: Msg): boolean;
  reject(error: RequestError): void;
}

/** Headers as they go out, with their text made by who knows that it holds no line break. */
export class HeaderLines {
  readonly #text: string;

  constructor(lines: string) {
    this.#text = lines;
  }

  encode(): Uint8Array {
    return Buffer.from(`NATS/1.0\r\n${this.#text}\r\n`);
  }
}

export class NatsLink {
  readonly #waiting = new Map<string, Waiting>();
  readonly #inbox: string;
  #number = 0;
  #up = true;
  #downReason = '';
  #deadlineTimer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #closed = false;

  private constructor(
    private readonly connection: NatsConnection,
    private readonly listener: LinkListener,
    inboxPrefix: string | undefined,
  ) {
    this.#inbox = `${createInbox(inboxPrefix)}.`;
    connection.subscribe(`${this.#inbox}*`, {
      callback: (error, message) => {
        if (error !== null) this.listener.onError(error);
        else this.#answered(message);
      },
    });
    void this.#follow();
  }

  /** @throws rejects when no server can be reached */
  static async open(options: NodeConnectionOptions, listener: LinkListener): Promise<NatsLink> {
    const connection = await connect({
      timeout: CONNECT_TIMEOUT_MS,
      pingInterval: PING_INTERVAL_MS,
      maxPingOut: MAX_UNANSWERED_PINGS,
      // A trace for each request costs more than the request.
      noAsyncTraces: true,
      reconnectDelayHandler: () => Math.ceil(RECONNECT_MS * (1 + Math.random())),
      ...options,
      reconnect: true,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
    });
    return new NatsLink(connection, listener, options.inboxPrefix);
  }

  get up(): boolean {
    return this.#up && !this.#closed;
  }

  /** What the server says of itself. */
  get server(): ServerInfo | undefined {
    return this.connection.info;
  }

  /**
   * Asks, and resolves to the first answer.
   * @throws rejects with RequestError
   */
  request(subject: string, payload: string | Uint8Array, timeoutMs: number, headers?: HeaderLines): Promise<Msg> {
    return new Promise((resolve, reject) => {
      this.#ask(
        subject,
        payload,
        {
          deadline: performance.now() + timeoutMs,
          timeoutMs,
          take: (message) => {
            resolve(message);
            return false;
          },
          reject,
        },
        headers,
      );
    });
  }

  /**
   * Asks, and resolves to all answers before the one that has a status, which is given with them.
   * @param timeoutMs for each of them
   * @param isLast answers without a status of which none follows
   * @throws rejects with RequestError
   */
  collect(
    subject: string,
    payload: string,
    timeoutMs: number,
    isLast: (message: Msg) => boolean,
  ): Promise<{ readonly messages: readonly Msg[]; readonly status: MsgHdrs | undefined }> {
    return new Promise((resolve, reject) => {
      const messages: Msg[] = [];
      this.#ask(subject, payload, {
        deadline: performance.now() + timeoutMs,
        timeoutMs,
        take: (message) => {
          const { headers } = message;
          if (headers !== undefined && headers.code !== 0) {
            resolve({ messages, status: headers });
            return false;
          }
          messages.push(message);
          if (!isLast(message)) return true;
          resolve({ messages, status: undefined });
          return false;
        },
        reject,
      });
    });
  }

  /**
   * Asks for messages that come under their own subjects.
   * @param timeoutMs for each of them
   * @param most resolves after so many, or at the first that has a status
   * @throws rejects with RequestError
   */
  async pull(subject: string, payload: string, timeoutMs: number, most: number): Promise<readonly Msg[]> {
    this.#assertUp();
    const token = (this.#number++).toString(36);
    // Not below the common inbox, which would be given them too.
    const inbox = `${this.#inbox.slice(0, -1)}-${token}`;
    let subscription: Subscription | undefined;
    try {
      return await new Promise<Msg[]>((resolve, reject) => {
        const messages: Msg[] = [];
        subscription = this.subscribe(inbox, (message) => {
          if ((message.headers?.code ?? 0) !== 0) return resolve(messages);
          messages.push(message);
          waiting.deadline = performance.now() + timeoutMs;
          if (messages.length === most) resolve(messages);
        });
        const waiting: Waiting = { deadline: performance.now() + timeoutMs, timeoutMs, take: () => false, reject };
        this.#wait(token, waiting);
        this.connection.publish(subject, payload, { reply: inbox });
      });
    } finally {
      subscription?.unsubscribe();
      this.#waiting.delete(token);
    }
  }

  /** Says, without an answer. */
  publish(subject: string, payload: string | Uint8Array, headers?: HeaderLines): void {
    if (this.up) this.connection.publish(subject, payload, headers && { headers: headers as unknown as MsgHdrs });
  }

  subscribe(subject: string, onMessage: (message: Msg) => void): Subscription {
    return this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) this.listener.onError(error);
        else onMessage(message);
      },
    });
  }

  /** Resolves when the server has read everything that was said before; callers of one turn share the round trip. */
  async flush(): Promise<void> {
    this.#flushing ??= Promise.resolve().then(() => {
      this.#flushing = undefined;
      this.#assertUp();
      return this.connection.flush().catch((error: unknown) => {
        throw new RequestError('lost', `The link to NATS was lost: ${String(error)}.`);
      });
    });
    return this.#flushing;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#rejectAll(new RequestError('lost', 'The backplane is closed; the application has shut down.'));
    clearInterval(this.#deadlineTimer);
    await this.connection.close();
  }

  #ask(subject: string, payload: string | Uint8Array, waiting: Waiting, headers?: HeaderLines): void {
    const token = (this.#number++).toString(36);
    try {
      this.#assertUp();
      this.connection.publish(subject, payload, {
        reply: this.#inbox + token,
        ...(headers && { headers: headers as unknown as MsgHdrs }),
      });
    } catch (error) {
      const failure = error instanceof RequestError ? error : new RequestError('refused', String(error));
      return waiting.reject(failure);
    }
    this.#wait(token, waiting);
  }

  #wait(token: string, waiting: Waiting): void {
    this.#waiting.set(token, waiting);
    this.#deadlineTimer ??= setInterval(() => this.#lookAtDeadlines(), DEADLINE_LOOK_MS).unref();
  }

  #answered(message: Msg): void {
    const token = message.subject.slice(this.#inbox.length);
    const waiting = this.#waiting.get(token);
    if (waiting === undefined) return;
    if (message.data.length === 0 && message.headers?.code === 503) {
      this.#waiting.delete(token);
      return waiting.reject(
        new RequestError('nobody', 'No server answers for it: JetStream has no leader, or no stream.'),
      );
    }
    if (waiting.take(message)) waiting.deadline = performance.now() + waiting.timeoutMs;
    else this.#waiting.delete(token);
  }

  #lookAtDeadlines(): void {
    const now = performance.now();
    for (const [token, waiting] of this.#waiting) {
      if (waiting.deadline > now) continue;
      this.#waiting.delete(token);
      waiting.reject(new RequestError('late', 'NATS did not answer in time.'));
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#deadlineTimer);
    this.#deadlineTimer = undefined;
  }

  #rejectAll(error: RequestError): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const one of waiting) one.reject(error);
  }

  #assertUp(): void {
    if (!this.up)
      throw new RequestError('unsent', this.#downReason || 'The backplane is closed; the application has shut down.');
  }

  async #follow(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (this.#closed) return;
      switch (status.type) {
        case 'disconnect':
          if (this.#up) this.#down(`The link to NATS at ${status.server} is lost.`);
          // Closed in the middle of its handshake: the client would wait for the rest of it until its time is over.
          else (this.connection as Partial<NatsConnectionImpl>).protocol?.connectError?.(new Error(CLOSED_EARLY));
          break;
        case 'reconnect':
          // It says so once for each time that it was lost, if only in the handshake.
          if (this.#up) break;
          this.#up = true;
          this.listener.onUp();
          break;
        case 'error':
          this.listener.onError(status.error);
          break;
        default:
      }
    }
    if (!this.#closed) this.#down('The link to NATS was closed for good.');
  }

  #down(reason: string): void {
    this.#up = false;
    this.#downReason = reason;
    this.#rejectAll(new RequestError('lost', reason));
    this.listener.onDown(reason);
  }
}
