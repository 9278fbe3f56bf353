/**
 * The limit of Node: bare sockets, no HTTP server, no log, no validation; what a turn brought is framed for SSE and for HTTP/1.1 once, and
 * the same Buffer is written to each socket, once.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { SseServer, StartOptions, Tick } from '../sse-server.js';
import { channelOf, frameOf, join } from './frame.js';

const HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n';
const HEARTBEAT = chunk(':\n\n');

export async function start({ heartbeatMs }: StartOptions): Promise<SseServer> {
  const channels = new Map<string, Set<Socket>>();
  const past = new Map<string, Buffer>();
  const due = new Map<string, string>();

  const server = createServer({ noDelay: true }, (socket) => {
    socket.once('data', (bytes) => {
      const head = bytes.toString('latin1');
      const channel = channelOf(head.slice(0, head.indexOf(' HTTP/')));
      socket.write(HEAD);
      const missed = /^last-event-id:/im.test(head) ? past.get(channel) : undefined;
      if (missed !== undefined) socket.write(missed);
      join(channels, channel, socket);
      socket.on('close', () => channels.get(channel)?.delete(socket));
    });
    socket.on('error', () => undefined);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  if (heartbeatMs !== null) {
    setInterval(() => {
      for (const sockets of channels.values()) for (const socket of sockets) socket.write(HEARTBEAT);
    }, heartbeatMs);
  }

  const flush = (): void => {
    for (const [channel, frames] of due) {
      const bytes = chunk(frames);
      for (const socket of channels.get(channel) ?? []) socket.write(bytes);
    }
    due.clear();
  };
  return {
    port: (server.address() as AddressInfo).port,
    path: '/events/{channel}',
    publish(channel, event) {
      if (due.size === 0) setImmediate(flush);
      due.set(channel, (due.get(channel) ?? '') + frameOf(event));
    },
    remember(channel, events: readonly Tick[]) {
      past.set(channel, chunk(events.map(frameOf).join('')));
      return '0';
    },
  };
}

function chunk(frames: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(frames).toString(16)}\r\n${frames}\r\n`);
}
