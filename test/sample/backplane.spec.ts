import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { AppendError, EventBus, MemoryBackplane } from '@sse-channels/nest';
import { NatsBackplane } from '@sse-channels/nats';
import { RedisBackplane } from '@sse-channels/redis';
import { backplaneAt } from '../../apps/sample/src/backplane.js';
import { createApp } from '../../apps/sample/src/create-app.js';

describe('the backplane of the sample', () => {
  it('is in memory unless BACKPLANE says otherwise', async () => {
    const backplanes = [backplaneAt(), backplaneAt('memory')];
    expect(backplanes.map((one) => [one instanceof MemoryBackplane, one.capabilities.durable])).toEqual([
      [true, false],
      [true, false],
    ]);
    await Promise.all(backplanes.map((one) => one.close()));
  });

  it('keeps a journal, or is on an engine, where BACKPLANE says so', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'journal-'));
    const journal = backplaneAt(`journal:${directory}`);
    const engines = [backplaneAt('redis://127.0.0.1:1'), backplaneAt('nats://127.0.0.1:1,nats://127.0.0.1:2')];
    expect([journal.capabilities.durable, journal instanceof MemoryBackplane]).toEqual([true, true]);
    expect(engines.map((one) => one.constructor)).toEqual([RedisBackplane, NatsBackplane]);
    await Promise.all([journal, ...engines].map((one) => one.close()));
    rmSync(directory, { recursive: true });
  });

  it.each([
    ['kafka://user:password@localhost', 'kafka:…'],
    ['journal:', 'journal:'],
    ['redis:6379', 'redis:…'],
    ['', ''],
    ['Memory', 'Memory'],
  ])('is refused as "%s", with what is known and without what may be a password', (where, said) => {
    expect(() => backplaneAt(where)).toThrow(
      `BACKPLANE is "${said}"; it may be memory, journal:<directory>, redis://<host>:<port> or nats://<host>:<port>.`,
    );
  });

  it('makes every route that publishes answer 503 with Retry-After while it confirms nothing', async () => {
    const app = await createApp({ logger: false });
    await app.listen(0, '127.0.0.1');
    const publish = jest.spyOn(app.get(EventBus), 'publish');
    publish.mockRejectedValue(new AppendError('notifications/alice', 'not-written', 'nobody answers.'));
    const response = await fetch(`${await app.getUrl()}/notifications/alice`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ title: 'Margin call' }),
    });
    publish.mockRestore();
    expect([response.status, Number(response.headers.get('retry-after')) >= 1]).toEqual([503, true]);
    await app.close();
  });
});
