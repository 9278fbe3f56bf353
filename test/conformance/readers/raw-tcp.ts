/** Reads a stream from a bare socket with our own parser: sees every byte, can stop reading, and can leave inside a frame. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { FrameParser } from '@sse-channels/protocol';
import { BodyDecoder } from '../body-decoder.js';
import { headersOf, Reading, urlOf, type Reader, type ReadRequest } from '../reading.js';

/** A reading that stops at an exact byte of the body, wherever that is in a frame. */
export interface RawRequest extends ReadRequest {
  readonly stopAtByte?: number;
}

export const rawTcp = {
  name: 'raw TCP',
  sendsHeader: true,
  reconnects: false,

  open(request: RawRequest): Promise<Reading> {
    const url = new URL(urlOf(request));
    const socket = connectTo(url);
    const reading = new Reading();
    const parser = new FrameParser({
      onEvent: ({ name, data, lastEventId }) => reading.event(name, data, lastEventId),
      onComment: () => reading.comment(),
    });
    let left = request.stopAtByte ?? Infinity;
    const decoder = new BodyDecoder((bytes) => {
      const taken = bytes.length > left ? bytes.subarray(0, left) : bytes;
      left -= taken.length;
      reading.text += taken.toString('utf8');
      if (reading.status === 200) parser.push(taken);
      // A heartbeat moves the cursor without an event.
      if (!reading.left) reading.cursor = parser.lastEventId;
      reading.look();
      if (left === 0) reading.leave('reset');
    });
    reading.handle = {
      leave: (kind) => {
        if (kind === 'reset') socket.resetAndDestroy();
        else if (kind === 'half-close') socket.end();
        else socket.destroy();
      },
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    };
    const head = Object.entries({ host: url.host, ...headersOf(request) }).map(([name, value]) => `${name}: ${value}`);
    socket.write(Buffer.from(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`, 'latin1'));
    return new Promise((resolve, reject) => {
      socket.on('data', (chunk) => {
        decoder.push(chunk);
        if (reading.status === null && decoder.status !== null) {
          reading.status = decoder.status;
          reading.headers = decoder.headers;
          decoder.body();
          resolve(reading);
        }
        if (decoder.complete) socket.destroy();
      });
      socket.on('error', reject);
      socket.on('close', () => {
        if (reading.status === null) reject(new Error(`${url.href} closed the connection without an answer`));
        reading.end();
      });
    });
  },
} satisfies Reader;

function connectTo({ protocol, hostname, port }: URL): Socket {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (protocol === 'https:') return connectTls({ host, port: Number(port || 443), servername: host });
  return connectTcp({ host, port: Number(port || 80), noDelay: true });
}
