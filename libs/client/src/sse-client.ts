/** The client: of one stream, or of a hub that carries many topics on one. */
import { SseChannelsError } from '@sse-channels/protocol';
import { createConnection } from './connection/connection.js';
import type { ConnectionOptions } from './connection/connection-options.js';
import type { AnyEvents, ChannelsOf, Contract, SchemasOf } from './contract/contract.js';
import type { HubFeature, SseHubClient } from './hub/hub-client.js';
import { createIntake, type ClientParts } from './subscription/intake.js';
import { createListeners } from './subscription/listeners.js';
import { onAbort } from './subscription/listening.js';
import { createSubscription, type Subscription } from './subscription/subscription.js';
import type { TabsFeature } from './tabs/shared-tabs.js';

export interface SseClientOptions<C extends Contract = AnyEvents> extends ConnectionOptions {
  /** Schemas that the data of events must pass before it is handed over; handlers are given what the schema puts out. */
  readonly validate?: SchemasOf<C>;
  /**
   * Told what did not stop the stream: a handler, a schema, the storage or a function of the options that failed, an event that is not
   * valid. @default reported as an error that nobody caught
   */
  readonly onError?: (error: SseChannelsError) => void;
  /** Closes the client when it aborts. */
  readonly signal?: AbortSignal;
}

export interface SseHubClientOptions<C extends Contract = AnyEvents> extends Omit<
  SseClientOptions<ChannelsOf<C> & Contract>,
  'method' | 'body'
> {
  /** What makes it the client of a hub: `hub`, as this package exports it. Who does not import it does not load it. */
  readonly hub: HubFeature;
  /** Makes the tabs of a browser share one connection: `sharedTabs()`. @default each tab has its own */
  readonly tabs?: TabsFeature;
}

/** The client of one stream; make one with `createSseClient`. */
export interface SseClient<C extends Contract = AnyEvents> extends Subscription<C> {
  /** Tries at once where a try is waited for, and looks whether the connection is alive: for an app that comes to the front. */
  wake(): void;
}

/**
 * Makes the client of a hub: many topics on one connection.
 *
 * @example
 * const live = createSseClient<typeof ordersChannel | typeof pricesChannel>('/live', { hub });
 * live.subscribe('orders/:orderId', { orderId: 42 }).on('order.shipped', ({ carrier }) => show(carrier));
 */
export function createSseClient<C extends Contract = AnyEvents>(
  url: string | URL,
  options: SseHubClientOptions<C>,
): SseHubClient<C>;
/**
 * Makes the client of a stream. It connects when somebody listens, and stays connected until it is closed.
 *
 * @example
 * const orders = createSseClient<typeof ordersChannel>('/orders/42/events');
 * orders.on('order.shipped', ({ carrier }) => show(carrier));
 * @param url relative to the page, if there is one; what is no URL there throws `INVALID_OPTION` when it connects
 */
export function createSseClient<C extends Contract = AnyEvents>(
  url: string | URL,
  options?: SseClientOptions<C>,
): SseClient<C>;
export function createSseClient(
  url: string | URL,
  given: SseClientOptions & { readonly hub?: HubFeature; readonly tabs?: TabsFeature } = {},
): SseClient | SseHubClient {
  const { signal, onError = throwUncaught, hub: create = createStreamClient } = given;
  const client = create(() => absolute(url), { ...given, onError });
  const { close, onState } = client;
  const forget = onAbort(signal, close);
  onState(({ status }) => {
    if (status === 'closed') forget();
  });
  return client;
}

function createStreamClient(urlOf: () => string, options: ClientParts): SseClient {
  const listeners = createListeners(options.onError);
  const connection = createConnection(urlOf, options, {
    onError: options.onError,
    onState: (state) => void listeners.states.tell(state),
    receive: createIntake(listeners, options).receive,
  });
  return Object.assign(createSubscription<AnyEvents>(listeners, connection), { wake: connection.wake });
}

/** @throws SseChannelsError `INVALID_OPTION` */
function absolute(url: string | URL): string {
  const page = globalThis as {
    readonly document?: { readonly baseURI: string };
    readonly location?: { readonly href: string };
  };
  try {
    return new URL(url, page.document?.baseURI ?? page.location?.href).href;
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
