/**
 * Socket.IO's adapter on Redis Streams, with the `redis` package and connection state recovery, as its documentation sets it up. A topic is
 * a room with one socket in it, which takes packets where a real one would write them to its client.
 */
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const EVENT_PACKET = 2;
/** How long the adapter may take to begin to read. */
const ATTACHED_MS = 500;

export async function open({ url }) {
  const client = createClient({ url });
  client.on('error', () => undefined);
  await client.connect();
  const io = new Server({ adapter: createAdapter(client), connectionStateRecovery: {} });
  const namespace = io.of('/');
  const { adapter } = namespace;
  // It reads from "the newest" on, and does not say when it has begun.
  await new Promise((resolve) => setTimeout(resolve, ATTACHED_MS));
  return {
    // What `io.to(topic).emit('ticked', event)` calls, which does not hand on this promise.
    append: (topic, event) =>
      adapter.broadcast(
        { type: EVENT_PACKET, data: ['ticked', event] },
        { rooms: new Set([topic]), except: new Set(), flags: {} },
      ),
    async follow(topic, onEvent) {
      namespace.sockets.set(topic, {
        id: topic,
        notifyOutgoingListeners: ({ data }) => onEvent(data[1].mark),
        client: { writeToEngine: () => undefined },
      });
      await adapter.addAll(topic, new Set([topic]));
    },
    async placeBefore(topic, events) {
      const entries = await client.xRevRange('socket.io', '+', '-', { COUNT: events + 1 });
      return entries.at(-1).id;
    },
    async replay(topic, place) {
      adapter.persistSession({ sid: topic, pid: topic, rooms: [topic], data: {} });
      const { missedPackets } = await adapter.restoreSession(topic, place);
      return missedPackets.length;
    },
  };
}
