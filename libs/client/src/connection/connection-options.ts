/** How a connection is made, kept and given up. */

/** What `fetch` must be able to do; any fetch of browsers, Node, Deno, Bun or `expo/fetch` is one. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** A value, or what gives it anew for each attempt. */
export type ForEachAttempt<Value> = Value | (() => Value | Promise<Value>);

/** Headers as `fetch` takes them. */
export type HeaderValues = ConstructorParameters<typeof Headers>[0];

/** Parameters of the URL; of a list each is sent, undefined and null are left out. */
export type QueryValues = Readonly<Record<string, QueryValue | readonly QueryValue[]>>;
type QueryValue = string | number | boolean | null | undefined;

/** `localStorage`, `sessionStorage`, React Native's `AsyncStorage`, or two functions of your own. */
export interface CursorStorage {
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(key: string, value: string): unknown;
}

export interface ConnectionOptions {
  /** @default the global one */
  readonly fetch?: Fetch;
  /** @default 'GET', or 'POST' where there is a body */
  readonly method?: string;
  /** Sent as JSON where it is a plain object or a list, else as `fetch` takes it. */
  readonly body?: unknown;
  /** Headers of your own. A function is asked at each attempt, for a token that may have changed. */
  readonly headers?: ForEachAttempt<HeaderValues>;
  /** Parameters added to the URL, at each attempt anew. */
  readonly query?: ForEachAttempt<QueryValues>;
  /** As of `fetch`: `include` sends cookies to other origins too. @default 'same-origin' */
  readonly credentials?: 'omit' | 'same-origin' | 'include';
  /**
   * Called at a 401, once for each request; then the request is made again, with headers that are asked for anew.
   * False gives up. One that rejects is told to `onError`, and counts as a failed attempt.
   */
  readonly onUnauthorized?: () => unknown;
  /** Reads an event's data. What it throws is told to `onError`, and the event left out. @default JSON where it is JSON, else the text */
  readonly decode?: (data: string, name: string) => unknown;

  /** Where to begin: a cursor that the page was rendered with. It goes before the one in `storage`. */
  readonly lastEventId?: string;
  /**
   * How the cursor is sent. A header of its own costs a preflight where the server is of another origin, and must be allowed there;
   * the parameter `lastEventId` needs neither, but is seen in logs, and foreign servers may not know it.
   * @default 'header'
   */
  readonly cursorIn?: 'header' | 'query';
  /** Keeps the cursor, so that a reload resumes. */
  readonly storage?: CursorStorage;
  /** @default `sse-channels:` and the URL */
  readonly storageKey?: string;

  /** Milliseconds before a reconnect where the server says nothing, jittered; doubled with each failure. @default 1000 */
  readonly retryMs?: number;
  /** The most that failures make of it. What the server asks for may be longer. @default 30_000 */
  readonly maxRetryMs?: number;
  /** Milliseconds to the first byte of a stream, after which an attempt is given up; null: never. @default 30_000 */
  readonly openTimeoutMs?: number | null;
  /** The longest silence, for servers that do not tell theirs: after two and a half times this the connection is given up. */
  readonly heartbeatMs?: number;
  /** Gives the connection up when the page was hidden for so long, until it is seen again; null: never. @default null */
  readonly pauseHiddenAfterMs?: number | null;
  /** The longest line and the longest event, in characters; a longer one closes the client. @default 16_777_216 */
  readonly maxEventLength?: number;
  /**
   * Whether records are asked for again and again where streams do not last: after three that were shorter than a second it is tried
   * once, and kept up where the server answers it. `always` does nothing else; false never does it.
   * @default true
   */
  readonly longPoll?: boolean | 'always';
}
