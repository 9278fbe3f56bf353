import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus } from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesModule, notesChannel, NoteTaken } from './notes.module.js';

const SHOP = 'https://shop.example';

/** What a header's value must not hold to be sent across origins unasked (https://fetch.spec.whatwg.org/#cors-unsafe-request-header-byte). */
const UNSAFE = '"():<>?@[\\]{}\x7f';
const needsPreflight = (value: string): boolean =>
  value.length > 128 || Array.from(value).some((character) => character < ' ' || UNSAFE.includes(character));

describe.each(adapters)('a page of another origin, on $adapter', ({ make }) => {
  let running: RunningApp;
  const clients: SseTestClient[] = [];

  const connect = async (path: string, headers: Record<string, string>): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path, { headers });
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    running = await startApp(make, NotesModule, (app) => {
      app.enableCors({ origin: [SHOP, 'https://desk.example'], credentials: true });
    });
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  it.each([
    ['a stream', '/notes/ada/plans/events', {}, 200],
    ['a stream that is over for good', '/streams/over', { 'last-event-id': '$end' }, 204],
    ['a guard that refuses', '/notes/refused/401', {}, 401],
    ['an Accept that excludes streams', '/notes/ada/plans/events', { accept: 'text/html' }, 406],
  ])('that is allowed may read %s, with credentials', async (_what, path, headers, status) => {
    const client = await connect(path, { origin: SHOP, ...headers });

    expect(client.status).toBe(status);
    expect(client.headers['access-control-allow-origin']).toBe(SHOP);
    expect(client.headers['access-control-allow-credentials']).toBe('true');
    expect(client.headers['vary']).toMatch(/\bOrigin\b/i);
  });

  it.each([
    'https://evil.example',
    'https://shop.example.evil.example',
    'https://evilshop.example',
    'https://shop.example:8443',
    'http://shop.example',
    'https://SHOP.example/',
    'null',
    '*',
  ])('"%s" that is not on the list is named by no answer', async (origin) => {
    const stream = await connect('/notes/ada/plans/events', { origin });
    const refused = await connect('/notes/refused/403', { origin });
    const over = await connect('/streams/over', { origin, 'last-event-id': '$end' });

    for (const { headers } of [stream, refused, over]) {
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(headers['vary']).toMatch(/\bOrigin\b/i);
    }
  });

  it('sends our ids back unasked: they hold no character and have no length that needs a preflight', async () => {
    const bus = running.app.get(EventBus);
    const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });
    const client = await (await connect('/notes/ada/plans/events', { origin: SHOP })).opened();

    const cursors = [client.cursor, '$end'];
    for (let n = 0; n < 50; n += 1) cursors.push(await bus.publish(topic, NoteTaken, { text: String(n) }));

    expect(cursors.filter(needsPreflight)).toEqual([]);
  });
});
