/** The cursor of a connection, kept where the application says, so that a reload resumes. */
import type { ConnectionOptions } from './connection-options.js';

export interface KeptCursor {
  /** Where the client stands; empty at no place. */
  value: string;
  load(): Promise<void>;
  /** Writes the cursor down unless it is written; while a slow storage writes one, only the newest waits. */
  save(): Promise<void>;
}

/** @param report told what the storage failed with */
export function keepCursor(url: string, options: ConnectionOptions, report: (error: unknown) => void): KeptCursor {
  const { storage, storageKey = `sse-channels:${url}`, lastEventId = '' } = options;
  let saved = '';
  let saving = storage === undefined;
  const cursor: KeptCursor = {
    value: lastEventId,
    async load() {
      try {
        if (lastEventId === '') cursor.value = saved = (await storage?.getItem(storageKey)) ?? '';
      } catch (error) {
        report(error);
      }
    },
    async save() {
      if (saving) return;
      saving = true;
      while (saved !== cursor.value) {
        saved = cursor.value;
        try {
          await storage?.setItem(storageKey, saved);
        } catch (error) {
          report(error);
        }
      }
      saving = false;
    },
  };
  return cursor;
}
