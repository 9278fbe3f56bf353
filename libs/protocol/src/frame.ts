/** Writes frames: the bytes of one block of `text/event-stream` (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import { SseChannelsError } from './errors.js';

/** One block of an event stream. Every field is optional; a block without `data` is dispatched to nobody. */
export interface Frame {
  /**
   * Sets the client's last event ID. CR, LF, NUL and lone surrogates are refused: the first two would end the line, the third
   * voids the field, and UTF-8 cannot carry the last.
   */
  readonly id?: string;
  /** The event's name; absent means `message` to a client. CR, LF, NUL and lone surrogates are refused. */
  readonly event?: string;
  /** The event's data; each line of it becomes a `data:` line of its own. A lone surrogate is refused: UTF-8 cannot carry it. */
  readonly data?: string;
  /**
   * The topic that the event is of, in a stream of several; a field of ours, which EventSource ignores as it does every field it does
   * not know. CR, LF, NUL and lone surrogates are refused.
   */
  readonly topic?: string;
  /** Milliseconds that the client waits before it reconnects; a whole number that is not negative. */
  readonly retry?: number;
  /** Ignored by clients; each line of it becomes a comment line. */
  readonly comment?: string;
}

const LINE_END = /\r\n|\r|\n/;
const UNSAFE = /[\r\n\0]/;

/**
 * Encodes one frame, its empty last line included.
 * @throws SseChannelsError `INVALID_FRAME` where a field cannot be carried without changing its meaning.
 */
export function encodeFrame(frame: Frame): string {
  let block = '';
  if (frame.comment !== undefined) block += lines('', frame.comment);
  if (frame.retry !== undefined) {
    if (!Number.isSafeInteger(frame.retry) || frame.retry < 0) {
      throw new SseChannelsError(
        'INVALID_FRAME',
        `retry must be a whole number of milliseconds of at least 0, not ${frame.retry}.`,
      );
    }
    block += `retry: ${frame.retry}\n`;
  }
  if (frame.id !== undefined) block += `id: ${safeField('id', frame.id)}\n`;
  if (frame.topic !== undefined) block += `topic: ${safeField('topic', frame.topic)}\n`;
  if (frame.event !== undefined) block += `event: ${safeField('event', frame.event)}\n`;
  if (frame.data !== undefined) {
    if (!frame.data.isWellFormed()) {
      throw new SseChannelsError(
        'INVALID_FRAME',
        'The data has a lone surrogate, which UTF-8 cannot carry; write it as JSON, which escapes it, or see toWellFormed().',
      );
    }
    block += lines('data', frame.data);
  }
  return block + '\n';
}

function safeField(field: string, value: string): string {
  if (UNSAFE.test(value) || !value.isWellFormed()) {
    throw new SseChannelsError(
      'INVALID_FRAME',
      `The ${field} ${JSON.stringify(value)} has a CR, LF, NUL or lone surrogate, which the event stream format cannot carry; remove it.`,
    );
  }
  return value;
}

function lines(field: string, value: string): string {
  const prefix = `${field}: `;
  // JSON has no raw line end, so this is the path of every event.
  if (!LINE_END.test(value)) return `${prefix}${value}\n`;
  return value
    .split(LINE_END)
    .map((line) => `${prefix}${line}\n`)
    .join('');
}
