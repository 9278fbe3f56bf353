/** Where the client is tried: in this Node, and in Chromium as it is built. */
import { createSseClient, type ClientEvent, type ConnectionState, type SseClientOptions } from '@sse-channels/client';
import type { Browser, Page } from 'playwright-core';
import { bundleClient } from '../../.ci/client-bundle.mjs';
import { chromiumPath, launchChromium } from '../chromium.js';

/** A state, with what can be said of an error elsewhere. */
export interface SeenState extends Omit<ConnectionState, 'error'> {
  readonly error: { readonly code: string; readonly status: number | null; readonly body: string } | null;
}

/** A client that is open at a place. */
export interface PlacedClient {
  /** What its handlers were called with. */
  events(): Promise<readonly ClientEvent[]>;
  count(): Promise<number>;
  /** Its states, one after the other. */
  states(): Promise<readonly SeenState[]>;
  close(): Promise<void>;
}

/** Options that can be sent to a page. */
export type PlainOptions = Pick<
  SseClientOptions,
  'retryMs' | 'lastEventId' | 'method' | 'body' | 'credentials' | 'cursorIn' | 'longPoll'
> & { readonly headers?: Readonly<Record<string, string>> };

export interface Place {
  readonly place: string;
  start(): Promise<void>;
  /**
   * Opens a client; data is text, as an EventSource gives it.
   * @param page where that is, which its server gives, and the client with it. @default one of the URL's origin, given by nobody
   */
  open(url: string, options?: PlainOptions, page?: string): Promise<PlacedClient>;
  stop(): Promise<void>;
}

const node: Place = {
  place: `Node ${process.versions.node}`,
  start: async () => undefined,
  stop: async () => undefined,
  async open(url, options) {
    const events: ClientEvent[] = [];
    const states: SeenState[] = [];
    const client = createSseClient(url, { decode: (text) => text, ...options });
    client.on((event) => events.push(event));
    client.onState(({ error, ...state }) => {
      states.push({
        ...state,
        error: error === undefined ? null : { code: error.code, status: error.status, body: error.body },
      });
    });
    return {
      events: async () => events,
      count: async () => events.length,
      states: async () => states,
      close: async () => client.close(),
    };
  },
};

class Chromium implements Place {
  readonly place = 'Chromium';
  #browser: Browser | undefined;
  #page: Page | undefined;
  #bundle = '';

  async start(): Promise<void> {
    this.#bundle = (await bundleClient()).code;
    this.#browser = await launchChromium();
    this.#page = await this.#browser.newPage();
    await this.#page.route('**/page-of-the-client', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,">' }),
    );
    await this.#page.route('**/client.js', (route) =>
      route.fulfill({ contentType: 'text/javascript', body: this.#bundle }),
    );
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
  }

  async open(url: string, options: PlainOptions = {}, served?: string): Promise<PlacedClient> {
    const page = this.#page as Page;
    const home = served ?? new URL('/page-of-the-client', url).href;
    // While anything is intercepted preflights are answered by who intercepts.
    if (served !== undefined) await page.unrouteAll();
    if (page.url() !== home) await page.goto(home);
    await page.evaluate(
      `(async (url, options) => {
        const { createSseClient } = await import('/client.js');
        globalThis.client?.close();
        globalThis.events = [];
        globalThis.states = [];
        globalThis.client = createSseClient(url, { decode: (text) => text, ...options });
        client.on((event) => events.push(event));
        client.onState(({ error, ...state }) =>
          states.push({ ...state, error: error ? { code: error.code, status: error.status, body: error.body } : null }));
      })(${JSON.stringify(url)}, ${JSON.stringify(options)})`,
    );
    return {
      events: () => page.evaluate('events'),
      count: () => page.evaluate('events.length'),
      states: () => page.evaluate('states'),
      close: () => page.evaluate('client.close()'),
    };
  }
}

/** Chromium; null where it is missing, after that was said. */
export const browser: Place | null = chromiumPath === null ? null : new Chromium();

export const places: readonly Place[] = browser === null ? [node] : [node, browser];
