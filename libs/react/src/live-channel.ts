/** A channel that is open for as long as somebody holds it. */
import {
  INITIAL_STATE,
  type ClientEvent,
  type ClientGap,
  type ConnectionState,
  type Leave,
} from '@sse-channels/client';
import type { EventNamed, Listenable, Opened, Stateful } from './listenable.js';

/** A component's way into a channel, as `useChannel` gives it: the same object until what it was opened from changes. */
export interface LiveChannel<E extends ClientEvent = ClientEvent> extends Listenable<E>, Stateful {
  /**
   * Calls the handler with each event of that name, or with each event.
   * @returns ends the listening: what an effect gives back
   */
  on<Name extends E['name']>(
    name: Name,
    handler: (data: EventNamed<E, Name>['data'], event: EventNamed<E, Name>) => unknown,
  ): Leave;
  on(handler: (event: E) => unknown): Leave;
  /** Calls the handler where events are missing; what follows waits for the promise that it gives. */
  onGap(handler: (gap: ClientGap) => unknown): Leave;
}

/** A channel and the way to keep it open. */
export interface HeldChannel<E extends ClientEvent> extends LiveChannel<E> {
  /** Opens it, unless it is open, and keeps it so until what is returned is called. */
  readonly hold: () => Leave;
}

/** Makes a channel; it is opened when somebody holds it or listens. */
export function createLiveChannel<E extends ClientEvent>(
  open: (lastEventId: string | undefined) => Opened<E>,
): HeldChannel<E> {
  const watchers = new Set<(state: ConnectionState) => unknown>();
  let opened: Opened<E> | undefined;
  let leaveState: Leave | undefined;
  let lastEventId: string | undefined;
  let holders = 0;

  function ensureOpen(): Opened<E> {
    if (opened === undefined) {
      opened = open(lastEventId);
      leaveState = opened.onState(tell);
    }
    return opened;
  }

  function tell(state: ConnectionState): void {
    for (const watcher of watchers) watcher(state);
  }

  /** Listens by way of what is open, which stays open meanwhile. */
  function through(listen: (to: Opened<E>) => Leave): Leave {
    const leave = listen(ensureOpen());
    let isHeld = true;
    holders += 1;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      leave();
      holders -= 1;
      if (holders > 0) return;
      // What comes from here on is heard by nobody.
      lastEventId = opened?.cursor || undefined;
      // StrictMode takes an effect back and makes it again in one go.
      queueMicrotask(closeUnheld);
    };
  }

  function closeUnheld(): void {
    if (holders > 0 || opened === undefined) return;
    leaveState?.();
    opened.close();
    opened = undefined;
    tell(INITIAL_STATE);
  }

  return {
    get state() {
      return opened?.state ?? INITIAL_STATE;
    },
    onState(handler) {
      const watcher = (state: ConnectionState): unknown => handler(state);
      watchers.add(watcher);
      watcher(opened?.state ?? INITIAL_STATE);
      return () => void watchers.delete(watcher);
    },
    on(...args: unknown[]) {
      const [name, handler] = (typeof args[0] === 'function' ? [undefined, args[0]] : args) as [
        string | undefined,
        (...told: unknown[]) => unknown,
      ];
      return through((to) =>
        to.on((event) => {
          if (name === undefined) return handler(event);
          return event.name === name ? handler(event.data, event) : undefined;
        }),
      );
    },
    onGap: (handler) => through((to) => to.onGap(handler)),
    hold: () => through(() => () => undefined),
  };
}
