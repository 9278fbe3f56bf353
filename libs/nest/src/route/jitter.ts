/** Spreads what many clients do after the same time. */

/** From half to one and a half times as long, so that clients do not come back together. */
export function jitter(ms: number): number {
  return Math.round(ms * (0.5 + Math.random()));
}
