/** better-sse behind node:http: a channel per name, a session per request, replay in one batch. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createChannel, createSession } from 'better-sse';
import { History } from './history.mjs';

export async function start({ heartbeatMs }) {
  const channels = new Map();
  const history = new History();
  const channelOf = (name) => {
    if (!channels.has(name)) channels.set(name, createChannel());
    return channels.get(name);
  };

  const stream = async (request, response) => {
    const name = request.url.slice('/events/'.length);
    const session = await createSession(request, response, { keepAlive: heartbeatMs });
    const missed = history.after(name, session.lastId);
    if (missed.length > 0) {
      await session.batch((buffer) => {
        for (const event of missed) buffer.push(event, 'ticked', String(event.sequence));
      });
    }
    channelOf(name).register(session);
  };
  const server = createServer((request, response) => void stream(request, response));
  await once(server.listen(0, '127.0.0.1'), 'listening');

  return {
    port: server.address().port,
    path: '/events/{channel}',
    publish(name, event) {
      channelOf(name).broadcast(event, 'ticked', { eventId: String(event.sequence) });
    },
    remember: (name, events) => history.remember(name, events),
  };
}
