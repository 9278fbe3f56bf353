/** Publishing at a pace: what is late is caught up with. */
import { nowMicros } from './mark.js';

/** Timers are no finer; where less is left the turn is given away instead. */
const TIMER_MS = 0.5;

export interface Pace {
  readonly perSecond: number;
  readonly forMs: number;
  /** Never to give a turn away but to sleep: later by up to a timer's grain, and idle where nothing is due. @default false */
  readonly sleeps?: boolean;
}

/**
 * Calls as often as is due, and ends when the time is up, however many are due then.
 * @param publish is given the time at which the call was due, in microseconds; what it returns is awaited after the calls of a turn
 */
export async function pace(
  { perSecond, forMs, sleeps = false }: Pace,
  publish: (dueMicros: number) => unknown,
): Promise<void> {
  const begin = nowMicros();
  const end = begin + forMs * 1000;
  const wanted = Math.round((perSecond * forMs) / 1000);
  let published = 0;
  let taken: unknown;
  while (published < wanted && nowMicros() < end) {
    const due = Math.min(wanted, Math.floor(((nowMicros() - begin) * perSecond) / 1_000_000) + 1);
    while (published < due && nowMicros() < end) {
      taken = publish(begin + Math.floor((published * 1_000_000) / perSecond));
      published += 1;
    }
    await taken;
    const waitMs = (begin + (published * 1_000_000) / perSecond - nowMicros()) / 1000;
    await new Promise((resolve) => {
      if (sleeps || waitMs > TIMER_MS) setTimeout(resolve, waitMs);
      else setImmediate(resolve);
    });
  }
}
