/** Sends the bytes of a request as they are, which no HTTP client would, and keeps the bytes that come back. */
import { connect, type Socket } from 'node:net';
import { eventually } from '@sse-channels/testing';

export class RawRequest {
  /** What came back, each byte as one character. */
  text = '';
  ended = false;
  readonly #socket: Socket;

  /** @param bytes each character is one byte */
  constructor(url: string, bytes: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')));
    // A server may answer and cut while the rest of the request is still on its way.
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => (this.ended = true));
    this.write(bytes);
  }

  /** Sends more, as it is. */
  write(bytes: string): void {
    this.#socket.write(Buffer.from(bytes, 'latin1'));
  }

  /** The status of the first answer; 0 before it came. */
  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.text)?.[1] ?? 0);
  }

  /** Waits for what is awaited, in words, or the end. */
  async until(condition: (request: this) => boolean, what: string): Promise<this> {
    await eventually(() => condition(this), what);
    return this;
  }

  answered(): Promise<this> {
    return this.until(({ status, text }) => status !== 0 && text.includes('\r\n\r\n'), 'an answer');
  }

  leave(): void {
    this.#socket.destroy();
  }
}
