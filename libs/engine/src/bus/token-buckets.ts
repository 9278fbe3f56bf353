/** Token buckets: how many more events each topic takes on this node, by the rate and the burst that its channel allows. */
import { RateLimitError, type PublishLimit } from '@sse-channels/protocol';

/** How often buckets that are full again are looked for. */
const SWEEP_MS = 10_000;
/** Of more topics than this the one that took a token the longest ago is forgotten, full or not: its next ones are let through. */
const MAX_BUCKETS = 100_000;
/** Less than a timer can tell, more than sums of fractions are off. */
const TOLERANCE_MS = 0.001;

export class TokenBuckets {
  /**
   * When each bucket is full again, by the clock that is never set: all there is to know of it (the generic cell rate algorithm).
   * One that is full needs no entry.
   */
  readonly #fullAt = new Map<string, number>();
  #sweep: NodeJS.Timeout | undefined;

  /**
   * Takes so many tokens, or none.
   * @throws RateLimitError where the topic's bucket has fewer
   */
  take(topic: string, limit: Required<PublishLimit>, tokens: number): void {
    const now = performance.now();
    const tokenMs = 1_000 / limit.perSecond;
    const fullAt = Math.max(now, this.#fullAt.get(topic) ?? 0) + tokens * tokenMs;
    const waitMs = fullAt - now - limit.burst * tokenMs - TOLERANCE_MS;
    if (waitMs > 0) {
      throw new RateLimitError(topic, limit, tokens, tokens > limit.burst ? null : Math.ceil(waitMs));
    }
    // To the end of the map, whose order is that of use.
    this.#fullAt.delete(topic);
    this.#fullAt.set(topic, fullAt);
    if (this.#fullAt.size > MAX_BUCKETS) this.#fullAt.delete(this.#fullAt.keys().next().value as string);
    this.#sweep ??= setInterval(() => this.#forgetFull(), SWEEP_MS).unref();
  }

  /** How many buckets are not known to be full. */
  get size(): number {
    return this.#fullAt.size;
  }

  close(): void {
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    this.#fullAt.clear();
  }

  #forgetFull(): void {
    const now = performance.now();
    for (const [topic, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(topic);
    if (this.#fullAt.size === 0) this.close();
  }
}
