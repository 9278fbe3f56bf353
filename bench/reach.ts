/** What ours over theirs should come to, and whether it does. */
import { number } from './table.js';

/** One of the two. */
export interface Bound {
  readonly most?: number;
  readonly least?: number;
}

/** By the ratio's name. */
const REACHES: Readonly<Record<string, Bound>> = {
  'single/limit': { most: 1.15 },
  'single/nest': { most: 0.3 },
  'single/nchan': { most: 0.75 },
  'hub/single': { most: 1.3 },
  'hub-own/single': { most: 1.3 },
  'stream/nest': { most: 1 },
  'burst/limit': { most: 1.15 },
  'burst/nest': { most: 0.05 },
  'burst/better-sse': { most: 0.2 },
  'hub/burst': { most: 1.3 },
  'hub-own/burst': { most: 1.3 },
  'many/few': { most: 1.1 },
  'latency/nest': { most: 0.4 },
  'latencyP99/nest': { most: 0.7 },
  'fast/limit': { most: 1.5 },
  'idle/nest': { most: 0.46 },
  'idle/nest-express': { most: 0.56 },
  'idleKiB/fastify': { most: 9.3 },
  'idleKiB/express': { most: 16 },
  'idleCpu/nest': { most: 0.4 },
  'storm/nest': { most: 0.125 },
  'storm/nchan': { most: 0.5 },
  'stalled/rssMB': { most: 16 },
  'saturation/nest': { least: 10 },
};

/** What a ratio should be, and by how much it is not; empty where nothing is asked of it. */
export function reachOf(name: string, ratio: number): string {
  const bound = REACHES[name];
  return bound === undefined ? '' : verdictOf(ratio, bound);
}

/** Whether a figure is within its bound, and by how much it is not. */
export function verdictOf(value: number, { most, least = -Infinity }: Bound): string {
  const [bound, said] = most === undefined ? [least, 'at least'] : [most, 'at most'];
  const isReached = most === undefined ? value >= least : value <= most;
  const asked = `${said} ${number(bound)}`;
  return isReached ? asked : `NOT ${asked}: ${(value / bound).toFixed(2)} × of it`;
}
