/** The one connection of the page, for all components. */
import { useSyncExternalStore } from 'react';
import { LiveConnection, type Shown } from '../live/live-connection.js';

export const connection = new LiveConnection();

/** What can be shown of the connection. */
export function useShown(): Shown {
  return useSyncExternalStore(connection.subscribe, () => connection.shown);
}
