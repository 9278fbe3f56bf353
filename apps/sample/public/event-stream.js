/** One event stream over the browser's own EventSource, which can be cut and restored where it stood. */
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

const CONTROL_EVENTS = ['$open', '$gap', '$closing', '$error'];

/** A replay is over at the first live event. This much quiet is enough to tell of it; an old event may still come late. */
const REPLAY_QUIET_MS = 600;

export class EventStream {
  #url;
  #eventNames;
  #listener;
  /** @type {EventSource | null} */
  #source = null;
  /** @type {StreamState} */
  #state = 'cut';
  #cursor;
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
    this.#eventNames = eventNames;
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

  /** Opens the stream, at its cursor if it has one. Does nothing to a stream that is open or connecting. */
  restore() {
    if (this.#source !== null) return;
    const url = new URL(this.#url, location.href);
    // A new EventSource knows nothing of the old one's Last-Event-ID header. One that reconnects by itself sends both, and
    // the header, which is the newer, wins.
    if (this.#cursor !== '') url.searchParams.set('lastEventId', this.#cursor);
    const source = new EventSource(url);
    this.#source = source;
    for (const name of CONTROL_EVENTS) {
      source.addEventListener(name, (event) => this.#onControl(name, /** @type {MessageEvent<string>} */ (event)));
    }
    for (const name of this.#eventNames) {
      source.addEventListener(name, (event) => this.#onEvent(name, /** @type {MessageEvent<string>} */ (event)));
    }
    source.addEventListener('error', () => {
      // Not every error is the last: EventSource reconnects by itself unless the answer was no event stream.
      if (source.readyState === EventSource.CLOSED) this.#end('closed');
      else this.#lose('connecting');
    });
    this.#setState('connecting');
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
    this.#source?.close();
    this.#source = null;
    this.#lose(state);
  }

  /** @param {StreamState} state */
  #lose(state) {
    // A stream that never stood anywhere has nothing to miss.
    if (this.#cursor !== '') this.#lostAtMs ??= Date.now();
    this.#finishReplay();
    this.#setState(state);
  }

  /** @param {string} name @param {MessageEvent<string>} event */
  #onControl(name, event) {
    const data = JSON.parse(event.data);
    const isFinal = name === '$closing' && data.comeBack === false;
    if (name === '$open') this.#onOpen(data.topics);
    // The final cursor says "stay away"; restoring by hand is a new wish, and goes from the last real one.
    if (!isFinal) this.#cursor = event.lastEventId;
    if (name === '$gap' && this.#replay !== null) this.#replay.gap = data.reason;
    this.#listener.onControl(name, data);
    if (isFinal) this.close();
  }

  /** @param {readonly OpenTopic[]} topics */
  #onOpen(topics) {
    const nowMs = Date.now();
    const isResume = this.#cursor !== '';
    const sinceMs = this.#lostAtMs ?? nowMs;
    this.#lostAtMs = null;
    this.#replay = null;
    this.#setState('open');
    if (!isResume) return;
    const gap = topics.find((topic) => topic.gap !== null)?.gap ?? null;
    this.#replay = { sinceMs, untilMs: nowMs, count: 0, gap };
    this.#isReplayTold = false;
    this.#listener.onResume?.(this.#replay);
    this.#awaitQuiet();
  }

  /** @param {string} name @param {MessageEvent<string>} event */
  #onEvent(name, event) {
    const data = JSON.parse(event.data);
    const atMs = Date.parse(data.at);
    const replay = this.#replay;
    const replayed = replay !== null && atMs < toServerMs(replay.untilMs);
    this.#cursor = event.lastEventId;
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
