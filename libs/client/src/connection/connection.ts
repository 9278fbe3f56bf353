/** One connection, kept: made, read, watched, given up and made again, from the cursor that was reached, until it is closed. */
import {
  FrameParser,
  SseChannelsError,
  type BlockFields,
  type ClosingData,
  type ErrorData,
  type OpenData,
} from '@sse-channels/protocol';
import type { ConnectionOptions } from './connection-options.js';
import { differs, INITIAL_STATE, type ConnectionState, type StateReason } from './connection-state.js';
import { isOf, JSON_TYPE, refusalOf, type End } from './end.js';
import { keepPlace } from './kept-place.js';
import { isLongPollAnswer } from './long-poll-answer.js';
import { isHidden, listenToPage } from './page.js';
import type { Incoming, Receiver } from './receiver.js';
import { failureOf, StreamError } from './stream-error.js';
import { askForStream, letGo, type Question } from './stream-request.js';

/** A stream that ends sooner was none: something on the way does not let it last. */
const SHORT_MS = 1_000;
const SHORT_STREAMS = 3;
/** Silences that are waited for, in heartbeats. */
const HEARTBEATS = 2.5;
/** How long a server may hold an answer back for which nothing came. */
const WAIT_MS = 25_000;
/** After so long a stream is tried again: who walked out of an office has another network. */
const LONG_POLL_MS = 300_000;
/** The longest delay that a timer can wait. */
const MAX_DELAY_MS = 2_147_483_647;
const STREAM_TYPE = 'text/event-stream';

export interface ConnectionListener extends Receiver {
  readonly onState: (state: ConnectionState) => void;
  /** Something that the application gave failed. */
  readonly onError: (error: SseChannelsError) => void;
  /** What an attempt asks for besides what the options say. @default nothing */
  readonly question?: () => Question;
  /** What to keep in the storage. @default the cursor */
  readonly place?: () => string;
  /** Goes on from what was kept. @default with it as the cursor */
  readonly restore?: (place: string) => void;
}

export interface Connection {
  readonly state: ConnectionState;
  /** Where the client stands: after the last event that was handled. */
  readonly cursor: string;
  /** Goes on from there with the next attempt. */
  readonly moveTo: (cursor: string) => void;
  /** Begins, or goes on after a rest. */
  readonly start: () => void;
  /** Holds nothing until it is started again. */
  readonly rest: () => void;
  /** Makes an attempt at once where one is waited for, and looks whether what is open was silent for too long. */
  readonly wake: () => void;
  /** Gives up what is open, and asks anew at once. */
  readonly renew: () => void;
  /** Asks beside the stream, with the headers and the patience for a 401 that it is asked for with. */
  readonly ask: (accept: string, signal: AbortSignal, question: Question, from: string) => Promise<Response>;
  /** Closes for good. */
  readonly close: () => void;
}

/**
 * Makes a connection; it begins when it is started. A closure, since each private name of a class has its price in a page.
 * @param urlOf asked when it begins
 */
