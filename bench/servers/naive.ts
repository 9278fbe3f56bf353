/** The naive server: node:http, one string for each event, `response.write` in a loop. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SseServer, StartOptions, Tick } from '../sse-server.js';
import { channelOf, frameOf, join } from './frame.js';

export async function start({ heartbeatMs }: StartOptions): Promise<SseServer> {
  const channels = new Map<string, Set<ServerResponse>>();
  const past = new Map<string, readonly Tick[]>();
  const server = createServer((request, response) => {
    const channel = channelOf(request.url ?? '');
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write(':\n\n');
    const last = request.headers['last-event-id'];
    if (last !== undefined) {
      for (const event of past.get(channel) ?? []) if (event.sequence > Number(last)) response.write(frameOf(event));
    }
    join(channels, channel, response);
    response.on('close', () => channels.get(channel)?.delete(response));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  if (heartbeatMs !== null) {
    setInterval(() => {
      for (const responses of channels.values()) for (const response of responses) response.write(':\n\n');
    }, heartbeatMs);
  }
  return {
    port: (server.address() as AddressInfo).port,
    path: '/events/{channel}',
    publish(channel, event) {
      const frame = frameOf(event);
      for (const response of channels.get(channel) ?? []) response.write(frame);
    },
    remember(channel, events) {
      past.set(channel, events);
      return '0';
    },
  };
}
