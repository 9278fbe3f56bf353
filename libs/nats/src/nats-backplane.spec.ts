import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { NatsBackplane } from './nats-backplane.js';
import type { NatsBackplaneOptions } from './options.js';

describe('a NATS backplane', () => {
  let server: Server | undefined;

  afterEach(async () => {
    if (server === undefined) return;
    server.close();
    await once(server, 'close');
    server = undefined;
  });

  it.each<[NatsBackplaneOptions, string]>([
    [
      { prefix: 'a.*' },
      'option "prefix" is "a.*"; it takes letters, digits, "-" and "_", up to 64, and several such with "." between.',
    ],
    [{ replicas: 7 }, 'option "replicas" is 7; it takes 1, 3 or 5.'],
    [{ servers: [] }, 'option "servers" takes an address, or several, such as "nats://localhost:4222".'],
    [{ maxAgeMs: 0.5 }, 'option "maxAgeMs" takes a whole number from 1000 to 31536000000, not 0.5.'],
    [{ storage: 'disk' as 'file' }, 'option "storage" is "disk"; it takes "file" or "memory".'],
  ])('refuses options that make no sense: %j', (options, message) => {
    expect(() => new NatsBackplane(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: `The NATS backplane ${message}` }),
    );
  });

  it('refuses an option that it does not have, and names those that there are', () => {
    expect(() => new NatsBackplane({ url: 'x' } as NatsBackplaneOptions)).toThrow(
      /^The NATS backplane has no option "url"; there are servers, /,
    );
  });

  it('is not ready where NATS cannot be reached', async () => {
    const backplane = new NatsBackplane({ servers: '127.0.0.1:1' });
    await expect(backplane.ready()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^NATS cannot be reached at 127\.0\.0\.1:1: /) as unknown as string,
    });
    await backplane.close();
  });

  it('is not ready on a server that is too old, and says why', async () => {
    // Says what an old server says first, and answers a ping.
    server = createServer((socket) => {
      socket.write(
        'INFO {"server_id":"x","server_name":"old","version":"2.9.10","max_payload":1048576,"headers":true,"proto":1}\r\n',
      );
      socket.on('data', (data) => {
        if (data.toString().includes('PING')) socket.write('PONG\r\n');
      });
      socket.on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const backplane = new NatsBackplane({ servers: `127.0.0.1:${(server.address() as AddressInfo).port}` });
    await expect(backplane.ready()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message:
        'NATS server old is version 2.9.10; the NATS backplane needs 2.10 or later, which tells the time of a record that it republishes.',
    });
    await backplane.close();
  });
});
