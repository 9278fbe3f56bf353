/**
 * A middleware that compresses responses the way Express applications do it: it puts itself in place of the response's `write`,
 * `end` and `on`, waits for the head to decide, and holds back what was written until `flush` is called or a block is full.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createGzip, type Gzip } from 'node:zlib';

/** What such a middleware adds to a response. */
export interface FlushableResponse extends ServerResponse {
  flush(): void;
}

/**
 * @param ignoreNoTransform whether it compresses although `Cache-Control: no-transform` forbids it (RFC 9111, section 5.2.2.6)
 */
export function compressing({ ignoreNoTransform = false } = {}) {
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const { write, end, on, writeHead } = response;
    const early: Array<() => void> = [];
    let gzip: Gzip | undefined;
    let decided = false;

    const decide = (): void => {
      if (decided) return;
      decided = true;
      const forbidden = /\bno-transform\b/.test(String(response.getHeader('cache-control'))) && !ignoreNoTransform;
      const encoded = response.hasHeader('content-encoding');
      const accepted = /\bgzip\b/.test(String(request.headers['accept-encoding']));
      if (!forbidden && !encoded && accepted && response.statusCode === 200) {
        gzip = createGzip();
        response.setHeader('content-encoding', 'gzip');
        response.removeHeader('content-length');
        gzip.on('data', (bytes: Buffer) => {
          if (!write.call(response, bytes, 'latin1')) gzip?.pause();
        });
        gzip.on('end', () => end.call(response, undefined, 'latin1'));
        on.call(response, 'drain', () => gzip?.resume());
      }
      for (const listen of early.splice(0)) listen();
    };

    response.writeHead = ((...head: Parameters<typeof writeHead>) => {
      decide();
      return writeHead.apply(response, head);
    }) as typeof writeHead;
    response.write = ((chunk: Buffer, ...rest: [BufferEncoding]) => {
      if (!response.headersSent) response.writeHead(response.statusCode);
      return gzip === undefined ? write.call(response, chunk, ...rest) : gzip.write(chunk);
    }) as typeof write;
    response.end = ((chunk?: Buffer, ...rest: [BufferEncoding]) => {
      if (!response.headersSent) decide();
      if (gzip === undefined) return end.call(response, chunk, ...rest);
      gzip.end(chunk);
      return response;
    }) as typeof end;
    // Who waits for "drain" waits for the compressor: it is the one that is written to.
    response.on = ((event: string, listener: (...values: unknown[]) => void) => {
      if (event !== 'drain') return on.call(response, event, listener);
      const listen = (): unknown =>
        gzip === undefined ? on.call(response, event, listener) : gzip.on(event, listener);
      if (decided) listen();
      else early.push(listen);
      return response;
    }) as typeof on;
    (response as FlushableResponse).flush = () => gzip?.flush();
    next();
  };
}
