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
  readonly maxLength?: number;
  /** The last event ID that the client comes with: it holds until the stream says another. @default '' */
  readonly lastEventId?: string;
}

/** A push parser for one event stream. After it threw, it is not to be used again. */
export class FrameParser {
  /** The stream's last event ID: what a client sends as `Last-Event-ID` when it reconnects. */
  lastEventId: string;

  readonly #options: FrameParserOptions;
  readonly #maxLength: number;
  // Strips one byte order mark at the start and joins characters that a chunk cut in two.
  readonly #decoder = new TextDecoder('utf-8');
  #atStart = true;
  #skipLineFeed = false;
  #line = '';
  #name = '';
  #idBuffer: string;
  #id: string | undefined;
  #topic: string | undefined;
  #cursor: string | undefined;
  #data: string[] = [];
  #dataLength = 0;

  constructor(options: FrameParserOptions) {
    this.#options = options;
    this.#maxLength = options.maxLength ?? 16_777_216;
    this.lastEventId = this.#idBuffer = options.lastEventId ?? '';
  }

  /**
   * Takes the next chunk, cut anywhere: inside a character, inside a CRLF.
   * @throws SseChannelsError `FRAME_TOO_LARGE` for a line or an event's data over `maxLength`.
   */
  push(chunk: Uint8Array | string): void {
    let text = typeof chunk === 'string' ? chunk : this.#decoder.decode(chunk, { stream: true });
    if (text === '') return;
    if (this.#atStart) {
      this.#atStart = false;
      if (typeof chunk === 'string' && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    }
    let start = 0;
    if (this.#skipLineFeed) {
      this.#skipLineFeed = false;
      if (text.charCodeAt(0) === 10) start = 1;
    }
    let nextLf = text.indexOf('\n', start);
    let nextCr = text.indexOf('\r', start);
    while (nextLf !== -1 || nextCr !== -1) {
      const end = nextCr === -1 || (nextLf !== -1 && nextLf < nextCr) ? nextLf : nextCr;
      this.#append(text.slice(start, end));
      const line = this.#line;
      this.#line = '';
      this.#interpret(line);
      start = end + 1;
      if (end === nextCr) {
        if (start === text.length) this.#skipLineFeed = true;
        else if (start === nextLf) start += 1;
        nextCr = text.indexOf('\r', start);
      }
      if (nextLf !== -1 && nextLf < start) nextLf = text.indexOf('\n', start);
    }
    if (start < text.length) this.#append(text.slice(start));
  }

  #append(part: string): void {
    if (this.#line.length + part.length > this.#maxLength) {
      this.#refuse('A line of the event stream');
    }
    this.#line += part;
  }

  #interpret(line: string): void {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return this.#options.onComment?.(line.slice(1));
    const field = colon === -1 ? line : line.slice(0, colon);
    let value = colon === -1 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    switch (field) {
      case 'event':
        this.#name = value;
        break;
      case 'data':
        this.#dataLength += value.length + 1;
        if (this.#dataLength - 1 > this.#maxLength) this.#refuse("An event's data");
        // A slice keeps its whole chunk in memory. Copied out of it, or a hostile server could wrap each short line of one
        // endless event in a chunk of comments and hold as much as it sends, far beyond maxLength.
        this.#data.push(copyOf(value));
        break;
      case 'id':
        if (!value.includes('\0')) this.#id = this.#idBuffer = value;
        break;
      case 'topic':
        this.#topic = value;
        break;
      case 'cursor':
        this.#cursor = value;
        break;
      case 'retry':
        if (/^[0-9]+$/.test(value)) this.#options.onRetry?.(Math.min(Number(value), Number.MAX_SAFE_INTEGER));
        break;
    }
  }

  #refuse(what: string): never {
    throw new SseChannelsError(
      'FRAME_TOO_LARGE',
      `${what} is longer than ${this.#maxLength} characters; send less, or raise "maxLength".`,
    );
  }

  #dispatch(): void {
    this.lastEventId = this.#idBuffer;
    const data = this.#data;
    const name = this.#name;
    const id = this.#id;
    const topic = this.#topic;
    const cursor = this.#cursor;
    this.#name = '';
    this.#id = this.#topic = this.#cursor = undefined;
    if (data.length === 0) return;
    this.#data = [];
    this.#dataLength = 0;
    this.#options.onEvent(
      { name: name === '' ? 'message' : name, data: data.join('\n'), lastEventId: this.lastEventId },
      { id, topic, cursor },
    );
  }
}

/** The same text in memory of its own: an engine has no other way to cut a slice off its parent than to build a new string. */
function copyOf(slice: string): string {
  return ` ${slice}`.slice(1);
}
