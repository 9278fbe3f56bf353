import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Module } from '@nestjs/common';
import { SseChannelsModule, type SseChannelsModuleOptions } from '@sse-channels/nest';
import { SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesController, StreamsController } from './notes.module.js';

const OPTIONS: SseChannelsModuleOptions & { allowedHosts: string[]; allowedOrigins: string[] } = {
  allowedHosts: ['api.example'],
  allowedOrigins: ['https://shop.example'],
};

@Module({
  imports: [SseChannelsModule.forRoot(OPTIONS)],
  controllers: [NotesController, StreamsController],
})
class GuardedModule {}

/**
 * A stranger's page makes its own name point at this server, and is then of the same origin for the browser: only the Host and the
 * Origin tell (CVE-2025-66414, CVE-2025-66416, CVE-2026-34742, CVE-2026-35568, CVE-2026-42559 of the MCP SDKs).
 */
describe.each(adapters)('a rebound name, on $adapter', ({ make }) => {
  let running: RunningApp;
  const clients: SseTestClient[] = [];

  const connect = async (
    headers: Record<string, string>,
    request: SseTestRequest = {},
    path = '/notes/ada/plans/events',
  ) => {
    const client = await SseTestClient.connect(running.url + path, { ...request, headers });
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    running = await startApp(make, GuardedModule);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  it.each([
    ['evil.example', {}],
    ['api.example.evil.example', {}],
    ['evilapi.example', {}],
    ['127.0.0.1', {}],
    ['localhost', {}],
    ['api.example', { origin: 'https://evil.example' }],
    ['api.example', { origin: 'https://shop.example.evil.example' }],
    ['api.example', { origin: 'http://shop.example' }],
    ['api.example', { origin: 'null' }],
  ])('with the Host %s and %j is answered 403, on streams of both kinds, and not repeated', async (host, headers) => {
    const stream = await (await connect({ host, ...headers })).end();
    const posted = await (await connect({ host, ...headers }, { method: 'POST', body: {} }, '/streams/asked')).end();

    expect([stream.status, posted.status]).toEqual([403, 403]);
    expect(stream.headers['x-content-type-options']).toBe('nosniff');
    expect(stream.text + posted.text).not.toMatch(/evil/);
  });

  it.each([
    ['api.example', {}],
    ['API.example', {}],
    ['api.example', { origin: 'https://shop.example' }],
  ])('with the Host %s and %j is served', async (host, headers) => {
    const client = await connect({ host, ...headers });
    expect(client.status).toBe(200);
  });
});
