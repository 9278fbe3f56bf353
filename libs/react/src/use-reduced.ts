/** The events of a channel, folded into one value. */
import { useEffect, useSyncExternalStore, type DependencyList } from 'react';
import type { ClientEvent } from '@sse-channels/client';
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
 */
export function useReduced<E extends ClientEvent, Value>(
  channel: Listenable<E>,
  reduce: (value: Value, event: E) => Value,
  initial: Value,
): Value {
  return useFold(channel, reduce, initial, []);
}

/** @param deps more that makes it begin anew */
export function useFold<E extends ClientEvent, Value>(
  channel: Listenable<E>,
  reduce: (value: Value, event: E) => Value,
  initial: Value,
  deps: DependencyList,
): Value {
  const fold = useKept(() => createFold(channel, reduce, initial), [channel, ...deps]);
  // Before the one that subscribes: no event meets an older function than the one that was rendered.
  useEffect(() => fold.reduceBy(reduce));
  return useSyncExternalStore(fold.subscribe, fold.read, fold.read);
}

function createFold<E extends ClientEvent, Value>(
  channel: Listenable<E>,
  first: (value: Value, event: E) => Value,
  initial: Value,
) {
  let reduce = first;
  let value = initial;
  return {
    reduceBy: (next: typeof reduce): void => void (reduce = next),
    read: (): Value => value,
    subscribe: (notify: () => void) =>
      channel.on((event) => {
        value = reduce(value, event);
        notify();
      }),
  };
}
