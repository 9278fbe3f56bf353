/** Hono's `streamSSE` on @hono/node-server: a set of streams per channel, each written to in turn. */
import { once } from 'node:events';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { History } from './history.mjs';

export async function start({ heartbeatMs }) {
  const channels = new Map();
  const history = new History();
  const app = new Hono();

  app.get('/events/:channel', (context) =>
    streamSSE(context, async (stream) => {
      const channel = context.req.param('channel');
      if (!channels.has(channel)) channels.set(channel, new Set());
      const streams = channels.get(channel);
      const left = new Promise((resolve) => {
        stream.onAbort(resolve);
      });
      await stream.write(': open\n\n');
      for (const event of history.after(channel, context.req.header('last-event-id'))) {
        await stream.writeSSE(message(event));
      }
      streams.add(stream);
      const heartbeat = heartbeatMs && setInterval(() => void stream.write(':\n\n'), heartbeatMs);
      await left;
      clearInterval(heartbeat);
      streams.delete(stream);
    }),
  );
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' });
  if (!server.listening) await once(server, 'listening');

  return {
    port: server.address().port,
    path: '/events/{channel}',
    publish(channel, event) {
      for (const stream of channels.get(channel) ?? []) stream.writeSSE(message(event)).catch(() => undefined);
    },
    remember: (channel, events) => history.remember(channel, events),
  };
}

function message(event) {
  return { id: String(event.sequence), event: 'ticked', data: JSON.stringify(event) };
}
