/** One way through a stream for the application: handlers, a loop, an Observable. */
import type { Contract, DataOf, EventOf, ClientEvent, NameOf } from '../contract/contract.js';
import { EventQueue, type QueueOptions } from './event-queue.js';
import type { ClientGap, Leave, Listeners, ListenOptions } from './listeners.js';

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

export class Subscription<C extends Contract> implements AsyncIterable<EventOf<C>> {
  readonly #listeners: Listeners;
  readonly #start: () => void;

  /** @param start called when somebody listens: what comes before that would pass unheard */
  constructor(listeners: Listeners, start: () => void) {
    this.#listeners = listeners;
    this.#start = start;
    // Named when it is known: a library may bring the symbol later than this one is loaded.
    const { observable } = Symbol as { readonly observable?: symbol };
    if (observable !== undefined) Object.defineProperty(this, observable, { value: () => this['@@observable']() });
  }

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
  on(...args: unknown[]): Leave {
    const [name, handler, options] = (typeof args[0] === 'function' ? [undefined, ...args] : args) as [
      string | undefined,
      (...told: unknown[]) => unknown,
      ListenOptions | undefined,
    ];
    return this.#listen((event) => {
      if (name === undefined) return handler(event);
      return event.name === name ? handler(event.data, event) : undefined;
    }, options);
  }

  /**
   * Calls the handler where events are missing. What follows waits for the promise that it gives, so that it can fetch anew what the
   * events would have brought.
   * @returns ends the listening
   */
  onGap(handler: (gap: ClientGap) => unknown, options?: ListenOptions): Leave {
    return this.#listeners.gaps.add(handler, options);
  }

  /**
   * Every event from the first `next()` on, until the client is closed; it throws where that was for an error. Leaving the loop does
   * not close the client.
   */
  events(options: QueueOptions = {}): AsyncIterableIterator<EventOf<C>, undefined> {
    const { signal } = options;
    const leaves: Leave[] = [];
    const queue = new EventQueue<EventOf<C>>(options, () => {
      for (const leave of leaves) leave();
      signal?.removeEventListener('abort', left);
    });
    const left = (): void => queue.leave();
    let begun = false;
    const begin = (): void => {
      begun = true;
      if (signal?.aborted === true) return left();
      signal?.addEventListener('abort', left);
      leaves.push(this.#listeners.onEnd((error) => queue.end(error)));
      leaves.push(this.#listen((event) => queue.push(event as EventOf<C>)));
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => {
        if (!begun) begin();
        return queue.next();
      },
      return: () => {
        left();
        return queue.next();
      },
    };
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<EventOf<C>, undefined> {
    return this.events();
  }

  /** What `from(client)` of RxJS and others ask for, where there is no `Symbol.observable` either. */
  '@@observable'(): ClientObservable<EventOf<C>> {
    return {
      subscribe: (observer) => {
        const leaves = [
          this.#listeners.onEnd((error) => (error === undefined ? observer.complete?.() : observer.error?.(error))),
          this.#listen((event) => observer.next?.(event as EventOf<C>)),
        ];
        return { unsubscribe: () => leaves.forEach((leave) => leave()) };
      },
    };
  }

  #listen(handler: (event: ClientEvent) => unknown, options?: ListenOptions): Leave {
    const leave = this.#listeners.events.add(handler, options);
    this.#start();
    return leave;
  }
}
