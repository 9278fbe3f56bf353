/** Reads an HTTP/1.1 response off a bare socket: its status, and the bytes inside of its chunks, wherever the socket's reads end. */

const LF = 10;

type State = 'head' | 'size' | 'data' | 'after data' | 'over';

export class ChunkedBody {
  /** 0 until the head has come. */
  status = 0;
  readonly #onBytes: (bytes: Buffer) => void;
  #state: State = 'head';
  #line = '';
  #left = 0;
  #chunked = false;

  /** @param onBytes called at once, with bytes that are of the caller's buffer */
  constructor(onBytes: (bytes: Buffer) => void) {
    this.#onBytes = onBytes;
  }

  /** Whether the response ended as it should, not by a cut. */
  get complete(): boolean {
    return this.#state === 'over';
  }

  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && this.#state !== 'over') {
      if (this.#state === 'data') {
        const end = Math.min(bytes.length, at + this.#left);
        this.#onBytes(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left === 0) this.#state = 'after data';
        continue;
      }
      const end = bytes.indexOf(LF, at);
      this.#line += bytes.toString('latin1', at, end === -1 ? bytes.length : end);
      if (end === -1) return;
      at = end + 1;
      const line = this.#line.replace(/\r$/, '');
      this.#line = '';
      this.#take(line);
    }
  }

  #take(line: string): void {
    if (this.#state === 'head') {
      if (this.status === 0) this.status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1] ?? 999);
      else if (/^transfer-encoding: chunked$/i.test(line)) this.#chunked = true;
      else if (line === '') this.#state = this.#chunked ? 'size' : 'over';
    } else if (this.#state === 'after data') {
      if (line !== '') throw new Error(`A chunk is longer than it says: ${line}`);
      this.#state = 'size';
    } else {
      if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`No size of a chunk: ${line}`);
      this.#left = parseInt(line, 16);
      this.#state = this.#left === 0 ? 'over' : 'data';
    }
  }
}
