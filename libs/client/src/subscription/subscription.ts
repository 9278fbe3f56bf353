/** One way through a stream for the application: handlers, a loop, an Observable. */
import type { ConnectionState } from '../connection/connection-state.js';
import type { ClientEvent, Contract, DataOf, EventOf, NameOf } from '../contract/contract.js';
import { createEventQueue, type QueueOptions } from './event-queue.js';
import type { ClientGap, Listeners } from './listeners.js';
import { onAbort, type Leave, type ListenOptions } from './listening.js';

/** What an Observable tells; RxJS' observers are such. */
export interface ClientObserver<T> {
  next?(value: T): void;
  error?(error: unknown): void;
  complete?(): void;
}

/** The common ground of Observables: what RxJS' `from()` takes. */
export interface ClientObservable<T> {
  subscribe(observer: ClientObserver<T>): { unsubscribe(): void };
}

export interface Subscription<C extends Contract> extends AsyncIterable<EventOf<C>, undefined> {
  /** What is being done for it, and why. */
  readonly state: ConnectionState;
  /** Where it stands: the cursor after the last event that was handled; empty before the first. */
  readonly cursor: string;
  /**
   * Calls the handler with each event of that name, or with each event. The next event waits for the promise that a handler gives, and
   * the cursor moves when the handler is done. What it throws is told to `onError`; the stream goes on.
   * @returns ends the listening
   */
  on<Name extends NameOf<C>>(
    name: Name,
    handler: (data: DataOf<C, Name>, event: ClientEvent<Name, DataOf<C, Name>>) => unknown,
    options?: ListenOptions,
  ): Leave;
  on(handler: (event: EventOf<C>) => unknown, options?: ListenOptions): Leave;
  /**
   * Calls the handler where events are missing. What follows waits for the promise that it gives, so that it can fetch anew what the
   * events would have brought.
   * @returns ends the listening
   */
  onGap(handler: (gap: ClientGap) => unknown, options?: ListenOptions): Leave;
  /**
   * Calls the handler with the state as it is now, and with each that follows.
   * @returns ends the listening
   */
  readonly onState: (handler: (state: ConnectionState) => unknown, options?: ListenOptions) => Leave;
  /** Every event from the first `next()` on, until it is closed; throws where that was for an error. Leaving the loop closes nothing. */
  events(options?: QueueOptions): AsyncIterableIterator<EventOf<C>, undefined>;
  [Symbol.asyncIterator](): AsyncIterableIterator<EventOf<C>, undefined>;
  /** What `from(client)` of RxJS and others ask for; under `Symbol.observable` as well, where that is known. */
  '@@observable'(): ClientObservable<EventOf<C>>;
  /** Closes it for good: loops end, Observables complete. */
  readonly close: () => void;
}

/** What is listened to. */
export interface Source {
  readonly state: ConnectionState;
  readonly cursor: string;
  /** Called when somebody listens: what comes before that would pass unheard. */
  readonly start: () => void;
  readonly close: () => void;
}

export function createSubscription<C extends Contract>(listeners: Listeners, source: Source): Subscription<C> {
  const { start, close } = source;
  const onState: Subscription<C>['onState'] = (handler, options) => {
    const leave = listeners.states.add(handler, options);
    handler(source.state);
    return leave;
  };
  const onEnd = (handler: (error: Error | undefined) => void): Leave =>
    onState(({ status, error }) => {
      if (status === 'closed') handler(error);
    });
  const listen = (handler: (event: EventOf<C>) => unknown, options?: ListenOptions): Leave => {
    const leave = listeners.events.add((event) => handler(event as EventOf<C>), options);
    start();
    return leave;
  };
  const events: Subscription<C>['events'] = (options = {}) => {
    const { signal } = options;
    const leaves: Leave[] = [];
    const queue = createEventQueue<EventOf<C>>(options, () => leaves.forEach((leave) => leave()));
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next() {
        if (leaves.length === 0) {
          leaves.push(onAbort(signal, queue.leave));
          if (signal?.aborted !== true) leaves.push(onEnd(queue.end), listen(queue.push));
        }
        return queue.next();
      },
      return() {
        queue.leave();
        return queue.next();
      },
    };
  };
  const observable = (): ClientObservable<EventOf<C>> => ({
    subscribe(observer) {
      const leaves = [
        onEnd((error) => (error ? observer.error?.(error) : observer.complete?.())),
        listen((event) => observer.next?.(event)),
      ];
      return { unsubscribe: () => leaves.forEach((leave) => leave()) };
    },
  });
  return {
    get state() {
      return source.state;
    },
    get cursor() {
      return source.cursor;
    },
    on(...args: unknown[]) {
      const [name, handler, options] = (typeof args[0] === 'function' ? [undefined, ...args] : args) as [
        string | undefined,
        (...told: unknown[]) => unknown,
        ListenOptions | undefined,
      ];
      return listen((event) => {
        if (name === undefined) return handler(event);
        return event.name === name ? handler(event.data, event) : undefined;
      }, options);
    },
    onGap: listeners.gaps.add,
    onState,
    close,
    events,
    [Symbol.asyncIterator]: () => events(),
    '@@observable': observable,
    // Named when it is known: a library may bring the symbol later than this one is loaded.
    [(Symbol as { readonly observable?: symbol }).observable ?? '@@observable']: observable,
  };
}
