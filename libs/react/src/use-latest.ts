/** The latest event of a name. */
import type { ClientEvent } from '@sse-channels/client';
import type { EventNamed, Listenable } from './listenable.js';
import { same, useFold } from './use-reduced.js';

/**
 * The data of the latest event of that name.
 *
 * @example
 * const tick = useLatest(prices, 'price.ticked');
 * return <output>{tick?.price ?? '–'}</output>;
 * @param initial what is given before the first one, and on a server. @default undefined
 */
export function useLatest<E extends ClientEvent, Name extends E['name']>(
  channel: Listenable<E>,
  name: Name,
): EventNamed<E, Name>['data'] | undefined;
export function useLatest<E extends ClientEvent, Name extends E['name']>(
  channel: Listenable<E>,
  name: Name,
  initial: EventNamed<E, Name>['data'],
): EventNamed<E, Name>['data'];
export function useLatest<E extends ClientEvent, Name extends E['name'], Initial>(
  channel: Listenable<E>,
  name: Name,
  initial: Initial,
): EventNamed<E, Name>['data'] | Initial;
export function useLatest(channel: Listenable<ClientEvent>, name: string, initial?: unknown): unknown {
  return useFold(
    channel,
    { event: (latest, event) => (event.name === name ? event.data : latest), gap: same },
    initial,
    name,
  );
}
