/** Reads an event stream to the letter of https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. */
import { SseChannelsError } from './errors.js';

/** An event as a client sees it. */
export interface ParsedEvent {
  /** The block's `event:` field, or `message`. */
  readonly name: string;
  /** The `data:` lines, joined by LF. */
  readonly data: string;
  /** The last event ID that holds at this event, whichever block set it; empty when none did. */
  readonly lastEventId: string;
}

/** What an event's own block said beside what the standard makes of it. */
export interface BlockFields {
  /** The block's `id:`; undefined where it had none, and the event has the last one's. */
  readonly id: string | undefined;
  /** The block's `topic:`, a line that the standard does not know and an `EventSource` ignores. */
  readonly topic: string | undefined;
  /** The block's `cursor:`, another such line: its own place, where the stream's last event ID has passed it already. */
  readonly cursor: string | undefined;
}

/** What the parser calls, and its bounds. */
export interface FrameParserOptions {
  readonly onEvent: (event: ParsedEvent, fields: BlockFields) => void;
  /** A reconnection time in milliseconds, at most `Number.MAX_SAFE_INTEGER`. */
  readonly onRetry?: (retryMs: number) => void;
  /** A comment line, without its colon. */
  readonly onComment?: (comment: string) => void;
  /**
   * The longest line, and the longest `data` of one event, in UTF-16 code units. What is longer throws, so that a
   * hostile server cannot fill the memory.
   * @default 16_777_216
   */
  readonly maxLength?: number | undefined;
  /** The last event ID that the client comes with: it holds until the stream says another. @default '' */
  readonly lastEventId?: string;
}

/**
 * A push parser for one event stream. After it threw, it is not to be used again. What it remembers are variables of its constructor,
 * since each private name has its price in a page.
 */
export class FrameParser {
  /** The stream's last event ID: what a client sends as `Last-Event-ID` when it reconnects. */
  lastEventId: string;
  /**
   * Takes the next chunk, cut anywhere: inside a character, inside a CRLF.
   * @throws SseChannelsError `FRAME_TOO_LARGE` for a line or an event's data over `maxLength`.
   */
  readonly push: (chunk: Uint8Array | string) => void;

  constructor({ onEvent, onRetry, onComment, maxLength = 16_777_216, lastEventId = '' }: FrameParserOptions) {
    // Joins characters that a chunk cut in two; a byte order mark is stripped here, as that of a text is.
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    /** What is passed over where the next chunk begins with it: a byte order mark at first, the LF of a CRLF that was cut. */
    let skipped = '\ufeff';
    let unfinished = '';
    let fields: { event?: string; id?: string; topic?: string; cursor?: string } = {};
    let data: string[] = [];
    /** Of all its lines, with an LF before each but the first. */
    let dataLength = -1;

    this.lastEventId = lastEventId;
    this.push = (chunk) => {
      let text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
      if (text === '') return;
      if (text.startsWith(skipped)) text = text.slice(skipped.length);
      skipped = text.endsWith('\r') ? '\n' : '';
      const [rest = '', ...parts] = text.split(/\r\n?|\n/);
      append(rest);
      for (const part of parts) {
        const line = unfinished;
        unfinished = '';
        interpret(line);
        append(part);
      }
    };

    const append = (part: string): void => {
      unfinished += part;
      check(unfinished.length, 'A line of the event stream');
    };

    const interpret = (line: string): void => {
      if (line === '') return dispatch();
      const colon = line.indexOf(':');
      if (colon === 0) return onComment?.(line.slice(1));
      const field = colon < 0 ? line : line.slice(0, colon);
      // A line without a colon has no value, a space after the colon is not of it.
      const value = line.slice(field.length + (line[colon + 1] === ' ' ? 2 : 1));
      switch (field) {
        case 'data':
          dataLength += value.length + 1;
          check(dataLength, "An event's data");
          // A slice keeps its whole chunk in memory. Copied out of it, or a hostile server could wrap each short line of one
          // endless event in a chunk of comments and hold as much as it sends, far beyond maxLength.
          data.push(copyOf(value));
          break;
        case 'event':
        case 'id':
        case 'topic':
        case 'cursor':
          if (field !== 'id' || !value.includes('\0')) fields[field] = value;
          break;
        case 'retry':
          if (/^[0-9]+$/.test(value)) onRetry?.(Math.min(Number(value), Number.MAX_SAFE_INTEGER));
          break;
      }
    };

    const check = (length: number, what: string): void => {
      if (length <= maxLength) return;
      throw new SseChannelsError(
        'FRAME_TOO_LARGE',
        `${what} is longer than ${maxLength} characters; send less, or raise "maxLength".`,
      );
    };

    const dispatch = (): void => {
      const { event, id, topic, cursor } = fields;
      const lines = data;
      this.lastEventId = id ?? this.lastEventId;
      fields = {};
      data = [];
      dataLength = -1;
      if (lines.length === 0) return;
      onEvent(
        { name: event || 'message', data: lines.join('\n'), lastEventId: this.lastEventId },
        { id, topic, cursor },
      );
    };
  }
}

/** The same text in memory of its own: an engine has no other way to cut a slice off its parent than to build a new string. */
function copyOf(slice: string): string {
  return ` ${slice}`.slice(1);
}
