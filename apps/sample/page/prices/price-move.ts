/** How the last price differs from the one before, in words. */
import { amount } from '../words.js';
import type { PricePoint } from './price-book.js';

export function moveWords(points: readonly PricePoint[]): {
  readonly direction: 'up' | 'down' | 'none';
  readonly words: string;
} {
  const latest = points.at(-1);
  if (latest === undefined) return { direction: 'none', words: 'no price yet' };
  const before = points.at(-2) ?? latest;
  const change = latest.price - before.price;
  const percent = amount(Math.abs(change / before.price) * 100);
  const [direction, sign] =
    change > 0 ? (['up', '▲'] as const) : change < 0 ? (['down', '▼'] as const) : (['none', '■'] as const);
  return { direction, words: `${sign} ${amount(Math.abs(change))} (${percent} %)` };
}
