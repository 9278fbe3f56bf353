/**
 * The mark that every event's data holds: `|`, a sequence of 8 digits, and the time it was due in 16 digits of microseconds. `|` occurs
 * nowhere else on the wire, so a reader counts events by looking for one byte, wherever chunks happen to end.
 */
import type { Tick } from './sse-server.js';

export const MARK_BYTE = 0x7c;
export const SEQUENCE_DIGITS = 8;
/** The sequence and the time, without the `|`. */
export const MARK_DIGITS = SEQUENCE_DIGITS + 16;

/** This machine's monotonic clock, the same in every process. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** The sequence and the time of the mark in a text. */
export function parseMark(text: string): { sequence: number; dueMicros: number } {
  const start = text.indexOf('|') + 1;
  return {
    sequence: Number(text.slice(start, start + SEQUENCE_DIGITS)),
    dueMicros: Number(text.slice(start + SEQUENCE_DIGITS, start + MARK_DIGITS)),
  };
}

/** An event whose JSON is `bytes` long. */
export function makeTick(sequence: number, bytes: number, dueMicros: number): Tick {
  const mark = `|${String(sequence).padStart(SEQUENCE_DIGITS, '0')}${String(dueMicros).padStart(16, '0')}`;
  const bare = JSON.stringify({ sequence, mark, body: '' }).length;
  return { sequence, mark, body: bodyOf(bytes - bare) };
}

const bodies = new Map<number, string>();

function bodyOf(length: number): string {
  let body = bodies.get(length);
  if (body === undefined) {
    body = 'x'.repeat(Math.max(0, length));
    bodies.set(length, body);
  }
  return body;
}
