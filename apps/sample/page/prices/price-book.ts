/** What the page knows of one symbol: each event makes the next book of the one before. */
import type { EventOf } from '@sse-channels/client';
import type { pricesChannel } from '../../src/prices/prices.channel.js';
import type { Return } from '../live/live-connection.js';
import { counted } from '../words.js';
import { judge, type SequenceTally } from './sequence-tally.js';

export type PriceTicked = EventOf<typeof pricesChannel>['data'];

export interface PricePoint {
  readonly atMs: number;
  readonly price: number;
  readonly volume: number;
  /** Where it was traded. */
  readonly node: string;
  readonly sequence: number;
  readonly replayed: boolean;
  /** Events that should lie between the point before and this one. */
  readonly missedBefore: number;
  /** Whether the log itself could not say what lies there. */
  readonly isGapBefore: boolean;
}

/** A time without connection that was filled by a replay. */
export interface Band {
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

export interface Counts {
  readonly received: number;
  readonly replayed: number;
  readonly missed: number;
  readonly doubled: number;
  readonly gaps: number;
}

export interface PriceBook {
  readonly symbol: string;
  /** Oldest first. */
  readonly points: readonly PricePoint[];
  /** Oldest first. */
  readonly bands: readonly Band[];
  readonly counts: Counts;
  readonly tally: SequenceTally;
  /** Whether the log had a gap and no event has come since. */
  readonly isGapAhead: boolean;
}

/** Three minutes of the busiest symbol on three nodes. */
const POINT_LIMIT = 4_500;
const BAND_LIMIT = 20;

export const NO_COUNTS: Counts = { received: 0, replayed: 0, missed: 0, doubled: 0, gaps: 0 };

export function emptyBook(symbol: string): PriceBook {
  return { symbol, points: [], bands: [], counts: NO_COUNTS, tally: new Map(), isGapAhead: false };
}

/** @param back the return of the connection that brought it; null for a live one */
export function withTick(book: PriceBook, tick: PriceTicked, back: Return | null): PriceBook {
  const { price, volume, node, sequence } = tick;
  const { tally, missed, doubled } = judge(book.tally, node, sequence);
  const replayed = back !== null;
  const counts = {
    ...book.counts,
    received: book.counts.received + 1,
    replayed: book.counts.replayed + Number(replayed),
    missed: book.counts.missed + missed,
    doubled: book.counts.doubled + Number(doubled),
  };
  if (doubled) return { ...book, counts };
  const point = {
    atMs: Date.parse(tick.at),
    price,
    volume,
    node,
    sequence,
    replayed,
    missedBefore: missed,
    isGapBefore: book.isGapAhead,
  };
  return {
    ...book,
    points: [...book.points.slice(-POINT_LIMIT + 1), point],
    bands: back === null ? book.bands : withReplayed(book.bands, back),
    counts,
    tally,
    isGapAhead: false,
  };
}

/** The log could not give all that happened. */
export function withGap(book: PriceBook): PriceBook {
  return { ...book, counts: { ...book.counts, gaps: book.counts.gaps + 1 }, isGapAhead: true };
}

export function sumOf(books: Iterable<PriceBook>): Counts {
  let sum = NO_COUNTS;
  for (const { counts } of books) {
    sum = {
      received: sum.received + counts.received,
      replayed: sum.replayed + counts.replayed,
      missed: sum.missed + counts.missed,
      doubled: sum.doubled + counts.doubled,
      gaps: sum.gaps + counts.gaps,
    };
  }
  return sum;
}

/**
 * What a return of the connection brought, in words; null where it is not worth any.
 * @param before the counts when it was lost
 */
export function replayWords(back: Return, node: string, before: Counts, now: Counts) {
  const [replayed, lost, doubled] = [
    now.replayed - before.replayed,
    now.missed - before.missed,
    now.doubled - before.doubled,
  ];
  const isGap = now.gaps > before.gaps;
  const isWhole = lost === 0 && doubled === 0 && !isGap;
  // A reconnection that nobody asked for, and that missed nothing, is not worth a word.
  if (replayed === 0 && isWhole && !back.isByHand) return null;
  // Where the log itself has a gap, a sequence without holes proves nothing.
  const lostWords = lost > 0 ? lost : isGap ? 'unknown how many' : 'none';
  const awaySeconds = ((back.atMs - back.lostAtMs) / 1000).toFixed(1);
  return {
    text: `Replayed ${counted(replayed, 'event')}, ${lostWords} lost, ${doubled === 0 ? 'none' : doubled} doubled`,
    detail: `${awaySeconds} s away${back.isMoved ? ` · served by ${node} now` : ''}`,
    tone: isWhole ? 'good' : 'bad',
  } as const;
}

function withReplayed(bands: readonly Band[], { lostAtMs: fromMs, atMs: toMs }: Return): readonly Band[] {
  const last = bands.at(-1);
  if (last?.fromMs === fromMs) return [...bands.slice(0, -1), { ...last, count: last.count + 1 }];
  return [...bands.slice(-BAND_LIMIT + 1), { fromMs, toMs, count: 1 }];
}
