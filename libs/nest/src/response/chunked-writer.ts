/**
 * Writes a response's bytes as HTTP/1.1 chunks straight to its socket. The chunk's framing is made once for bytes that are shared
 * by many responses, and Node's work for each `response.write` is left out.
 */
import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

const CRLF = Buffer.from('\r\n');

/**
 * The socket to write a response's chunks to; null where that is not safe: HTTP/2, HTTP/1.0, a response that waits for its socket
 * behind another one, or whose `write` somebody wrapped. The head must have been written with `Transfer-Encoding: chunked`.
 */
export function chunkSocketOf(response: ServerResponse): Socket | null {
  const { socket, req } = response;
  const plain =
    response instanceof ServerResponse &&
    req.httpVersion === '1.1' &&
    // Compression and the like replace it.
    response.write === ServerResponse.prototype.write &&
    response.headersSent &&
    response.chunkedEncoding;
  return plain ? socket : null;
}

/** Chunks that were made last, the newest first: in a storm of reconnects each replay stands between bytes of one response alone. */
const recent: Array<{ readonly bytes: Buffer; readonly chunk: Buffer }> = [];
const MAX_RECENT = 4;
/** Making a small chunk costs no more than looking for it. */
const MIN_RECENT_BYTES = 1_024;

let lastBytes: Buffer | undefined;
let lastChunk: Buffer = CRLF;

/** The chunk of these bytes (RFC 9112, section 7.1); the same one when it is asked for again soon, as in a fan-out. */
export function chunkOf(bytes: Buffer): Buffer {
  if (bytes === lastBytes) return lastChunk;
  lastBytes = bytes;
  return (lastChunk = recent.find((entry) => entry.bytes === bytes)?.chunk ?? newChunk(bytes));
}

function newChunk(bytes: Buffer): Buffer {
  const size = `${bytes.length.toString(16)}\r\n`;
  const end = size.length + bytes.length;
  const chunk = Buffer.allocUnsafe(end + CRLF.length);
  chunk.write(size, 'latin1');
  chunk.set(bytes, size.length);
  chunk.set(CRLF, end);
  if (bytes.length >= MIN_RECENT_BYTES && recent.unshift({ bytes, chunk }) > MAX_RECENT) recent.pop();
  return chunk;
}
