/** A subscription of tRPC 11 over SSE: an async generator per connection that listens to an EventEmitter, as its docs show. */
import { EventEmitter, on, once } from 'node:events';
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import { initTRPC, tracked } from '@trpc/server';
import { History } from './history.mjs';

export async function start({ heartbeatMs }) {
  const emitter = new EventEmitter().setMaxListeners(0);
  const history = new History();
  const trpc = initTRPC.create({
    sse: { ping: { enabled: heartbeatMs !== null, intervalMs: heartbeatMs ?? 15_000 } },
  });
  const router = trpc.router({
    events: trpc.procedure
      .input((input) => input)
      .subscription(async function* events({ input, signal }) {
        const live = on(emitter, input.channel, { signal });
        for (const event of history.after(input.channel, input.lastEventId)) {
          yield tracked(String(event.sequence), event);
        }
        for await (const [event] of live) yield tracked(String(event.sequence), event);
      }),
  });
  const server = createHTTPServer({ router });
  await once(server.listen(0, '127.0.0.1'), 'listening');

  return {
    port: server.address().port,
    path: `/events?input=${encodeURIComponent('{"channel":"{channel}"}').replace('%7Bchannel%7D', '{channel}')}`,
    publish(channel, event) {
      emitter.emit(channel, event);
    },
    remember: (channel, events) => history.remember(channel, events),
  };
}
