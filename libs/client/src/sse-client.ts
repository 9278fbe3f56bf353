/** The client of one stream. */
import { SseChannelsError, type StandardSchema } from '@sse-channels/protocol';
import { createConnection, type Connection } from './connection/connection.js';
import type { ConnectionOptions } from './connection/connection-options.js';
import type { ConnectionState } from './connection/connection-state.js';
import type { AnyEvents, Contract, DataOf, NameOf } from './contract/contract.js';
import { Listeners, Listening, type Leave, type ListenOptions } from './subscription/listeners.js';
import { Subscription } from './subscription/subscription.js';

export interface SseClientOptions<C extends Contract = AnyEvents> extends ConnectionOptions {
  /** Schemas that the data of events must pass before it is handed over; handlers are given what the schema puts out. */
  readonly validate?: { readonly [Name in NameOf<C>]?: StandardSchema<unknown, DataOf<C, Name>> };
  /**
   * Told what did not stop the stream: a handler, a schema, the storage or a function of the options that failed, an event that is not
   * valid. @default reported as an error that nobody caught
   */
  readonly onError?: (error: SseChannelsError) => void;
  /** Closes the client when it aborts. */
  readonly signal?: AbortSignal;
}

export class SseClient<C extends Contract = AnyEvents> extends Subscription<C> {
  readonly #connection: Connection;
  readonly #states: Listening<[ConnectionState]>;

  constructor(url: string | URL, options: SseClientOptions<C>) {
    const report = (error: SseChannelsError): void => (options.onError ?? throwUncaught)(error);
    const listeners = new Listeners(options.validate ?? {}, report);
    const states = new Listening<[ConnectionState]>(report);
    const connection = createConnection(absolute(url), options, {
      begin: (open, cursor) => listeners.begin(open, cursor),
      receive: (event) => listeners.receive(event),
      onState: (state) => {
        void states.tell(state);
        if (state.status === 'closed') listeners.end(state.error);
      },
      onError: report,
    });
    super(listeners, () => connection.start());
    this.#connection = connection;
    this.#states = states;
    const { signal } = options;
    if (signal?.aborted === true) this.close();
    else signal?.addEventListener('abort', () => this.close(), { once: true });
  }

  /** What the connection is doing, and why. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** Where the client stands: the cursor after the last event that was handled; empty before the first. */
  get cursor(): string {
    return this.#connection.cursor;
  }

  /**
   * Calls the handler with the state as it is now, and with each that follows.
   * @returns ends the listening
   */
  onState(handler: (state: ConnectionState) => unknown, options?: ListenOptions): Leave {
    const leave = this.#states.add(handler, options);
    handler(this.state);
    return leave;
  }

  /** Tries at once where a try is waited for, and looks whether the connection is alive: for an app that comes to the front. */
  wake(): void {
    this.#connection.wake();
  }

  /** Closes the client for good: loops end, Observables complete. */
  close(): void {
    this.#connection.close();
  }
}

/**
 * Makes the client of a stream. It connects when somebody listens, and stays connected until it is closed.
 *
 * @example
 * const orders = createSseClient<typeof ordersChannel>('/orders/42/events');
 * orders.on('order.shipped', ({ carrier }) => show(carrier));
 * @param url relative to the page, if there is one
 * @throws SseChannelsError `INVALID_OPTION` for what is no URL
 */
export function createSseClient<C extends Contract = AnyEvents>(
  url: string | URL,
  options: SseClientOptions<C> = {},
): SseClient<C> {
  return new SseClient(url, options);
}

function absolute(url: string | URL): string {
  const { document, location } = globalThis as {
    readonly document?: { readonly baseURI: string };
    readonly location?: { readonly href: string };
  };
  try {
    return new URL(url, document?.baseURI ?? location?.href).href;
  } catch (cause) {
    throw new SseChannelsError(
      'INVALID_OPTION',
      `"${String(url)}" is no URL here; outside of a page give a whole one.`,
      {
        cause,
      },
    );
  }
}

/** As a browser reports what a listener throws; elsewhere as what it is, an error that nobody caught. */
function throwUncaught(error: unknown): void {
  const { reportError } = globalThis as { readonly reportError?: (error: unknown) => void };
  if (reportError !== undefined) return reportError(error);
  queueMicrotask(() => {
    throw error;
  });
}
