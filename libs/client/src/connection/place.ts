/** Places in a log, as far as a client may compare them: to know what it has had already. */
import { compareOffsets } from '@sse-channels/protocol';

/** Whether both are places of one log space, the first no later than the second: what is there was handed over already. */
export function isNotAfter(cursor: string, place: string): boolean {
  const [epoch, offset] = cursor.split('~');
  const [placeEpoch, placeOffset] = place.split('~');
  return epoch === placeEpoch && !!offset && !!placeOffset && compareOffsets(offset, placeOffset) <= 0;
}
