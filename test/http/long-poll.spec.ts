import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Module,
  Param,
  Query,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { createSseClient } from '@sse-channels/client';
import {
  Connections,
  defineChannel,
  EventBus,
  Hub,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  SseStream,
  type ErrorData,
  type SseChannelsModuleOptions,
} from '@sse-channels/nest';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { IsInt, IsString } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

@SseEvent('note.told')
class NoteTold {
  @IsInt() n!: number;
  @IsString() text!: string;
}

const countsChannel = defineChannel('counts/:id', { events: [CountTold, NoteTold] });
const fewChannel = defineChannel('few/:id', { events: [CountTold], replay: { maxEvents: 2 } });

/** Lets in all but those whose header says no. */
@Injectable()
class NotRefused implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = request.headers['x-user'];
    return request.user !== 'nobody';
  }
}

@Controller()
@UseGuards(NotRefused)
class CountsController {
  @SseChannel(countsChannel, 'counts/:id')
  counts(@Param('id') id: string, @Query('over') over?: string) {
    const topic = countsChannel.topic({ id });
    return over === undefined ? topic : { topic, filter: ({ n }: { n: number }) => n > Number(over) };
  }

  @SseChannel(fewChannel, 'few/:id', { start: 'earliest' })
  few(@Param('id') id: string) {
    return fewChannel.topic({ id });
  }

  @SseHub('live', { channels: [countsChannel, fewChannel], maxTopics: 3 })
  live() {}

  @SseStream('numbers', { events: [CountTold] })
  async *numbers() {
    yield Object.assign(new CountTold(), { n: 1 });
  }
}

const CURSOR = /^[\w-]+~\w+-\w+$/;

interface Answer {
  readonly events: ReadonlyArray<{ id?: string; cursor?: string; topic?: string; event: string; data: any }>;
  readonly cursor: string;
  readonly more: boolean;
  readonly retryMs: number;
}

interface Asked {
  readonly cursor?: string;
  readonly user?: string;
  readonly accept?: string;
  readonly body?: object;
  readonly signal?: AbortSignal;
}

