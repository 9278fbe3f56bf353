/** Where a client stands, kept where the application says, so that a reload resumes. */
import type { CursorStorage } from './connection-options.js';

export interface KeptPlace {
  /** What was written down last, here or in an earlier life. */
  load(): Promise<string>;
  /** Writes the place down unless it is written; while a slow storage writes one, only the newest waits. */
  save(): Promise<void>;
}

/**
 * @param placeNow what to write down
 * @param report told what the storage failed with
 */
export function keepPlace(
  storage: CursorStorage | undefined,
  key: string,
  placeNow: () => string,
  report: (error: unknown) => void,
): KeptPlace {
  let saved = '';
  let saving = storage === undefined;
  return {
    async load() {
      try {
        saved = (await storage?.getItem(key)) ?? '';
      } catch (error) {
        report(error);
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
          report(error);
        }
      }
      saving = false;
    },
  };
}
