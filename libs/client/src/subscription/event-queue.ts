/** The events of a stream for `for await`: as many wait as are allowed, and the stream waits for the rest. */
import type { ListenOptions } from './listening.js';

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

export interface EventQueue<T> {
  /** @returns a promise where the stream is to wait */
  readonly push: (event: T) => Promise<void> | undefined;
  readonly next: () => Promise<IteratorResult<T, undefined>>;
  /** What waits is still given; then the loop ends, with the error if there is one. */
  readonly end: (error?: Error) => void;
  /** The loop was left: nothing is given any more. */
  readonly leave: () => void;
}

/** @param onEnd called once, when no more events are taken */
export function createEventQueue<T>({ maxWaiting = 0, whenFull }: QueueOptions, onEnd: () => void): EventQueue<T> {
  /** What the loop has not come for. */
  const waiting: T[] = [];
  /** Those of the loop who wait for an event. */
  const asking: Array<() => void> = [];
  /** Lets the stream go on. */
  let release: (() => void) | undefined;
  let ended = false;
  let failure: Error | undefined;
  const isDry = (): boolean => waiting.length === 0 && !ended;
  const wake = (): void => {
    for (const resolve of asking.splice(0)) resolve();
  };
  const queue: EventQueue<T> = {
    push(event) {
      waiting.push(event);
      wake();
      if (waiting.length <= maxWaiting) return undefined;
      if (whenFull !== 'drop-oldest' || maxWaiting === 0) return new Promise((resolve) => (release = resolve));
      waiting.shift();
      return undefined;
    },
    async next() {
      // Who comes again has handled what it had.
      release?.();
      while (isDry()) await new Promise<void>((resolve) => asking.push(resolve));
      if (waiting.length > 0) return { done: false, value: waiting.shift() as T };
      const error = failure;
      failure = undefined;
      if (error) throw error;
      return { done: true, value: undefined };
    },
    end(error) {
      if (ended) return;
      ended = true;
      failure = error;
      onEnd();
      release?.();
      wake();
    },
    leave() {
      waiting.length = 0;
      queue.end();
    },
  };
  return queue;
}
