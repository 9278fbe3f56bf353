/** Those who listen to one thing: a handler that throws harms nobody else. */
import type { SseChannelsError } from '@sse-channels/protocol';
import { failureOf } from '../connection/stream-error.js';

/** Ends a listening. */
export type Leave = () => void;

export interface ListenOptions {
  /** Ends the listening when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

type Listener<Args extends readonly unknown[]> = (...args: Args) => unknown;

export interface Listening<Args extends readonly unknown[]> {
  readonly add: (handler: Listener<Args>, options?: ListenOptions) => Leave;
  /** @returns a promise where a handler gave one; it never rejects */
  readonly tell: (...args: Args) => Promise<unknown> | undefined;
}

/**
 * Calls a function when the signal aborts; at once where it has.
 * @returns forgets it
 */
export function onAbort(signal: AbortSignal | undefined, act: () => void): Leave {
  if (signal?.aborted === true) act();
  else signal?.addEventListener('abort', act);
  return () => signal?.removeEventListener('abort', act);
}

/** @param report told what a handler failed with */
export function createListening<Args extends readonly unknown[]>(
  report: (error: SseChannelsError) => void,
): Listening<Args> {
  const listeners = new Set<Listener<Args>>();
  const fail = (error: unknown): void => report(failureOf('A handler', error));
  return {
    add(handler, { signal } = {}) {
      // One handler may be added twice.
      const listener: Listener<Args> = (...args) => handler(...args);
      let forget: Leave = () => undefined;
      const leave = (): void => {
        listeners.delete(listener);
        forget();
      };
      listeners.add(listener);
      forget = onAbort(signal, leave);
      return leave;
    },
    tell(...args) {
      const pending: Array<Promise<unknown>> = [];
      for (const listener of Array.from(listeners)) {
        try {
          const result = listener(...args) as PromiseLike<unknown> | undefined;
          if (typeof result?.then === 'function') pending.push(Promise.resolve(result).catch(fail));
        } catch (error) {
          fail(error);
        }
      }
      return pending.length > 0 ? Promise.all(pending) : undefined;
    },
  };
}
