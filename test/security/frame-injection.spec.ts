import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineEvent,
  EventBus,
  formatCursor,
  SseChannelsError,
  SseEvent,
  type EventType,
  type SseChannelsErrorCode,
} from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import { z } from 'zod';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { anythingSaid, NotesModule, notesChannel, NoteTaken, StreamsController } from './notes.module.js';

/** What each of these advisories lets an attacker put into one field of the stream. */
const injections = [
  ['LF', 'x\nevent: admin\ndata: {"role":"admin"}\n\n'],
  ['CR', 'x\revent: admin\rdata: {"role":"admin"}\r\r'],
  ['CRLF', 'x\r\nevent: admin\r\ndata: {"role":"admin"}\r\n\r\n'],
  ['LF and a retry', 'x\nretry: 1\n'],
  ['CR and an id', 'x\rid: 0\r'],
  ['NUL', 'x\0'],
  ['a lone surrogate', 'x\ud800'],
] as const;

const codeOf = (work: () => unknown): SseChannelsErrorCode | undefined => {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as SseChannelsError).code;
  }
};

describe('an event name (CVE-2026-35515, CVE-2026-33128, CVE-2026-29085, CVE-2026-44214, CVE-2026-44217)', () => {
  it.each(injections)('with %s is refused where it is defined, and shown escaped', (_what, name) => {
    const byClass = (): unknown => SseEvent(name);
    const bySchema = (): unknown => defineEvent(name, z.any());

    expect([codeOf(byClass), codeOf(bySchema)]).toEqual(['INVALID_EVENT_NAME', 'INVALID_EVENT_NAME']);
    expect(byClass).toThrow(JSON.stringify(name));
    expect(byClass).not.toThrow(/[\r\n\0]/);
  });

  it.each(['$open', '$closing', 'error', 'open', 'message', ''])('"%s" is refused: it would speak for us', (name) => {
    expect(codeOf(() => SseEvent(name))).toBe('INVALID_EVENT_NAME');
  });
});

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const clients: SseTestClient[] = [];
  const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });

  const connect = async (path: string): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path);
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    running = await startApp(make, NotesModule);
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  describe('data (CVE-2026-33128, GHSA-4hxc-9384-m385, CVE-2026-22735)', () => {
    it.each(injections)('with %s stays one line of JSON and arrives as it was sent', async (_what, text) => {
      const client = await (await connect('/notes/ada/plans/events')).opened();
      const opened = client.text;

      const cursor = await bus.publish(topic, NoteTaken, { text });
      await client.receive(1);

      expect(client.text).toBe(`${opened}id: ${cursor}\nevent: note.taken\ndata: ${JSON.stringify({ text })}\n\n`);
      expect(client.applicationEvents).toEqual([{ name: 'note.taken', data: { text }, cursor }]);
    });

    it('that is only text, or has line ends of Unicode, stays one line as well', async () => {
      const client = await (await connect('/notes/ada/plans/events')).opened();
      const texts = [
        'a\n\nevent: admin\ndata: x\n\n',
        '\r',
        '\u2028\u2029\u0085\v\f',
        '\ufeffdata: x',
        ': comment',
        '',
      ];

      for (const text of texts) await bus.publish(topic, anythingSaid, text);
      await client.receive(texts.length);

      expect(client.events.slice(1).map(({ name, data }) => [name, data])).toEqual(
        texts.map((text) => ['anything.said', text]),
      );
    });

    it('with a toJSON of its own is one line of JSON too', async () => {
      const client = await (await connect('/notes/ada/plans/events')).opened();

      await bus.publish(topic, anythingSaid, { toJSON: () => '\n\nevent: admin\n\n' });
      await client.receive(1);

      expect(client.events.slice(1)).toMatchObject([{ name: 'anything.said', data: '\n\nevent: admin\n\n' }]);
    });
  });

  describe('an id (CVE-2026-35515, CVE-2026-33128, CVE-2026-29085, CVE-2026-44214, CVE-2026-44217)', () => {
    it.each(injections)(
      'with %s that a stream gives its event ends it as failed, and is not sent',
      async (_what, id) => {
        StreamsController.cursor = id;

        const client = await (await connect('/streams/placed')).end();

        expect(client.events.map(({ name }) => name)).toEqual(['$open', '$error', '$closing']);
        expect(client.text).not.toContain('admin');
        expect(client.retries).toHaveLength(2);
        expect(client.cursor).toBe('');
      },
    );

    it('of ours has no character that ends a line', async () => {
      const cursor = await bus.publish(topic, NoteTaken, { text: 'x' });
      expect(cursor).toMatch(/^[0-9A-Za-z_-]+~[0-9a-z]+-[0-9a-z]+$/);
      expect(cursor).toBe(formatCursor(...(cursor.split('~') as [string, string])));
    });
  });

  it('a retry and a comment are never taken from an event (CVE-2026-29085, CVE-2026-44217)', async () => {
    const client = await (await connect('/notes/ada/plans/events')).opened();
    const hostile = { retry: '0\r\nevent: admin', comment: '\n\nevent: admin\n\n', id: '\n0', event: 'admin' };

    await bus.publish(topic, anythingSaid, hostile);
    await client.receive(1);

    expect([client.retries.length, client.comments]).toEqual([1, 0]);
    expect(client.applicationEvents).toMatchObject([{ name: 'anything.said', data: hostile }]);
  });

  it('what is published under a definition that was tampered with is refused', async () => {
    const client = await (await connect('/notes/ada/plans/events')).opened();
    const opened = client.text;
    const forged = { ...anythingSaid, eventName: 'x\nevent: admin' } as unknown as typeof anythingSaid;
    const twin = { ...anythingSaid } as EventType as typeof anythingSaid;

    await expect(bus.publish(topic, forged, 'x')).rejects.toMatchObject({ code: 'EVENT_NOT_DECLARED' });
    await expect(bus.publish(topic, twin, 'x')).rejects.toMatchObject({ code: 'EVENT_NOT_DECLARED' });
    const cursor = await bus.publish(topic, anythingSaid, 'true');
    await client.receive(1);

    expect(client.text).toBe(`${opened}id: ${cursor}\nevent: anything.said\ndata: "true"\n\n`);
  });
});
