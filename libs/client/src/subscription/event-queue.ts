/** The events of a stream for `for await`: as many wait as are allowed, and the stream waits for the rest. */
import type { ListenOptions } from './listeners.js';

/** How events are kept for a loop that is slower than they come. */
export interface QueueOptions extends ListenOptions {
  /**
   * How many events may wait for the loop. 0: none, the stream is not read on until the loop comes for the next one; the cursor then
   * moves with the loop, and the server keeps what is due. An event that waits counts as handled.
   * @default 0
   */
  readonly maxWaiting?: number;
  /**
   * What happens when so many wait: `wait` does not read on, `drop-oldest` forgets the one that has waited longest.
   * @default 'wait'
   */
  readonly whenFull?: 'wait' | 'drop-oldest';
}

export class EventQueue<T> {
  /** What the loop has not come for. */
  readonly #waiting: T[] = [];
  readonly #options: QueueOptions;
  readonly #onEnd: () => void;
  /** Lets those go on who wait for an event. */
  #wakes: Array<() => void> = [];
  /** Lets the stream go on. */
  #release: () => void = () => undefined;
  #ended = false;
  #error: Error | undefined;

  /** @param onEnd called once, when no more events are taken */
  constructor(options: QueueOptions, onEnd: () => void) {
    this.#options = options;
    this.#onEnd = onEnd;
  }

  /** @returns a promise where the stream is to wait */
  push(event: T): Promise<void> | undefined {
    const { maxWaiting = 0, whenFull } = this.#options;
    this.#waiting.push(event);
    this.#wake();
    if (this.#waiting.length <= maxWaiting) return undefined;
    if (whenFull === 'drop-oldest' && maxWaiting > 0) this.#waiting.shift();
    else return new Promise((resolve) => (this.#release = resolve));
    return undefined;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    // Who comes again has handled what it had.
    this.#release();
    while (this.#waiting.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => this.#wakes.push(resolve));
    }
    if (this.#waiting.length > 0) return { done: false, value: this.#waiting.shift() as T };
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  /** What waits is still given; then the loop ends, with the error if there is one. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#onEnd();
    this.#release();
    this.#wake();
  }

  /** The loop was left: nothing is given any more. */
  leave(): void {
    this.#waiting.length = 0;
    this.end();
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }
}
