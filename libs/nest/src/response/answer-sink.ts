/** A sink that is one answer: the blocks of a stream gathered until there is something to tell, and sent as JSON. */
import type { ServerResponse } from 'node:http';
import type { PeerState, Sink, SinkListener } from '@sse-channels/engine';
import { FrameParser, type BlockFields, type Cursor, type ParsedEvent } from '@sse-channels/protocol';
import { isGone, onGone } from './peer.js';

/** So much of events makes an answer full, about: a batch more than that, and one event however large. */
const FULL_BYTES = 262_144;
/** How long an answer may take once it is wanted: the log is read for what is due. */
const READ_MS = 5_000;
/** Control events for which nobody is answered early: they would come again with every request. */
const NO_NEWS = new Set(['$open', '$error', '$live']);

/** How an answer is made. */
export interface AnswerOptions {
  /** How long it may be held back while there is nothing to tell, in milliseconds. */
  readonly waitMs: number;
  /** How long the peer has to take it. */
  readonly writeDeadlineMs: number;
  /** Where the client stands; null: nowhere yet. */
  readonly cursor: Cursor | null;
}

export class AnswerSink implements Sink {
  readonly #response: ServerResponse;
  readonly #options: AnswerOptions;
  readonly #parser: FrameParser;
  /** The events as JSON. */
  readonly #events: string[] = [];
  #bytes = 0;
  #retryMs: number | undefined;
  #wanted = false;
  #timer: NodeJS.Timeout | undefined;
  #listener: SinkListener | undefined;

  /** @param response has its status and its headers, and none of it is sent */
  constructor(response: ServerResponse, options: AnswerOptions) {
    this.#response = response;
    this.#options = options;
    this.#parser = new FrameParser({
      lastEventId: options.cursor ?? '',
      // What is too large for an event never became one.
      maxLength: Infinity,
      onEvent: (event, fields) => this.#add(event, fields),
      onRetry: (retryMs) => (this.#retryMs = retryMs),
    });
  }

  listen(listener: SinkListener): void {
    if (isGone(this.#response)) return listener.onClose();
    this.#listener = listener;
    onGone(this.#response, () => this.#closed());
    this.#timer = setTimeout(() => this.#enough(), this.#options.waitMs);
  }

  write(bytes: Buffer): boolean {
    this.#parser.push(bytes);
    return !this.#full;
  }

  end(): void {
    clearTimeout(this.#timer);
    const { writeDeadlineMs } = this.#options;
    this.#response.setTimeout(writeDeadlineMs, () => this.destroy());
    this.#response.end(
      `{"events":[${this.#events.join(',')}],"cursor":${JSON.stringify(this.#parser.lastEventId)},"more":${this.#full}` +
        `${this.#retryMs === undefined ? '' : `,"retryMs":${this.#retryMs}`}}\n`,
    );
  }

  destroy(): void {
    this.#response.destroy();
  }

  get peerState(): PeerState {
    return { address: this.#response.req.socket.remoteAddress ?? null, writtenBytes: 0, waitingBytes: 0 };
  }

  get #full(): boolean {
    return this.#bytes >= FULL_BYTES;
  }

  #add({ name, data }: ParsedEvent, { id, cursor, topic }: BlockFields): void {
    const fields = Object.entries({ id, cursor, topic, event: name }).flatMap(([field, value]) =>
      value === undefined ? [] : `"${field}":${JSON.stringify(value)}`,
    );
    const json = `{${fields.join(',')},"data":${isJson(data) ? data : JSON.stringify(data)}}`;
    this.#events.push(json);
    if (NO_NEWS.has(name)) return;
    this.#bytes += json.length;
    this.#enough();
  }

  /** What is due still comes; a log that cannot be read is not waited for longer than a client would. */
  #enough(): void {
    const listener = this.#listener;
    if (this.#wanted || listener === undefined) return;
    this.#wanted = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(), READ_MS);
    listener.onEnough();
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#listener?.onClose();
    this.#listener = undefined;
  }
}

/** What was written past the bus may be any text, and must not spoil the answer for the others. */
function isJson(data: string): boolean {
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false;
  }
}
