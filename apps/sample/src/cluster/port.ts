/** Ports of this machine's loopback. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Below the ports that systems give to outgoing connections: none of those takes one while whoever has it is away. */
const FIRST = 12_000;
const END = 22_000;
const TRIES = 50;
/** How long whoever does not take a connection yet is left alone, in milliseconds. */
const PAUSE_MS = 50;

/** A port that nobody has now. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = FIRST + Math.floor(Math.random() * (END - FIRST));
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
      return port;
    } catch {
      // Somebody has it.
    }
  }
  throw new Error(`No free port among ${TRIES} from ${FIRST} to ${END}.`);
}

/** Whether somebody takes connections; a no takes a moment. */
export async function listens(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    await sleep(PAUSE_MS);
    return false;
  } finally {
    socket.destroy();
  }
}
