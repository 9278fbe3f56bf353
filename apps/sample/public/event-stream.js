/** One event stream, which comes back by itself when its connection breaks, and can be cut and restored where it stood. */
import { isEventStream, readEvents } from './event-reader.js';
import { observeLiveEvent, toServerMs } from './server-clock.js';

/** @typedef {'connecting' | 'open' | 'cut' | 'closed'} StreamState */
/** @typedef {'trimmed' | 'reset' | 'rewound' | 'invalid'} GapReason */
/** @typedef {{ topic: string, resumed: boolean, gap: GapReason | null }} OpenTopic */
/** @typedef {{ cursor: string, replayed: boolean }} Arrival */
/**
 * @typedef {object} Place Where a stream that has no cursor of its own begins.
 * @property {string} cursor empty means: with the next event
 * @property {number} atMs when the page stood there
 */
/**
 * @typedef {object} Replay What came between a cursor and live.
 * @property {number} sinceMs when the connection was lost
 * @property {number} untilMs when it was open again; an event older than this is a replayed one
 * @property {number} count events, so far or since the last word of it
 * @property {boolean} isMoved whether another node served what came before
 * @property {GapReason | null} gap why the log could not give them all
 */
/**
 * @typedef {object} StreamListener
 * @property {(name: string, data: any, arrival: Arrival) => void} onEvent
 * @property {(state: StreamState) => void} onState
 * @property {(name: string, data: any) => void} onControl a `$` event, after the stream has heeded it
 * @property {(replay: Replay) => void} [onResume] at `$open`, when the stream came with a cursor
 * @property {(replay: Replay) => void} [onReplayed] when the replay is over, and again should more of it come late
 */

/** How long is waited before the next try, until a stream says it; in milliseconds. */
const RETRY_MS = 2_000;
/** A replay is over at the first live event. This much quiet is enough to tell of it; an old event may still come late. */
const REPLAY_QUIET_MS = 600;

export class EventStream {
  #url;
  #eventNames;
  #listener;
  /** Aborts what is read, and the wait for the next try; null while neither is wished. @type {AbortController | null} */
  #stop = null;
  #retryMs = RETRY_MS;
  /** @type {StreamState} */
  #state = 'cut';
  #cursor;
  #node = '';
  #nodeBefore = '';
  #reconnects = 0;
  #isBroken = false;
  /** When the connection was lost; null while it is open. @type {number | null} */
  #lostAtMs;
  /** @type {Replay | null} */
  #replay = null;
  #isReplayTold = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #replayTimer;

  /**
   * @param {string} url
   * @param {readonly string[]} eventNames the names to listen for
   * @param {StreamListener} listener
   * @param {Place} [place]
   */
  constructor(url, eventNames, listener, place) {
    this.#url = url;
    this.#eventNames = new Set(eventNames);
    this.#listener = listener;
    this.#cursor = place?.cursor ?? '';
    this.#lostAtMs = place?.cursor ? place.atMs : null;
  }

  get state() {
    return this.#state;
  }

  /** The `id:` of the last block that was heeded; empty before the first. */
  get cursor() {
    return this.#cursor;
  }

  /** When the connection was lost; null while it is open, or when it has never been. */
  get lostAtMs() {
    return this.#lostAtMs;
  }

  /** The node that serves it, or served it last; empty before the first. */
  get node() {
    return this.#node;
  }

  /** Its state in words, with the node that serves it. */
  get words() {
    return this.#state === 'open' && this.#node !== '' ? `open via ${this.#node}` : this.#state;
  }

  /** How often the connection broke, without anyone's wish, and was open again. */
  get reconnects() {
    return this.#reconnects;
  }

  /** Opens the stream, at its cursor if it has one. Does nothing to a stream that is open or connecting. */
  restore() {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#setState('connecting');
    void this.#keepOpen(this.#stop.signal);
  }

  /** Drops the connection and keeps the cursor. */
  cut() {
    this.#end('cut');
  }

  /** Drops the connection for good. */
  close() {
    this.#end('closed');
  }

