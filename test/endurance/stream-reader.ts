/** One connection to a stream on a bare socket, cut wherever a program wants it. */
import { connect, type Socket } from 'node:net';
import { FrameParser, type ClosingData, type GapData } from '@sse-channels/protocol';
import { ChunkedBody } from './chunked-body.js';

/** How a connection is cut: closed, reset, or only half of it closed, which a server takes for the end. */
export type Cut = 'close' | 'reset' | 'half-close';

export interface ReaderOptions {
  readonly port: number;
  /** What is asked for: `/numbers/orders`. */
  readonly path: string;
  /** Sent as `Last-Event-ID`. */
  readonly cursor?: string;
  /** Called for each event of the application; its cursor is the reader's. */
  readonly onEvent?: (name: string, data: string) => void;
  readonly onGap?: (gap: GapData) => void;
  readonly onClosing?: (closing: ClosingData, retryMs: number) => void;
  /** Called once, when it began with `$open`. */
  readonly onOpen?: () => void;
  /** Called once, when the socket is closed. */
  readonly onClose?: (reader: StreamReader) => void;
  /** Cut after so many bytes have come, the response's head included: in the middle of whatever they are. */
  readonly cutAfterBytes?: number;
  /** @default 'close' */
  readonly cut?: Cut;
}

const READ_BYTES = 65_536;
/** One for all: what comes in is read at once. */
const buffer = Buffer.allocUnsafe(READ_BYTES);

export class StreamReader {
  readonly opened: Promise<void>;
  readonly closed: Promise<void>;
  readonly socket: Socket;
  readonly #options: ReaderOptions;
  readonly #body = new ChunkedBody((bytes) => this.#parser.push(bytes));
  readonly #parser: FrameParser;
  #bytesLeft: number;
  #retryMs = 0;
  #wasCut = false;
  #open!: () => void;
  #refuse!: (error: Error) => void;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#bytesLeft = options.cutAfterBytes ?? Infinity;
    this.opened = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#refuse = reject;
    });
    // Who cuts before it opened does not wait for it.
    this.opened.catch(() => undefined);
    this.#parser = new FrameParser({
      onEvent: ({ name, data }) => this.#take(name, data),
      onRetry: (retryMs) => {
        this.#retryMs = retryMs;
      },
    });
    this.socket = connect({
      host: '127.0.0.1',
      port: options.port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    const resume = options.cursor === undefined ? '' : `Last-Event-ID: ${options.cursor}\r\n`;
    this.socket.write(`GET ${options.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n${resume}\r\n`);
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#refuse(new Error(`closed before $open, with status ${this.#body.status}`));
        options.onClose?.(this);
        resolve();
      });
    });
  }

  /** The cursor to come back with; empty before there is one. */
  get cursor(): string {
    return this.#parser.lastEventId;
  }

  /** 0 until the head has come. */
  get status(): number {
    return this.#body.status;
  }

  /** Whether the server ended the response in order. */
  get complete(): boolean {
    return this.#body.complete;
  }

  /** Cuts the connection now; what comes after it is not looked at. */
  cut(how: Cut = this.#options.cut ?? 'close'): void {
    this.#wasCut = true;
    if (how === 'reset') this.socket.resetAndDestroy();
    else if (how === 'close') this.socket.destroy();
    else this.socket.end();
  }

  #read(length: number): void {
    if (this.#wasCut) return;
    const taken = Math.min(length, this.#bytesLeft);
    this.#bytesLeft -= taken;
    this.#body.push(buffer.subarray(0, taken));
    if (this.#bytesLeft === 0) this.cut();
  }

  #take(name: string, data: string): void {
    if (!name.startsWith('$')) {
      this.#options.onEvent?.(name, data);
    } else if (name === '$open') {
      this.#open();
      this.#options.onOpen?.();
    } else if (name === '$gap') {
      this.#options.onGap?.(JSON.parse(data) as GapData);
    } else if (name === '$closing') {
      this.#options.onClosing?.(JSON.parse(data) as ClosingData, this.#retryMs);
    } else {
      throw new Error(`An event that nobody published: ${name}`);
    }
  }
}
