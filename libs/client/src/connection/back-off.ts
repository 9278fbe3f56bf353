/** How long to wait before the next attempt: as the server asks after a stream, longer with each failure. */
import type { ConnectionOptions } from './connection-options.js';
import type { End } from './end.js';

/** The longest delay that a timer can wait. */
const MAX_DELAY_MS = 2_147_483_647;

export class BackOff {
  /** What the server asked for last, with `retry:`. */
  toldMs: number | undefined;
  /** Attempts in a row that came to nothing. */
  failures = 0;
  readonly #retryMs: number;
  readonly #maxRetryMs: number;

  constructor({ retryMs = 1_000, maxRetryMs = 30_000 }: ConnectionOptions) {
    this.#retryMs = retryMs;
    this.#maxRetryMs = maxRetryMs;
  }

  after({ next, orderly = false, afterMs = 0 }: End): number {
    if (orderly) this.failures = 0;
    if (next === 'at-once') return 0;
    const random = Math.random();
    let delayMs: number;
    // What a server of ours asks for is jittered already.
    if (orderly) delayMs = this.toldMs ?? this.#retryMs * (0.5 + random);
    else {
      const baseMs = Math.max(this.toldMs ?? 0, this.#retryMs);
      delayMs = Math.min(this.#maxRetryMs, baseMs * 2 ** this.failures) * (0.5 + random / 2);
      this.failures += 1;
    }
    return Math.min(Math.max(delayMs, afterMs), MAX_DELAY_MS);
  }
}
