/** The cursor of a connection, kept where the application says, so that a reload resumes. */
import type { ConnectionOptions, CursorStorage } from './connection-options.js';

export class KeptCursor {
  /** Where the client stands; empty at no place. */
  value: string;

  readonly #options: ConnectionOptions;
  readonly #key: string;
  readonly #report: (error: unknown) => void;
  #saved = '';
  #saving = false;

  /** @param report told what the storage failed with */
  constructor(url: string, options: ConnectionOptions, report: (error: unknown) => void) {
    this.value = options.lastEventId ?? '';
    this.#options = options;
    this.#key = options.storageKey ?? `sse-channels:${url}`;
    this.#report = report;
  }

  async load(): Promise<void> {
    if (this.value !== '') return;
    try {
      this.value = this.#saved = (await this.#options.storage?.getItem(this.#key)) ?? '';
    } catch (error) {
      this.#report(error);
    }
  }

  /** Writes the cursor down unless it is written; while a slow storage writes one, only the newest waits. */
  save(): void {
    if (this.#options.storage !== undefined && !this.#saving) void this.#write(this.#options.storage);
  }

  async #write(storage: CursorStorage): Promise<void> {
    this.#saving = true;
    while (this.#saved !== this.value) {
      this.#saved = this.value;
      try {
        await storage.setItem(this.#key, this.#saved);
      } catch (error) {
        this.#report(error);
      }
    }
    this.#saving = false;
  }
}
