/** Several observers as one. */
import type { Observer } from './observer.js';

const CALLS = [
  'connectionOpened',
  'connectionEnded',
  'eventPublished',
  'gapTold',
  'backplaneChanged',
  'warned',
  'nodeJoined',
  'nodeLeft',
  'failed',
] as const satisfies ReadonlyArray<keyof Observer>;

/** Each is called in turn; calls that none takes are left out, so that they cost nothing. */
export function observersOf(observers: readonly Observer[]): Observer {
  const all: Record<string, (...args: never[]) => void> = {};
  for (const call of CALLS) {
    const taking = observers.filter((observer) => observer[call] !== undefined);
    if (taking.length === 0) continue;
    all[call] = (...args) => {
      for (const observer of taking) (observer[call] as (...given: never[]) => void).apply(observer, args);
    };
  }
  return all;
}