export function createConnection(
  urlOf: () => string,
  options: ConnectionOptions,
  listener: ConnectionListener,
): Connection {
  const { openTimeoutMs = 30_000, pauseHiddenAfterMs = null, decode = jsonOrText, longPoll = true } = options;
  const { onUnauthorized, maxEventLength: maxLength, retryMs = 1_000, maxRetryMs = 30_000 } = options;
  const { onError, question, place = () => cursor, restore = moveTo } = listener;
  const patienceMs = openTimeoutMs ?? Infinity;
  const kept = keepPlace(options, () => url, place, onError);
  let url = '';
  let cursor = options.lastEventId ?? '';
  let state = INITIAL_STATE;
  let leavePage: (() => void) | undefined;
  let hideTimer: Timer;
  /** The page is hidden, and nothing is done until it is seen. */
  let paused = false;
  /** Nothing is wanted. */
  let resting = false;
  /** Ends the wait for the next attempt. */
  let hurry: () => void = () => undefined;
  let heartbeatMs = options.heartbeatMs ?? Infinity;
  /** What the server asked for last, with `retry:`. */
  let toldRetryMs: number | undefined;
  /** Attempts in a row that came to nothing. */
  let failures = 0;
  let shortStreams = 0;
  let canPoll = longPoll !== false;
  /** When long-polling began; 0: it is not done. */
  let pollingSince = longPoll === 'always' ? Infinity : 0;

  // Of the attempt that is being made.
  let attempt = new AbortController();
  /** Why it was given up. */
  let givenUp: End | undefined;
  let silenceTimer: Timer;
  let openedAt = 0;
  /** When something came last; Infinity while a handler is waited for and nothing is read. */
  let heardAt = 0;
  let fruitful = false;
  let failure: ErrorData | undefined;

  return {
    get state() {
      return state;
    },
    get cursor() {
      return cursor;
    },
    moveTo,
    start() {
      if (isClosed()) return;
      if (leavePage) {
        const rested = resting;
        resting = false;
        // Who waits after a failure waits on.
        if (rested) hurry();
        return;
      }
      url = urlOf();
      leavePage = listenToPage((online) => {
        clearTimeout(hideTimer);
        paused &&= isHidden();
        if (isHidden()) hide();
        if (online || !isHidden()) wake(online);
      });
      void run();
    },
    rest() {
      resting = true;
      giveUp({ reason: 'idle', next: 'at-once' });
    },
    wake: () => wake(),
    renew: () => giveUp({ reason: 'opened', next: 'at-once' }),
    ask,
    close: () => close('client-left'),
  };

  function moveTo(to: string): void {
    cursor = to;
  }

  async function run(): Promise<void> {
    const loaded = await kept.load();
    if (cursor === '') restore(loaded);
    while (!isClosed()) {
      const end = await makeAttempt();
      if (isClosed()) return;
      const { reason, error } = end;
      if (end.next === 'never') return close(reason, error);
      const delayMs = delayAfter(end);
      // Between two answers of a long poll nothing is amiss.
      if (reason !== 'opened') {
        become({
          status: state.status === 'connecting' ? 'connecting' : 'stale',
          reason,
          retryInMs: paused || resting ? null : delayMs,
          error,
        });
      }
      await pause(delayMs);
    }
  }

  /** Makes one attempt and stays with it to its end. */
  async function makeAttempt(): Promise<End> {
    const own = (attempt = new AbortController());
    const { signal } = own;
    openedAt = heardAt = 0;
    fruitful = false;
    failure = undefined;
    if (pollingSince > 0 && Date.now() - pollingSince > LONG_POLL_MS) {
      pollingSince = 0;
      shortStreams = SHORT_STREAMS - 1;
    }
    if (state.status !== 'open') become({ retryInMs: 0 });
    expect(patienceMs);
    try {
      return await (pollingSince > 0 ? poll(signal) : stream(signal));
    } catch (cause) {
      if (signal.aborted) return givenUp as End;
      if (cause instanceof SseChannelsError) {
        const { code, message } = cause;
        if (code === 'CALLBACK_FAILED') onError(cause);
        else return { reason: 'refused', error: new StreamError(code, message, { cause }), next: 'never' };
      }
      const error = new StreamError('UNAVAILABLE', 'The network failed.', { cause });
      return openedAt > 0 ? cut(error) : { reason: 'unreachable', error };
    } finally {
      clearTimeout(silenceTimer);
      if (hasLasted()) failures = 0;
      // A body that is read no further is let go.
      own.abort();
      void kept.save();
    }
  }

  async function stream(signal: AbortSignal): Promise<End> {
    const response = await ask(STREAM_TYPE, signal, question?.());
    if (!isOf(response, STREAM_TYPE)) return refusalOf(response);
    const reader = response.body?.getReader();
    if (!reader) {
      if (canPoll) return fallBack({ reason: 'cut' });
      throw new SseChannelsError('STREAM_REFUSED', 'This fetch gives no body to read; pass one that does.');
    }
    // A fetch that does not heed the signal is told here.
    signal.addEventListener('abort', () => void reader.cancel().catch(() => undefined));
    open('stream');
    const events: Incoming[] = [];
    const parser = new FrameParser({
      lastEventId: cursor,
      maxLength,
      onEvent({ name, data, lastEventId }, fields) {
        try {
          const decoded = name.startsWith('$') ? jsonOrText(data) : decode(data, name);
          events.push(incoming(name, decoded, fields, lastEventId));
        } catch (error) {
          onError(failureOf('decode', error));
        }
      },
      onRetry: (ms) => (toldRetryMs = ms),
    });
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return givenUp as End;
      if (done) return cut();
      hear();
      parser.push(value);
      const end = await take(events.splice(0));
      if (end) return end;
      // A heartbeat moves the cursor, too.
      cursor = parser.lastEventId;
      void kept.save();
    }
  }

  async function poll(signal: AbortSignal): Promise<End> {
    // The first answer is not held back: so it is known soon whether there is one, and what it says of what is asked for anew.
    const { query, body, isNew } = question?.() ?? {};
    const waitMs = state.status === 'open' && isNew !== true ? WAIT_MS : 0;
    expect(patienceMs + waitMs);
    const askedAt = Date.now();
    const response = await ask(JSON_TYPE, signal, { query: { ...query, waitMs }, body });
    const answer: unknown = isOf(response, JSON_TYPE) ? await response.json() : undefined;
    if (!isLongPollAnswer(answer)) {
      const refusal = await refusalOf(response);
      // The end, and what passes, would be told of a stream as well.
      const isFinal = refusal.next === undefined || refusal.error === undefined;
      if (isFinal || pollingSince === Infinity) return refusal;
      pollingSince = 0;
      canPoll = false;
      return { reason: 'cut', next: 'at-once' };
    }
    open('long-poll');
    const { events, more, retryMs: toldMs } = answer;
    toldRetryMs = toldMs ?? toldRetryMs;
    let at = cursor;
    const end = await take(
      events.map((fields) => {
        at = fields.id ?? at;
        return incoming(fields.event, fields.data, fields, at);
      }),
    );
    if (end) return end;
    cursor = answer.cursor;
    // A server that does not wait is not asked again in a hurry.
    const hasty = waitMs > 0 && !more && !fruitful && Date.now() - askedAt < SHORT_MS;
    return { reason: 'opened', orderly: true, next: hasty ? undefined : 'at-once' };
  }

  /** Asks, and once more after a 401 if the application has an answer to it. */
  async function ask(accept: string, signal: AbortSignal, asked?: Question, from = cursor): Promise<Response> {
    const send = (): Promise<Response> => askForStream(url, options, { ...asked, accept, cursor: from, signal });
    const response = await send();
    if (response.status !== 401 || !onUnauthorized) return response;
    try {
      if ((await onUnauthorized()) === false) return response;
    } catch (error) {
      throw failureOf('onUnauthorized', error);
    }
    letGo(response);
    return send();
  }

  /** Hands events over, each after the one before it was handled. */
  async function take(events: readonly Incoming[]): Promise<End | undefined> {
    for (const event of events) {
      if (isClosed()) return { reason: 'client-left' };
      const { name, data, id } = event;
      // With a topic it is said of that topic alone, and the stream goes on.
      const ofStream = !(data as { readonly topic?: string } | null)?.topic;
      if (name === '$closing' && ofStream) {
        const { reason = 'done', comeBack = false } = (data ?? {}) as Partial<ClosingData>;
        const error = failure && new StreamError('STREAM_FAILED', failure.message, failure);
        return { reason, error, orderly: reason !== 'failed', next: comeBack ? undefined : 'never' };
      }
      if (name === '$error' && ofStream) failure = data as ErrorData;
      else {
        if (name === '$open') {
          heartbeatMs = (data as OpenData).heartbeatMs;
          hear();
        } else fruitful ||= !name.startsWith('$') || name === '$gap';
        const handled = listener.receive(event);
        if (handled) {
          void kept.save();
          // Nothing is read meanwhile, so silence says nothing.
          clearTimeout(silenceTimer);
          heardAt = Infinity;
          await handled;
          hear();
        }
      }
      if (id !== undefined) cursor = id;
    }
    return undefined;
  }

  /** The end of a stream without a word. */
  function cut(error?: StreamError): End {
    const end: End = { reason: 'cut', error, orderly: hasLasted() || fruitful };
    shortStreams = hasLasted() ? 0 : shortStreams + 1;
    return shortStreams >= SHORT_STREAMS && canPoll ? fallBack(end) : end;
  }

  function fallBack(end: End): End {
    pollingSince = Date.now();
    return { ...end, next: 'at-once' };
  }

  function hasLasted(): boolean {
    return openedAt > 0 && Date.now() - openedAt >= SHORT_MS;
  }

  function open(transport: ConnectionState['transport']): void {
    openedAt = Date.now();
    become({ status: 'open', reason: 'opened', transport, retryInMs: null, error: undefined });
  }

  function delayAfter({ next, orderly, afterMs = 0 }: End): number {
    if (orderly) failures = 0;
    if (next === 'at-once') return 0;
    const random = Math.random();
    // What a server of ours asks for is jittered already.
    const delayMs = orderly
      ? (toldRetryMs ?? retryMs * (0.5 + random))
      : Math.min(maxRetryMs, Math.max(toldRetryMs ?? 0, retryMs) * 2 ** failures++) * (0.5 + random / 2);
    return Math.min(Math.max(delayMs, afterMs), MAX_DELAY_MS);
  }

  /** Waits so long, or until something speaks for trying now; on a hidden page that pauses until it is seen. */
  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      hurry = () => {
        if ((paused || resting) && !isClosed()) return;
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(hurry, delayMs);
    });
  }

  /** @param suspicious whether even a connection that was heard of lately may be dead */
  function wake(suspicious = false): void {
    hurry();
    const silent = Date.now() - (heardAt || openedAt) > heartbeatMs * HEARTBEATS;
    if (state.status === 'open' && (suspicious || silent))
      giveUp({ reason: silent ? 'silent' : 'woken', next: 'at-once' });
  }

  function giveUp(end: End): void {
    // Not as the signal's reason: some signals, as React Native's, have none.
    givenUp = end;
    attempt.abort();
  }

  function hide(): void {
    if (pauseHiddenAfterMs === null) return;
    hideTimer = setTimeout(() => {
      paused = true;
      giveUp({ reason: 'hidden', next: 'at-once' });
    }, pauseHiddenAfterMs);
  }

  /** Something came: the next silence begins. */
  function hear(): void {
    heardAt = Date.now();
    expect(heartbeatMs * HEARTBEATS);
  }

  /** Gives the attempt up when nothing comes for so long; Infinity: never. */
  function expect(withinMs: number): void {
    clearTimeout(silenceTimer);
    if (withinMs === Infinity) return;
    silenceTimer = setTimeout(() => {
      const error = new StreamError('UNAVAILABLE', `Nothing came for ${withinMs} ms.`);
      giveUp({ reason: openedAt > 0 ? 'silent' : 'unreachable', error, orderly: heardAt > 0 });
    }, withinMs);
  }

  function isClosed(): boolean {
    return state.status === 'closed';
  }

  function close(reason: StateReason, error?: StreamError): void {
    if (isClosed()) return;
    leavePage?.();
    clearTimeout(hideTimer);
    become({ status: 'closed', reason, retryInMs: null, error });
    attempt.abort();
    hurry();
  }

  function become(change: Partial<ConnectionState>): void {
    const before = state;
    state = { ...before, ...change };
    if (differs(before, state)) listener.onState(state);
  }
}

type Timer = ReturnType<typeof setTimeout> | undefined;

function jsonOrText(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return data;
  }
}

/** @param at the stream's cursor after it */
function incoming(name: string, data: unknown, fields: Partial<BlockFields>, at: string): Incoming {
  const { id, topic, cursor: ownCursor } = fields;
  return { name, data, id, topic, ownCursor, cursor: ownCursor ?? at };
}
