/** The client of one stream. */
import { SseChannelsError, type StandardSchema } from '@sse-channels/protocol';
import { createConnection } from './connection/connection.js';
import type { ConnectionOptions } from './connection/connection-options.js';
import type { ConnectionState } from './connection/connection-state.js';
import type { AnyEvents, Contract, DataOf, NameOf } from './contract/contract.js';
import { createListeners } from './subscription/listeners.js';
import { createListening, type Leave, type ListenOptions } from './subscription/listening.js';
import { createSubscription, type Subscription } from './subscription/subscription.js';

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

/** The client of one stream; make one with `createSseClient`. */
export interface SseClient<C extends Contract = AnyEvents> extends Subscription<C> {
  /** What the connection is doing, and why. */
  readonly state: ConnectionState;
  /** Where the client stands: the cursor after the last event that was handled; empty before the first. */
  readonly cursor: string;
  /**
   * Calls the handler with the state as it is now, and with each that follows.
   * @returns ends the listening
   */
  onState(handler: (state: ConnectionState) => unknown, options?: ListenOptions): Leave;
  /** Tries at once where a try is waited for, and looks whether the connection is alive: for an app that comes to the front. */
  wake(): void;
  /** Closes the client for good: loops end, Observables complete. */
  close(): void;
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
  const { onError = throwUncaught, signal } = options;
  const listeners = createListeners(options.validate ?? {}, onError);
  const states = createListening<[ConnectionState]>(onError);
  const connection = createConnection(absolute(url), options, {
    ...listeners,
    onError,
    onState(state) {
      void states.tell(state);
      if (state.status !== 'closed') return;
      listeners.end(state.error);
      signal?.removeEventListener('abort', close);
    },
  });
  const { start, wake, close } = connection;
  if (signal?.aborted === true) close();
  else signal?.addEventListener('abort', close);
  return {
    ...createSubscription<C>(listeners, start),
    get state() {
      return connection.state;
    },
    get cursor() {
      return connection.cursor;
    },
    onState(handler, listenOptions) {
      const leave = states.add(handler, listenOptions);
      handler(connection.state);
      return leave;
    },
    wake,
    close,
  };
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

/** Outside of all handlers, where the browser and Node report what nobody catches. */
function throwUncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
