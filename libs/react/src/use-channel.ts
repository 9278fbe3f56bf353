/** Opens a channel for a component. */
import { useEffect, type DependencyList } from 'react';
import type { ClientEvent } from '@sse-channels/client';
import { useKept } from './kept.js';
import type { Opened } from './listenable.js';
import { createLiveChannel, type LiveChannel } from './live-channel.js';

/**
 * Opens a channel while the component is mounted, and anew when a dependency changes. Nothing is opened while React renders, nor on a
 * server; StrictMode opens it once.
 *
 * @example
 * const prices = useChannel(() => live.subscribe('prices/:symbol', { symbol }), [symbol]);
 * const tick = useLatest(prices, 'price.ticked');
 * useEffect(() => prices.on('price.ticked', ({ price }) => draw(price)), [prices]);
 *
 * @param open makes a client (`createSseClient`) or a subscription of a hub. It is called again where the component was hidden and is
 *   shown again (`<Activity>`), with the cursor that was reached; undefined at first
 * @param deps what `open` uses, as for `useEffect`
 */
export function useChannel<E extends ClientEvent>(
  open: (lastEventId: string | undefined) => Opened<E>,
  deps: DependencyList,
): LiveChannel<E> {
  const channel = useKept(() => createLiveChannel(open), deps);
  useEffect(channel.hold, [channel]);
  return channel;
}
