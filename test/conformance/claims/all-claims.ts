/** Every claim, in the order in which they are tried. */
import type { Claim } from '../claim.js';
import { drain, restart } from './ends.js';
import { heartbeatKeepsCursor, heartbeatWhenQuiet, noHeartbeatWhenBusy } from './heartbeats.js';
import { churn, cuts, kills, reconnectStorm, seam, stalledReaders } from './load.js';
import { cursors, freshSubscription } from './opening.js';
import { names, texts } from './payloads.js';
import { everyPosition, headerOverQuery } from './resuming.js';
import {
  evictedCursor,
  finalCursor,
  foreignEpoch,
  futureCursor,
  garbageCursors,
  oversizedCursors,
} from './strange-cursors.js';

export const ALL_CLAIMS: readonly Claim[] = [
  freshSubscription,
  cursors,
  everyPosition,
  headerOverQuery,
  garbageCursors,
  oversizedCursors,
  foreignEpoch,
  futureCursor,
  evictedCursor,
  finalCursor,
  heartbeatWhenQuiet,
  noHeartbeatWhenBusy,
  heartbeatKeepsCursor,
  texts,
  names,
  seam,
  kills,
  cuts,
  reconnectStorm,
  stalledReaders,
  churn,
  restart,
  drain,
];