  /** @param {StreamState} state */
  #end(state) {
    this.#stop?.abort();
    this.#stop = null;
    this.#isBroken = false;
    this.#lose(state);
  }

  /** @param {StreamState} state */
  #lose(state) {
    // A stream that never stood anywhere has nothing to miss.
    if (this.#cursor !== '') this.#lostAtMs ??= Date.now();
    this.#finishReplay();
    this.#setState(state);
  }

  /** @param {AbortSignal} signal */
  async #keepOpen(signal) {
    for (;;) {
      const answer = await readEvents(new URL(this.#url, location.href), this.#cursor, signal, {
        onOpen: (response) => {
          this.#nodeBefore = this.#node;
          this.#node = response.headers.get('X-Node') ?? '';
        },
        onBlock: (block) => {
          // What was already here when the connection was cut has not come.
          if (signal.aborted) return;
          try {
            this.#onBlock(block);
          } catch (error) {
            // A mistake of a listener is none of the connection.
            reportError(error);
          }
        },
        onRetry: (retryMs) => (this.#retryMs = retryMs),
      }).catch(() => null);
      if (signal.aborted) return;
      if (answer !== null && !isEventStream(answer) && answer.status < 500 && answer.status !== 429) {
        this.close();
        return;
      }
      if (this.#state === 'open') this.#isBroken = true;
      this.#lose('connecting');
      const retryAfterMs = Number(answer?.headers.get('Retry-After') ?? 0) * 1_000 || 0;
      await pause(Math.max(this.#retryMs, retryAfterMs), signal);
      if (signal.aborted) return;
    }
  }

  /** @param {import('./event-reader.js').Block} block */
  #onBlock({ name, data, cursor }) {
    if (data !== null && name.startsWith('$')) this.#onControl(name, JSON.parse(data), cursor ?? this.#cursor);
    else {
      this.#cursor = cursor ?? this.#cursor;
      if (data !== null && this.#eventNames.has(name)) this.#onEvent(name, JSON.parse(data));
    }
  }

  /** @param {string} name @param {any} data @param {string} cursor */
  #onControl(name, data, cursor) {
    const isFinal = name === '$closing' && data.comeBack === false;
    if (name === '$open') this.#onOpen(data.topics);
    // The final cursor says "stay away"; restoring by hand is a new wish, and goes from the last real one.
    if (!isFinal) this.#cursor = cursor;
    if (name === '$gap' && this.#replay !== null) this.#replay.gap = data.reason;
    this.#listener.onControl(name, name === '$open' ? { ...data, node: this.#node } : data);
    if (isFinal) this.close();
  }

  /** @param {readonly OpenTopic[]} topics */
  #onOpen(topics) {
    const nowMs = Date.now();
    const isResume = this.#cursor !== '';
    const sinceMs = this.#lostAtMs ?? nowMs;
    this.#lostAtMs = null;
    this.#replay = null;
    if (this.#isBroken) this.#reconnects += 1;
    this.#isBroken = false;
    this.#setState('open');
    if (!isResume) return;
    const gap = topics.find((topic) => topic.gap !== null)?.gap ?? null;
    const isMoved = this.#nodeBefore !== '' && this.#nodeBefore !== this.#node;
    this.#replay = { sinceMs, untilMs: nowMs, count: 0, isMoved, gap };
    this.#isReplayTold = false;
    this.#listener.onResume?.(this.#replay);
    this.#awaitQuiet();
  }

  /** @param {string} name @param {any} data */
  #onEvent(name, data) {
    const atMs = Date.parse(data.at);
    const replay = this.#replay;
    const replayed = replay !== null && atMs < toServerMs(replay.untilMs);
    if (replayed) {
      if (this.#isReplayTold) replay.count = 0;
      replay.count += 1;
      this.#isReplayTold = false;
      this.#awaitQuiet();
    } else if (!Number.isNaN(atMs)) {
      observeLiveEvent(atMs);
    }
    this.#listener.onEvent(name, data, { cursor: this.#cursor, replayed });
    // After the event itself: only the first live one shows whether the end of the replay is missing.
    if (replay !== null && !replayed) this.#finishReplay();
  }

  #awaitQuiet() {
    clearTimeout(this.#replayTimer);
    this.#replayTimer = setTimeout(() => this.#tellReplay(), REPLAY_QUIET_MS);
  }

  #tellReplay() {
    if (this.#replay === null || this.#isReplayTold) return;
    this.#isReplayTold = true;
    this.#listener.onReplayed?.(this.#replay);
  }

  #finishReplay() {
    clearTimeout(this.#replayTimer);
    this.#tellReplay();
    this.#replay = null;
  }

  /** @param {StreamState} state */
  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener.onState(state);
  }
}

/** @param {number} ms @param {AbortSignal} signal ends it early */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}
