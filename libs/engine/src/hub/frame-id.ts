/** Changes of the first line of a frame, its `id:`; the rest stays as it is. */
import type { Cursor } from '@sse-channels/protocol';

const ID = 'id: ';
const OWN_CURSOR = Buffer.from('cursor: ');
const LF = 10;

/** Gives a frame another id, in a copy. */
export function reidentify(frame: Buffer, change: (cursor: Cursor) => Cursor): Buffer {
  const end = frame.indexOf(LF);
  const id = change(frame.toString('latin1', ID.length, end));
  return Buffer.concat([Buffer.from(ID + id), frame.subarray(end)]);
}

/**
 * A frame that comes after the stream's cursor has passed its place: its cursor stands in a field of its own, which leaves the client's
 * last event id alone.
 */
export function besideCursor(frame: Buffer): Buffer {
  return frame.subarray(0, ID.length).toString('latin1') === ID
    ? Buffer.concat([OWN_CURSOR, frame.subarray(ID.length)])
    : frame;
}
