/** Where a client stands, kept where the application says, so that a reload resumes. */
import type { SseChannelsError } from '@sse-channels/protocol';
import type { ConnectionOptions } from './connection-options.js';
import { failureOf } from './stream-error.js';

export interface KeptPlace {
  /** What was written down last, here or in an earlier life. */
  load(): Promise<string>;
  /** Writes the place down unless it is written; while a slow storage writes one, only the newest waits. */
  save(): Promise<void>;
}

/**
 * @param urlOf asked when it is loaded
 * @param placeNow what to write down
 * @param onError told what the storage failed with
 */
export function keepPlace(
  { storage, storageKey }: ConnectionOptions,
  urlOf: () => string,
  placeNow: () => string,
  onError: (error: SseChannelsError) => void,
): KeptPlace {
  let key = '';
  let saved = '';
  let saving = !storage;
  return {
    async load() {
      key = storageKey ?? `sse-channels:${urlOf()}`;
      try {
        saved = (await storage?.getItem(key)) ?? '';
      } catch (error) {
        onError(failureOf('storage', error));
      }
      return saved;
    },
    async save() {
      if (saving) return;
      saving = true;
      for (let place = placeNow(); place !== saved; place = placeNow()) {
        saved = place;
        try {
          await storage?.setItem(key, place);
        } catch (error) {
          onError(failureOf('storage', error));
        }
      }
      saving = false;
    },
  };
}
