/** The server's clock as this browser sees it: events carry the server's time, the page only knows its own. */

/** The least delay seen between an event's `at` and its arrival: latency plus the difference of the two clocks. */
let leastDelayMs = Infinity;

/** Learns from an event that arrived live. @param atMs the event's `at` */
export function observeLiveEvent(atMs: number): void {
  const delayMs = Date.now() - atMs;
  if (delayMs < leastDelayMs) leastDelayMs = delayMs;
}

/** A time of this browser's clock on the server's. */
export function toServerMs(localMs: number): number {
  return Number.isFinite(leastDelayMs) ? localMs - leastDelayMs : localMs;
}
