/** What a connection is doing, as a value. */
import { useCallback, useSyncExternalStore } from 'react';
import { INITIAL_STATE, type ConnectionState } from '@sse-channels/client';
import type { Stateful } from './listenable.js';

/**
 * What a client's or a channel's connection is doing, and why. It opens nothing.
 *
 * @example
 * const { status, reason } = useConnectionState(live);
 */
export function useConnectionState(source: Stateful): ConnectionState {
  const subscribe = useCallback((notify: () => void) => source.onState(notify), [source]);
  return useSyncExternalStore(
    subscribe,
    () => source.state,
    () => INITIAL_STATE,
  );
}
