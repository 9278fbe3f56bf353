import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually } from '@sse-channels/testing';
import { NatsLink } from './nats-link.js';

const INFO = `INFO ${JSON.stringify({ server_id: 'a', version: '2.11.0', proto: 1, max_payload: 1_000, headers: true })}\r\n`;

describe('a link to NATS', () => {
  let server: Server;
  const sockets: Socket[] = [];
  /** What the server does with the first words of each connection, by its number. */
  let greet: (socket: Socket, number: number) => void;

  beforeEach(async () => {
    server = createServer((socket) => {
      const number = sockets.push(socket);
      socket.on('error', () => undefined);
      socket.write(INFO);
      socket.once('data', () => greet(socket, number));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
    await once(server, 'close');
  });

  it('comes back at once when a connection is closed in the middle of its handshake, and says so once', async () => {
    greet = (socket, number) => (number > 1 && number < 4 ? socket.destroy() : socket.write('PONG\r\n'));
    const told: string[] = [];
    const link = await NatsLink.open(
      { servers: `127.0.0.1:${(server.address() as AddressInfo).port}`, timeout: 60_000 },
      {
        onDown: () => told.push('down'),
        onUp: () => told.push('up'),
        onError: () => undefined,
      },
    );

    sockets[0]?.destroy();

    await eventually(() => told.includes('up'), 'the link is up again');
    expect([told, sockets.length]).toEqual([['down', 'up'], 4]);
    await link.close();
  });
});
