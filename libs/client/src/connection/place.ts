/** Places in a log, as far as a client may compare them: to know what it has had already. */

/** Whether both are places of one log space, the first no later than the second: what is there was handed over already. */
export function isNotAfter(cursor: string, place: string): boolean {
  const [epoch, offset] = cursor.split('~');
  const [placeEpoch, placeOffset] = place.split('~');
  return epoch === placeEpoch && !!offset && !!placeOffset && sortable(offset) <= sortable(placeOffset);
}

/** An offset's two numbers have up to 13 digits and no leading zeros: of one length they compare as text. */
function sortable(offset: string): string {
  return offset
    .split('-')
    .map((digits) => digits.padStart(13))
    .join('-');
}
