/** The events of a channel, folded into one value. */
import { useEffect, useSyncExternalStore } from 'react';
import type { ClientEvent, ClientGap } from '@sse-channels/client';
import { useKept } from './kept.js';
import type { Listenable } from './listenable.js';

/**
 * Folds the events that come while the component is mounted into a value, as `useReducer` does with actions. It begins anew with
 * another channel.
 *
 * @example
 * const notes = useReduced(inbox, (list, { data }) => [data, ...list].slice(0, 50), []);
 * @param reduce makes the next value of the last one and an event; the last one itself where nothing changes
 * @param initial the value before the first event, and on a server
 * @param reduceGap makes the next value where events are missing. @default nothing changes
 */
export function useReduced<E extends ClientEvent, Value>(
  channel: Listenable<E>,
  reduce: (value: Value, event: E) => Value,
  initial: Value,
  reduceGap: (value: Value, gap: ClientGap) => Value = same,
): Value {
  return useFold(channel, { event: reduce, gap: reduceGap }, initial, undefined);
}

/** @param key one more thing with which it begins anew */
export function useFold<E extends ClientEvent, Value>(
  channel: Listenable<E>,
  steps: Steps<E, Value>,
  initial: Value,
  key: unknown,
): Value {
  const fold = useKept(() => createFold(channel, steps, initial), [channel, key]);
  // Before the one that subscribes: no event meets older functions than those that were rendered.
  useEffect(() => fold.stepBy(steps));
  return useSyncExternalStore(fold.subscribe, fold.read, fold.read);
}

interface Steps<E extends ClientEvent, Value> {
  readonly event: (value: Value, event: E) => Value;
  readonly gap: (value: Value, gap: ClientGap) => Value;
}

function createFold<E extends ClientEvent, Value>(channel: Listenable<E>, first: Steps<E, Value>, initial: Value) {
  let steps = first;
  let value = initial;
  return {
    stepBy: (next: Steps<E, Value>): void => void (steps = next),
    read: (): Value => value,
    subscribe: (notify: () => void) => {
      const leaves = [
        channel.onGap((gap) => {
          value = steps.gap(value, gap);
          notify();
        }),
        channel.on((event) => {
          value = steps.event(value, event);
          notify();
        }),
      ];
      return () => leaves.forEach((leave) => leave());
    },
  };
}

export function same<Value>(value: Value): Value {
  return value;
}
