/** Publishes in spite of a log that cannot be reached for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppendError, type Cursor } from '@sse-channels/nest';

/** How long is waited before what was not confirmed is said again. */
const RETRY_MS = 250;

/**
 * Publishes again until the log confirms it. With an `idempotencyKey` the event is in the log once, however often it was said.
 * @param publish called for each try
 * @throws what is no AppendError, and where the signal aborts
 */
export async function untilConfirmed(publish: () => Promise<Cursor>, signal: AbortSignal): Promise<Cursor> {
  for (;;) {
    try {
      return await publish();
    } catch (error) {
      if (!(error instanceof AppendError)) throw error;
    }
    await sleep(RETRY_MS, undefined, { signal });
  }
}
