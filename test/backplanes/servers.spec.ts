import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually } from '@sse-channels/testing';
import { findProgram } from '../programs.js';

const redis = findProgram('The Redis server', 'REDIS_SERVER_PATH', ['redis-server', 'valkey-server']);
const nats = findProgram('The NATS server', 'NATS_SERVER_PATH', ['nats-server']);

/** The engines that backplanes run on can be started by tests: a process of their own, a free port, a directory that goes. */
describe('a server for the tests of a backplane', () => {
  let directory: string;
  let server: ChildProcess | undefined;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'backplane-'));
  });

  afterEach(async () => {
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      server.kill('SIGKILL');
      await once(server, 'exit');
    }
    rmSync(directory, { recursive: true, force: true });
  });

  (redis === null ? it.skip : it)(
    'Redis answers a PING',
    async () => {
      const port = await freePort();
      server = spawn(redis ?? '', ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '']);
      await eventually(async () => (await say(port, 'PING\r\n')) === '+PONG\r\n', 'Redis answers');
      expect(server.exitCode).toBeNull();
    },
    20_000,
  );

  (nats === null ? it.skip : it)(
    'NATS introduces itself, with JetStream',
    async () => {
      const port = await freePort();
      server = spawn(nats ?? '', ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', directory]);
      await eventually(async () => /^INFO \{.*"jetstream":true/.test(await say(port, '')), 'NATS answers');
      expect(server.exitCode).toBeNull();
    },
    20_000,
  );
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What a server says first; empty when it cannot be reached. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(text);
  return new Promise((resolve) => {
    socket.once('data', (data: Buffer) => {
      socket.destroy();
      resolve(data.toString());
    });
    socket.once('error', () => resolve(''));
  });
}
