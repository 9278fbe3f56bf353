/**
 * The limit of Node: bare sockets, no HTTP server, no log, no validation; what a turn brought is framed for SSE and for HTTP/1.1 once, and
 * the same Buffer is written to each socket, once.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import type { SseServer, StartOptions } from '../sse-server.js';
import { channelOf } from './frame.js';
import { SharedChunks } from './shared-chunks.js';

const HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n';

export async function start({ heartbeatMs }: StartOptions): Promise<SseServer> {
  const chunks = new SharedChunks();
  const server = createServer({ noDelay: true }, (socket) => {
    socket.once('data', (bytes) => {
      const head = bytes.toString('latin1');
      const channel = channelOf(head.slice(0, head.indexOf(' HTTP/')));
      socket.write(HEAD);
      chunks.join(channel, socket, /^last-event-id:/im.test(head));
      socket.on('close', () => chunks.leave(channel, socket));
    });
    socket.on('error', () => undefined);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  chunks.beat(heartbeatMs);
  return {
    port: (server.address() as AddressInfo).port,
    path: '/events/{channel}',
    publish: (channel, event) => chunks.publish(channel, event),
    remember: (channel, events) => chunks.remember(channel, events),
  };
}
