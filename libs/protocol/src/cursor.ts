/** Cursors: where a client stands in a log space, printed in `id:` and sent back as `Last-Event-ID`. */

/**
 * A record's place in its log space: two unsigned integers in base 36, `<major>-<minor>`, without leading zeros.
 * Ordered by major, then minor; strictly increasing over all topics of a log space; not dense.
 */
export type Offset = string;

/** An epoch and an offset, `<epoch>~<offset>`, as `id:` carries it. Opaque to clients: kept and sent back, never built. */
export type Cursor = string;

/** The parts of a cursor. */
export interface CursorParts {
  readonly epoch: string;
  readonly offset: Offset;
}

/** Longer than this is no cursor of ours: a browser sends a `Last-Event-ID` of up to 128 bytes without a CORS preflight. */
export const MAX_CURSOR_LENGTH = 128;

/** The `id:` of a stream that is over for good: a client that comes back with it is answered 204 and stays away. */
export const FINAL_CURSOR: Cursor = '$end';

/** The offset before every record. */
export const FIRST_OFFSET: Offset = '0-0';

const OFFSET = /^(?:0|[1-9a-z][0-9a-z]{0,12})-(?:0|[1-9a-z][0-9a-z]{0,12})$/;
const EPOCH = /^[0-9A-Za-z_-]{1,64}$/;

/** Makes an offset from two safe integers that are not negative. */
export function formatOffset(major: number, minor: number): Offset {
  return `${major.toString(36)}-${minor.toString(36)}`;
}

/** Prints a cursor. */
export function formatCursor(epoch: string, offset: Offset): Cursor {
  return `${epoch}~${offset}`;
}

/** Reads a cursor; null for anything that is none, however hostile. */
export function parseCursor(text: string): CursorParts | null {
  // A query string may hold an array or an object where the types promise text: `?lastEventId[]=…`.
  if (typeof text !== 'string' || text.length > MAX_CURSOR_LENGTH) return null;
  const separator = text.indexOf('~');
  if (separator < 1) return null;
  const epoch = text.slice(0, separator);
  const offset = text.slice(separator + 1);
  return EPOCH.test(epoch) && OFFSET.test(offset) ? { epoch, offset } : null;
}

/** Orders two offsets: negative when `a` comes first, 0 when they are the same place. */
export function compareOffsets(a: Offset, b: Offset): number {
  if (a === b) return 0;
  const majorEndA = a.indexOf('-');
  const majorEndB = b.indexOf('-');
  // Base 36 without leading zeros: the longer number is the larger one, equal lengths compare as text.
  if (majorEndA !== majorEndB) return majorEndA - majorEndB;
  const majorA = a.slice(0, majorEndA);
  const majorB = b.slice(0, majorEndB);
  if (majorA !== majorB) return majorA < majorB ? -1 : 1;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

/** The later of two offsets. */
export function laterOffset(a: Offset, b: Offset): Offset {
  return compareOffsets(a, b) < 0 ? b : a;
}

/** The earlier of two offsets; empty if one is. */
export function earlierOffset(a: Offset, b: Offset): Offset {
  return a === '' || laterOffset(a, b) === b ? a : b;
}
