/** Percentiles of what was measured. */

/** @param sorted in rising order @param share from 0 to 1 @returns 0 where there is nothing */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
