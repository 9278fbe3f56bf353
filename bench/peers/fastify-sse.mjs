/** @fastify/sse: a set of replies per channel, each sent to in turn. */
import fastifySse from '@fastify/sse';
import fastify from 'fastify';
import { History } from './history.mjs';

export async function start({ heartbeatMs }) {
  const channels = new Map();
  const history = new History();
  const app = fastify();
  await app.register(fastifySse, { heartbeatInterval: heartbeatMs ?? 0 });

  app.get('/events/:channel', { sse: 'only' }, async (request, reply) => {
    const { channel } = request.params;
    reply.sse.keepAlive();
    await reply.sse.send({ data: 'open' });
    await reply.sse.replay(async (lastEventId) => {
      for (const event of history.after(channel, lastEventId)) await reply.sse.send(message(event));
    });
    if (!channels.has(channel)) channels.set(channel, new Set());
    channels.get(channel).add(reply.sse);
    reply.sse.onClose(() => channels.get(channel).delete(reply.sse));
  });
  await app.listen({ port: 0, host: '127.0.0.1' });

  return {
    port: app.server.address().port,
    path: '/events/{channel}',
    publish(channel, event) {
      for (const sse of channels.get(channel) ?? []) sse.send(message(event)).catch(() => undefined);
    },
    remember: (channel, events) => history.remember(channel, events),
  };
}

function message(event) {
  return { id: String(event.sequence), event: 'ticked', data: event };
}
