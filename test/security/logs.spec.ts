import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { LoggerService } from '@nestjs/common';
import { EventBus, Hub, SSE_CHANNELS_BACKPLANE, type Backplane } from '@sse-channels/nest';
import { eventually, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesModule, notesChannel, NoteTaken, StreamsController } from './notes.module.js';

/** Keeps what is logged, at every level. */
class KeepingLogger implements LoggerService {
  readonly lines: string[] = [];
  readonly log = this.#keep('log');
  readonly error = this.#keep('error');
  readonly warn = this.#keep('warn');
  readonly debug = this.#keep('debug');
  readonly verbose = this.#keep('verbose');
  readonly fatal = this.#keep('fatal');

  #keep(level: string) {
    return (...parts: unknown[]): void => {
      this.lines.push(
        `${level} ${parts.map((part) => (part instanceof Error ? String(part.stack) : typeof part === 'string' ? part : JSON.stringify(part))).join(' ')}`,
      );
    };
  }
}

const SECRET = 's3cr3t';

describe.each(adapters)('the log, on $adapter', ({ make }) => {
  let running: RunningApp;
  const logger = new KeepingLogger();
  const clients: SseTestClient[] = [];

  const connect = async (path: string, request: SseTestRequest = {}): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${running.url}${path}?access_token=${SECRET}&lastEventId=${SECRET}`, {
      ...request,
      headers: {
        authorization: `Bearer ${SECRET}`,
        cookie: `session=${SECRET}`,
        referer: `https://x/?${SECRET}`,
        ...request.headers,
      },
    });
    clients.push(client);
    return client;
  };
  const logged = (what: RegExp): Promise<void> =>
    eventually(() => logger.lines.some((line) => what.test(line)), `a line like ${String(what)}`);

  beforeEach(async () => {
    logger.lines.length = 0;
    running = await startApp(make, NotesModule, (app) => app.useLogger(logger));
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  it('never shows a token, a cookie or a cursor of a request, from the first byte to the drain', async () => {
    const bus = running.app.get(EventBus);
    const hub = running.app.get(Hub);
    const backplane: Backplane = running.app.get(SSE_CHANNELS_BACKPLANE);
    const topic = notesChannel.topic({ owner: 'ada', title: 'plans' });
    StreamsController.cursor = 'a\nb';

    const stream = await (await connect('/notes/ada/plans/events', { lastEventId: SECRET })).opened();
    await (await connect('/streams/placed')).end();
    await (await connect('/streams/over')).end();
    await (await connect('/notes/mistaken')).end();
    await (await connect('/notes/found')).end();
    await (await connect('/notes/refused/401')).end();
    await (await connect('/notes/ada/plans/events', { headers: { accept: 'text/html' } })).end();
    const left = await (await connect('/streams/numbered')).receive(3);
    clients.at(-1)!.leave();
    await logged(/^debug Connection \S+ ended: client-left/);
    await backplane.append(topic.name, { name: '$closing', data: '{}' }, notesChannel.retention);
    await expect(bus.publish(topic, NoteTaken, { text: 7 as unknown as string })).rejects.toThrow('text');
    await hub.drain({ graceMs: 1_000, retryMs: () => 20 });
    await (await connect('/notes/ada/plans/events')).end();
    await running.app.close();

    expect([stream.gaps[0]!.reason, left.length, stream.closing!.reason]).toEqual(['invalid', 3, 'drained']);
    // What is looked for was there to be logged.
    await logged(/^debug Connection \S+ opened/);
    await logged(/^debug Connection \S+ ended: drained/);
    await logged(/^debug Topic notes\/ada\/plans: a client was told of a gap \(invalid\)/);
    await logged(/^error Error while serving connection/);
    await logged(/^error Error while framing a record/);
    await logged(/^error .*NotesController\.mistaken returned undefined/);
    expect(logger.lines.filter((line) => line.includes(SECRET))).toEqual([]);
  });
});