describe.each(adapters)('a long poll on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const options: SseChannelsModuleOptions = {
    heartbeatMs: 100,
    limits: { perPrincipal: 2 },
    drain: { windowMs: 0, graceMs: 500 },
  };

  beforeEach(async () => {
    @Module({ imports: [SseChannelsModule.forRoot(options)], controllers: [CountsController] })
    class PolledModule {}
    running = await startApp(make, PolledModule);
    bus = running.app.get(EventBus);
  });

  afterEach(() => running.app.close());

  const ask = (path: string, { cursor, user, accept, body, signal }: Asked = {}): Promise<Response> =>
    fetch(`${running.url}/${path}`, {
      headers: {
        accept: accept ?? 'application/json',
        ...(cursor === undefined ? {} : { 'last-event-id': cursor }),
        ...(user === undefined ? {} : { 'x-user': user }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  const poll = async (path: string, asked: Asked = {}): Promise<Answer> =>
    (await (await ask(path, asked)).json()) as Answer;
  const told = ({ events }: Answer): unknown[] =>
    events.flatMap(({ event, data }) => (event === 'count.told' ? [(data as CountTold).n] : []));
  const names = ({ events }: Answer): string[] => events.map(({ event }) => event);
  const count = (n: number, id = '1') => bus.publish(countsChannel.topic({ id }), CountTold, { n });
  const held = (size = 1) => eventually(() => running.app.get(Connections).size === size, `${size} are held`);

  it('answers what came after the cursor, and where the client stands then', async () => {
    const response = await ask('counts/1');
    const first = (await response.json()) as Answer;
    await count(1);
    const second = await count(2);
    const next = await poll('counts/1', { cursor: first.cursor });
    const last = await poll(`counts/1?lastEventId=${next.cursor}`);

    expect(first).toEqual({
      events: [
        {
          id: expect.stringMatching(CURSOR),
          event: '$open',
          data: {
            protocol: 1,
            connection: expect.any(String),
            heartbeatMs: 100,
            topics: [{ topic: 'counts/1', resumed: false, gap: null }],
          },
        },
      ],
      cursor: expect.stringMatching(CURSOR),
      more: false,
      retryMs: expect.any(Number),
    });
    expect([told(next), next.events[2]]).toEqual([[1, 2], { id: second, event: 'count.told', data: { n: 2 } }]);
    expect(names(last)).toEqual(['$open']);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('vary')).toContain('Accept');
  });

  it('holds the answer back until something comes, and counts meanwhile as a connection', async () => {
    const { cursor } = await poll('counts/1');
    const answering = poll('counts/1?waitMs=30000', { cursor, user: 'ada' });
    await held();
    const listed = bus.connections.list({ topic: countsChannel.topic({ id: '1' }) });
    await count(1);
    const answer = await answering;
    await held(0);

    expect([listed.map(({ principal }) => principal), told(answer)]).toEqual([['ada'], [1]]);
    expect(running.app.get(Hub).snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  it('answers with the cursor alone when nothing came in time', async () => {
    const { cursor } = await poll('counts/1');
    await count(1, 'other');
    const answer = await poll('counts/1?waitMs=150', { cursor });
    expect([names(answer), answer.more]).toEqual([['$open'], false]);
    await count(2);
    expect(told(await poll('counts/1', { cursor: answer.cursor }))).toEqual([2]);
  });

  it('gives a long replay in full answers, one after the other, each event once and in order', async () => {
    let { cursor } = await poll('counts/1');
    const text = 'x'.repeat(10_000);
    for (let n = 0; n < 80; n += 1) await bus.publish(countsChannel.topic({ id: '1' }), NoteTold, { n, text });
    const sizes: number[] = [];
    const all: unknown[] = [];
    for (let more = true; more;) {
      const body = await (await ask('counts/1', { cursor })).text();
      const answer = JSON.parse(body) as Answer;
      sizes.push(body.length);
      all.push(...answer.events.flatMap(({ event, data }) => (event === 'note.told' ? [data.n] : [])));
      ({ cursor, more } = answer);
    }
    expect(all).toEqual(Array.from({ length: 80 }, (_, n) => n));
    expect([sizes.length, Math.max(...sizes) < 400_000]).toEqual([3, true]);
  });

  it('moves the cursor on past what a filter leaves out', async () => {
    const { cursor } = await poll('counts/1?over=500');
    for (let n = 0; n < 400; n += 1) await count(n);
    const answer = await poll('counts/1?over=500', { cursor });
    const waiting = poll('counts/1?over=500&waitMs=30000', { cursor: answer.cursor });
    await held();
    await count(401);
    await count(501);
    expect([told(answer), told(await waiting)]).toEqual([[], [501]]);
    expect(told(await poll('counts/1', { cursor: answer.cursor }))).toEqual([401, 501]);
  });

  it('tells of a gap, without waiting, and once', async () => {
    const first = await poll('few/1');
    for (let n = 0; n < 5; n += 1) await bus.publish(fewChannel.topic({ id: '1' }), CountTold, { n });
    const trimmed = await poll('few/1?waitMs=30000', { cursor: first.cursor });
    const foreign = await poll('few/1?waitMs=30000', { cursor: 'other~1-0' });
    const again = await poll('few/1', { cursor: foreign.cursor });

    expect([names(trimmed), told(trimmed), names(again)]).toEqual([
      ['$open', '$gap', 'count.told', 'count.told'],
      [3, 4],
      ['$open'],
    ]);
    expect(foreign.events[1]).toMatchObject({ event: '$gap', data: { topic: 'few/1', reason: 'reset' } });
  });

  it('begins without a cursor where the route says', async () => {
    await bus.publish(fewChannel.topic({ id: '1' }), CountTold, { n: 1 });
    expect(told(await poll('few/1'))).toEqual([1]);
  });

  it('resumes all topics of a hub by one cursor, and is not hurried by a topic that is refused', async () => {
    const path = 'live?topic=counts/1&topic=counts/2&topic=news';
    const first = await poll(path);
    const answering = poll(`${path}&waitMs=30000`, { cursor: first.cursor });
    await held();
    await count(1, '2');
    const second = await answering;
    await count(2, '1');
    await count(3, '2');
    const third = await poll('live', {
      cursor: second.cursor,
      body: { topics: ['counts/1', 'counts/2'] },
    });

    expect([names(first).sort(), told(second), told(third)]).toEqual([['$error', '$open'], [1], [2, 3]]);
    expect(third.events.slice(1).map(({ topic }) => topic)).toEqual(['counts/1', 'counts/2']);
    const many = await poll('live?topic=a&topic=b&topic=c&topic=counts/1');
    expect(many.events.slice(1).map(({ data }) => (data as ErrorData).status)).toEqual([404, 404, 404, 400]);
  });

  it('gives a topic of a hub that is behind with a cursor of its own', async () => {
    const own = await count(1, '1');
    await count(2, '1');
    const stream = await count(3, '2');
    const answer = await poll('live', {
      cursor: stream,
      body: { topics: ['counts/2', { topic: 'counts/1', lastEventId: own }] },
    });
    expect(answer.events.slice(1)).toEqual([
      { cursor: expect.any(String), topic: 'counts/1', event: 'count.told', data: { n: 2 } },
      { event: '$live', data: { topic: 'counts/1' } },
    ]);
    expect(told(await poll('counts/1', { cursor: answer.cursor }))).toEqual([]);
  });

  it('has an empty cursor where no topic was given, and never says that it may be added to', async () => {
    const answer = await poll('live?topic=news');
    const [open] = answer.events;
    const change = await fetch(`${running.url}/live/${open?.data.connection}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect([answer.cursor, change.status]).toEqual(['', 404]);
  });

  it('is refused like a stream: by guards, by limits, by a foreign waitMs, for good', async () => {
    const waiting = [new AbortController(), new AbortController()].map((controller) => {
      const asked = ask('counts/1?waitMs=30000', { user: 'ada', signal: controller.signal });
      void asked.catch(() => undefined);
      return controller;
    });
    await held(2);
    const limited = await ask('counts/1', { user: 'ada' });
    for (const controller of waiting) controller.abort();
    await held(0);

    expect([limited.status, limited.headers.has('retry-after')]).toEqual([429, true]);
    expect((await ask('counts/1', { user: 'nobody' })).status).toBe(403);
    expect((await ask('counts/1', { cursor: '$end' })).status).toBe(204);
    for (const waitMs of ['-1', 'soon', '1.5', '']) {
      const status = (await ask(`counts/1?waitMs=${waitMs}`)).status;
      expect([waitMs, status]).toEqual([waitMs, 400]);
    }
  });

  it('is for those who ask for JSON and not for a stream', async () => {
    const typeFor = async (path: string, accept: string) => {
      const controller = new AbortController();
      const response = await ask(path, { accept, signal: controller.signal });
      controller.abort();
      return response.status === 200 ? response.headers.get('content-type')?.split(';')[0] : response.status;
    };
    expect({
      axios: await typeFor('counts/1', 'application/json, text/plain, */*'),
      both: await typeFor('counts/1', 'application/json, text/event-stream'),
      browser: await typeFor('counts/1', 'text/html,application/xhtml+xml,*/*;q=0.8'),
      anything: await typeFor('counts/1', '*/*'),
      image: await typeFor('counts/1', 'image/png'),
      'source of one connection': await typeFor('numbers', 'application/json'),
      'both of a source of one connection': await typeFor('numbers', 'application/json, text/event-stream'),
    }).toEqual({
      axios: 'application/json',
      both: 'text/event-stream',
      browser: 'text/event-stream',
      anything: 'text/event-stream',
      image: 406,
      'source of one connection': 406,
      'both of a source of one connection': 'text/event-stream',
    });
    const { message } = (await (await ask('numbers')).json()) as { message: string };
    expect(message).toBe(
      'This is a stream of Server-Sent Events without a log, of which nothing can be asked for twice; accept text/event-stream.',
    );
    const head = await fetch(`${running.url}/counts/1`, { method: 'HEAD', headers: { accept: 'application/json' } });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
  });

  it('says when the application ends it, and whether to come back', async () => {
    const ended = poll('counts/1?waitMs=30000', { user: 'ada' });
    await held();
    bus.connections.end({ principal: 'ada' });
    const drained = poll('counts/1?waitMs=30000', { user: 'bob' });
    await held();
    const closing = running.app.close();
    const [final, last] = [await ended, await drained];
    await closing;

    expect([final.events.at(-1), final.cursor]).toEqual([
      { id: '$end', event: '$closing', data: { reason: 'revoked', comeBack: false } },
      '$end',
    ]);
    expect(last.events.at(-1)).toEqual({ event: '$closing', data: { reason: 'drained', comeBack: true } });
  });

  it('is let go when its client leaves', async () => {
    const controller = new AbortController();
    const asked = ask('counts/1?waitMs=30000', { signal: controller.signal });
    await held();
    controller.abort();
    await expect(asked).rejects.toThrow('aborted');
    await held(0);
    expect(running.app.get(Hub).snapshot().feeds).toBe(0);
  });

  it('misses nothing that is published between two answers and at the very time of each', async () => {
    const all: unknown[] = [];
    let { cursor } = await poll('counts/1');
    let published = 0;
    const publishing = (async () => {
      while (published < 500) {
        await count((published += 1));
        if (published % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    while (all.length < 500) {
      const answer = await poll('counts/1?waitMs=5000', { cursor });
      ({ cursor } = answer);
      all.push(...told(answer));
    }
    await publishing;
    expect(all).toEqual(Array.from({ length: 500 }, (_, n) => n + 1));
  });

  it('serves the client, which is given each event once', async () => {
    const client = createSseClient<typeof countsChannel>(`${running.url}/counts/1`, { longPoll: 'always' });
    const all: number[] = [];
    client.on('count.told', ({ n }) => void all.push(n));
    await eventually(() => client.state.status === 'open', 'the first answer');
    for (let n = 0; n < 50; n += 1) {
      await count(n);
      if (n % 10 === 0) await eventually(() => all.length === n + 1, 'it was given all so far');
    }
    await eventually(() => all.length === 50, 'it was given all');
    client.close();
    expect([all, client.state.transport]).toEqual([Array.from({ length: 50 }, (_, n) => n), 'long-poll']);
  });

  it('goes on from a stream, and a stream from it', async () => {
    const client = await (await SseTestClient.connect(`${running.url}/counts/1`)).opened();
    await count(1);
    await client.receive(1);
    client.leave();
    await count(2);
    const answer = await poll('counts/1', { cursor: client.cursor });
    await count(3);
    const again = await (
      await SseTestClient.connect(`${running.url}/counts/1`, { lastEventId: answer.cursor })
    ).opened();
    await again.receive(1);
    again.leave();
    expect([told(answer), again.applicationEvents.map(({ data }) => data)]).toEqual([[2], [{ n: 3 }]]);
  });
});
