/** Which appends were made under a key, for as long as the port promises to know it. */
import type { Cursor } from '@sse-channels/protocol';

/** How long a key is known, in milliseconds. */
export const IDEMPOTENCY_MS = 600_000;
/** The most keys at a time, so that they cannot fill the memory; the oldest are forgotten first. */
const MAX_KEYS = 100_000;

interface Made<T> {
  readonly topic: string;
  readonly key: string;
  readonly answer: T;
  /** When, in milliseconds since 1970. */
  readonly at: number;
}

/** @typeParam T what an append answers: a cursor, or the promise of one */
export class IdempotencyKeys<T = Cursor> {
  /** In the order in which they were made. */
  readonly #made = new Map<string, Made<T>>();

  constructor(private readonly maxKeys = MAX_KEYS) {}

  /** What the append under this key answered; undefined where there was none, or too long ago. */
  get(topic: string, key: string): T | undefined {
    this.#forget();
    return this.#made.get(nameOf(topic, key))?.answer;
  }

  /** @param at when it was made, in milliseconds since 1970 */
  set(topic: string, key: string, answer: T, at = Date.now()): void {
    this.#made.set(nameOf(topic, key), { topic, key, answer, at });
    this.#forget();
  }

  get size(): number {
    return this.#made.size;
  }

  /** What is known, oldest first. */
  [Symbol.iterator](): IterableIterator<Made<T>> {
    return this.#made.values();
  }

  delete(topic: string, key: string): void {
    this.#made.delete(nameOf(topic, key));
  }

  #forget(): void {
    const expired = Date.now() - IDEMPOTENCY_MS;
    for (const [name, { at }] of this.#made) {
      if (at > expired && this.#made.size <= this.maxKeys) return;
      this.#made.delete(name);
    }
  }
}

/** A topic's name holds no line break. */
function nameOf(topic: string, key: string): string {
  return `${topic}\n${key}`;
}
