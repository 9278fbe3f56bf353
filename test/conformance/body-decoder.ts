/** Takes an HTTP/1.1 response apart as its bytes come: status, headers, and the body without its chunks' framing. */

export class BodyDecoder {
  /** Null until the head is there. */
  status: number | null = null;
  headers: Record<string, string> = {};
  /** Whether the whole body has come. */
  complete = false;

  #rest: Buffer = Buffer.alloc(0);
  #begun = false;
  #chunked = false;
  /** Bytes that the body or its current chunk still has; null before a chunk's size. */
  #left: number | null = null;

  constructor(private readonly onBody: (bytes: Buffer) => void) {}

  push(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    if (this.status === null) this.#readHead();
    else if (this.#begun) this.#readBody();
  }

  /** Lets the body through, once the head has been looked at. */
  body(): void {
    this.#begun = true;
    this.#readBody();
  }

  #readHead(): void {
    const end = this.#rest.indexOf('\r\n\r\n');
    if (end === -1) return;
    const [statusLine = '', ...lines] = this.#rest.toString('latin1', 0, end).split('\r\n');
    this.#rest = this.#rest.subarray(end + 4);
    this.status = Number(statusLine.split(' ')[1]);
    for (const line of lines) {
      const colon = line.indexOf(':');
      this.headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    this.#chunked = this.headers['transfer-encoding'] === 'chunked';
    const length = this.headers['content-length'];
    if (this.status === 204) this.#left = 0;
    else if (!this.#chunked) this.#left = length === undefined ? Infinity : Number(length);
  }

  #readBody(): void {
    while (!this.complete) {
      if (this.#left === null) {
        const end = this.#rest.indexOf('\r\n');
        if (end === -1) return;
        this.#left = Number.parseInt(this.#rest.toString('latin1', 0, end), 16);
        this.#rest = this.#rest.subarray(end + 2);
        // The last chunk; trailers are nobody's.
        if (this.#left === 0) this.complete = true;
        continue;
      }
      if (this.#left > 0) {
        if (this.#rest.length === 0) return;
        const part = this.#rest.subarray(0, this.#left);
        this.#rest = this.#rest.subarray(part.length);
        this.#left -= part.length;
        this.onBody(part);
        continue;
      }
      if (!this.#chunked) this.complete = true;
      else if (this.#rest.length < 2) return;
      else {
        this.#rest = this.#rest.subarray(2);
        this.#left = null;
      }
    }
  }
}
