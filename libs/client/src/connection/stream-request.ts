/** Asks for a stream: the request, with what belongs to this attempt, and where it is redirected to. */
import type { ConnectionOptions, ForEachAttempt, QueryValues } from './connection-options.js';
import { failureOf } from './stream-error.js';

/** What is asked for. */
export interface Question {
  /** Added to the URL's path. */
  readonly path?: string | undefined;
  /** Parameters beside the application's. */
  readonly query?: QueryValues | undefined;
  /** Sent by POST, in place of the application's. */
  readonly body?: unknown;
  /** It asks for something that was not asked for before: what is said of that is not to be held back. */
  readonly isNew?: boolean;
}

/** What differs from one attempt to the next. */
export interface Attempt extends Question {
  readonly accept: string;
  readonly cursor: string;
  readonly signal: AbortSignal;
}

type Init = RequestInit & { readonly cache: 'no-store' };

/** @throws rejects with what `fetch` rejects with, or with a `CALLBACK_FAILED` of the application's functions */
export async function askForStream(url: string, options: ConnectionOptions, attempt: Attempt): Promise<Response> {
  // A browser's fetch is called without an object, or it throws.
  const { fetch = globalThis.fetch, method, credentials = 'same-origin', cursorIn } = options;
  const { accept, cursor, signal, path = '', body = options.body } = attempt;
  const own = new Headers(await valueOf('headers', options.headers));
  const query = { ...(await valueOf('query', options.query)), ...attempt.query };
  const isOurs = credentials === 'include' || !own.keys().next().done;
  const bare = new Headers({ accept });
  if (cursor !== '') {
    if (cursorIn === 'query') query['lastEventId'] = cursor;
    else bare.set('last-event-id', asBytes(cursor));
  }
  if (isPlain(body)) bare.set('content-type', 'application/json');
  // Not with for of: the types of browsers' headers and of Node's have only this in common.
  bare.forEach((value, name) => own.set(name, value));
  const init: Init = {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    body: (isPlain(body) ? JSON.stringify(body) : body) as NonNullable<RequestInit['body']>,
    credentials,
    signal,
    cache: 'no-store',
  };
  const first = withQuery(url, path, query);
  if (!isOurs) return fetch(first, { ...init, headers: own });

  const answer = await fetch(first, { ...init, headers: own, redirect: 'manual' });
  if (answer.type !== 'opaqueredirect' && !answer.headers.has('location')) return answer;
  letGo(answer);
  // A browser does not say where it leads. Sent without what is ours it goes there by itself, and says so afterwards.
  const found = await fetch(first, { ...init, headers: bare, credentials: 'same-origin' });
  if (originOf(found.url) !== originOf(first)) return found;
  letGo(found);
  return fetch(found.url, { ...init, headers: own, redirect: 'manual' });
}

/** Lets a body go that nobody reads. */
export function letGo(response: Response): void {
  response.body?.cancel().catch(() => undefined);
}

async function valueOf<Value>(what: string, given: ForEachAttempt<Value> | undefined): Promise<Value | undefined> {
  try {
    return await (typeof given === 'function' ? (given as () => Value | Promise<Value>)() : given);
  } catch (error) {
    throw failureOf(what, error);
  }
}

function isPlain(body: unknown): boolean {
  const { constructor } = body ?? '';
  return constructor === Object || constructor === Array;
}

/** The bytes of the text, as a header carries them: a character for each. */
function asBytes(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function originOf(url: string): string {
  return new URL(url).origin;
}

/** Without `URL`, whose parameters React Native does not implement. */
function withQuery(url: string, more: string, values: QueryValues): string {
  const pairs = Object.entries(values).flatMap(([name, value]) =>
    [value].flat().flatMap((one) => (one == null ? [] : `${encodeURIComponent(name)}=${encodeURIComponent(one)}`)),
  );
  // A fragment is not sent.
  const [address = ''] = url.replace(/(?=[?#])|$/, () => more).split('#');
  return pairs.reduce((to, pair) => to + (to.includes('?') ? '&' : '?') + pair, address);
}
