/** The page's one connection: all panels follow their topics by it. It can be cut and restored, and tells what its return brought. */
import { createSseClient, hub, type ConnectionState } from '@sse-channels/client';
import type { liveChannels } from '../../src/live/live.channels.js';
import { Line } from './line.js';
import { observeLiveEvent, toServerMs } from './server-clock.js';

/** Whose inboxes this page may look into: what a sign-in would give it. */
const SIGNED_IN = 'alice, bob';
/** A replay is over when nothing old has come for so long; in milliseconds. */
const REPLAY_QUIET_MS = 600;

/** What can be shown of it: another object where anything is another. */
export interface Shown {
  readonly status: ConnectionState['status'] | 'cut';
  /** The node that serves it, or served it last; empty before the first. */
  readonly node: string;
  /** How often it broke, without anyone's wish, and was open again. */
  readonly reconnects: number;
  /** When it was lost; null while it is open, or where it has never been. */
  readonly lostAtMs: number | null;
}

/** It was lost and is back: what happened in between is replayed. */
export interface Return {
  readonly lostAtMs: number;
  readonly atMs: number;
  /** Whether another node serves it now. */
  readonly isMoved: boolean;
  /** Whether the reader of the page had cut it, and so waits for word of the replay. */
  readonly isByHand: boolean;
}

export class LiveConnection {
  readonly #line = new Line();
  readonly #listeners = new Set<() => void>();
  readonly #replayListeners = new Set<(back: Return) => void>();
  #shown: Shown = { status: 'connecting', node: '', reconnects: 0, lostAtMs: null };
  #return: Return | null = null;
  #isByHand = false;
  #origin = '';
  #quietTimer: ReturnType<typeof setTimeout> | undefined;

  readonly client = createSseClient<typeof liveChannels>('/live', {
    hub,
    headers: { 'x-user': SIGNED_IN },
    fetch: this.#line.fetch,
  });

  constructor() {
    this.client.onState((state) => this.#onState(state));
  }

  get shown(): Shown {
    return this.#shown;
  }

  /**
   * The cursor where this page began, empty before the first event. One cursor places a client in all topics of a log space, so what is
   * looked into later begins here: with everything since the page was.
   */
  get origin(): string {
    return this.#origin;
  }

  /** Calls back when `shown` is another. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Calls back when all that was missed has come, and again should more of it come late. */
  onReplayed(listener: (back: Return) => void): () => void {
    this.#replayListeners.add(listener);
    return () => void this.#replayListeners.delete(listener);
  }

  /** Drops the connection; its client goes on trying, in vain. */
  cut(): void {
    this.#isByHand = true;
    this.#line.cut();
    this.#show({ status: 'cut' });
  }

  restore(): void {
    this.#line.restore();
    this.#show({ status: this.client.state.status });
    this.client.wake();
  }

  /**
   * The return of the connection that brought an event of this time; null for a live one.
   * @param at when it happened, by the server's clock
   */
  returnOf(at: string): Return | null {
    this.#origin ||= this.client.cursor;
    const atMs = Date.parse(at);
    if (this.#return !== null && atMs < toServerMs(this.#return.atMs)) {
      this.#awaitQuiet();
      return this.#return;
    }
    observeLiveEvent(atMs);
    return null;
  }

  #onState({ status }: ConnectionState): void {
    const { lostAtMs, node, reconnects, status: before } = this.#shown;
    if (status !== 'open') {
      const isLost = before === 'open' || (before === 'cut' && lostAtMs === null && this.#line.node !== '');
      this.#show({
        status: this.#line.isCut ? 'cut' : status,
        ...(isLost ? { lostAtMs: Date.now() } : {}),
      });
      return;
    }
    const isBack = lostAtMs !== null;
    if (isBack) {
      const isMoved = node !== this.#line.node;
      this.#return = { lostAtMs, atMs: Date.now(), isMoved, isByHand: this.#isByHand };
      this.#awaitQuiet();
    }
    this.#show({
      status,
      node: this.#line.node,
      lostAtMs: null,
      reconnects: reconnects + Number(isBack && !this.#isByHand),
    });
    this.#isByHand = false;
  }

  #awaitQuiet(): void {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => {
      const back = this.#return;
      if (back !== null) for (const listener of this.#replayListeners) listener(back);
    }, REPLAY_QUIET_MS);
  }

  #show(change: Partial<Shown>): void {
    this.#shown = { ...this.#shown, ...change };
    for (const listener of this.#listeners) listener();
  }
}
