/** Ports for servers that a test starts, and starts again on the same port. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that systems give to outgoing connections: while a server is away, none of those takes its port, nor does a
 * client that tries to reach it meet itself there. 10,000 above each lies the port of a Redis node's cluster bus, below them too.
 */
const FIRST = 12_000;
const END = 22_000;
const TRIES = 50;

/** Those that this process was given: a server may not listen on its own yet when another is asked for. */
const given = new Set<number>();

/** A port of the loopback that nobody has now, and nobody was given here before. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = FIRST + Math.floor(Math.random() * (END - FIRST));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`No free port among ${TRIES} from ${FIRST} to ${END}.`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
