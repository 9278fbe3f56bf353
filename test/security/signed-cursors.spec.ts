import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, type Type } from '@nestjs/common';
import {
  CursorSeal,
  defineChannel,
  EventBus,
  MemoryBackplane,
  SseChannel,
  SseChannelsModule,
  type CursorSealOptions,
} from '@sse-channels/nest';
import { SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NoteTaken } from './notes.module.js';

const SECRET = 'a secret of the test, thirty-two bytes';
const OLD = 'the secret that was there before this one';

const diariesChannel = defineChannel('diaries/:owner', { events: [NoteTaken], heartbeatMs: 30 });
const topicOf = (owner: string) => diariesChannel.topic({ owner });

@Controller('diaries')
class DiariesController {
  @SseChannel(diariesChannel, ':owner/events')
  events(@Param('owner') owner: string) {
    return topicOf(owner);
  }

  @SseChannel(diariesChannel, ':one/and/:other')
  both(@Param('one') one: string, @Param('other') other: string) {
    return [topicOf(one), topicOf(other)];
  }
}

const userOf = (request: unknown): string | undefined =>
  (request as { headers: Record<string, string | undefined> }).headers['x-user'];

function moduleWith(cursor: CursorSealOptions, backplane: MemoryBackplane): Type {
  @Module({
    imports: [SseChannelsModule.forRoot({ cursor, backplane, principal: userOf })],
    controllers: [DiariesController],
  })
  class DiariesModule {}
  return DiariesModule;
}

describe.each(adapters)('on $adapter', ({ make }) => {
  let backplane: MemoryBackplane;
  let running: RunningApp;
  let bus: EventBus;
  const apps: RunningApp[] = [];
  const clients: SseTestClient[] = [];

  const start = async (cursor: CursorSealOptions): Promise<RunningApp> => {
    const started = await startApp(make, moduleWith(cursor, backplane));
    apps.push(started);
    return started;
  };
  const open = async (path: string, request: SseTestRequest = {}, { url } = running): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(url + path, request);
    clients.push(client);
    return client.opened();
  };
  const write = async (owner: string, from: number, to: number): Promise<string[]> => {
    const cursors: string[] = [];
    for (let n = from; n <= to; n += 1)
      cursors.push(await bus.publish(topicOf(owner), NoteTaken, { text: `${owner} ${n}` }));
    return cursors;
  };
  const told = async (client: SseTestClient, count: number): Promise<unknown> => {
    await client.receive(count);
    return [client.gaps.map(({ reason }) => reason), client.named('note.taken').map(({ data }) => data.text)];
  };

  beforeEach(async () => {
    backplane = new MemoryBackplane();
    running = await start({ secret: SECRET });
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    for (const { app } of apps.splice(0)) await app.close();
  });

  it('a client resumes exactly with the signed cursors that it was given, by header and by query', async () => {
    const first = await open('/diaries/ada/events');
    await write('ada', 1, 3);
    await first.receive(3);
    const [, cursor] = first.named('note.taken').map((event) => event.cursor);

    const byHeader = await open('/diaries/ada/events', { lastEventId: cursor! });
    const byQuery = await open(`/diaries/ada/events?lastEventId=${cursor}`);

    expect(cursor).toMatch(/^[\w-]{1,64}~[0-9a-z]+-[0-9a-z]+~[\w-]{16}$/);
    expect(byHeader.open!.topics).toEqual([{ topic: 'diaries/ada', resumed: true, gap: null }]);
    expect([await told(byHeader, 1), await told(byQuery, 1)]).toEqual([
      [[], ['ada 3']],
      [[], ['ada 3']],
    ]);
  });

  it('a client resumes with the cursor of $open, and with that of a heartbeat', async () => {
    const first = await open('/diaries/ada/events');
    const ofOpen = first.cursor;
    await first.until(({ comments, cursor }) => comments > 0 && cursor !== ofOpen, 'a heartbeat with a cursor');
    const ofHeartbeat = first.cursor;
    await write('ada', 1, 2);

    for (const lastEventId of [ofOpen, ofHeartbeat]) {
      expect(await told(await open('/diaries/ada/events', { lastEventId }), 2)).toEqual([[], ['ada 1', 'ada 2']]);
    }
  });

  it('a cursor that is forged, altered, unsigned or of another topic is a gap, and nothing of it is repeated', async () => {
    const ada = await open('/diaries/ada/events');
    const bob = await open('/diaries/bob/events');
    const cursors = await write('ada', 1, 3);
    await write('bob', 1, 1);
    await ada.receive(3);
    await bob.receive(1);
    const given = ada.named('note.taken')[1]!.cursor;
    const last = given.at(-1) === 'A' ? 'B' : 'A';

    const bad = {
      altered: given.slice(0, -1) + last,
      'moved back': given.replace(cursors[1]!, cursors[0]!),
      unsigned: cursors[1]!,
      'signed with another secret': new CursorSeal({ secret: OLD }).seal(cursors[1]!, topicOf('ada')),
      'of another topic': bob.cursor,
      garbage: 'nothing~like~that',
    };

    for (const [what, lastEventId] of Object.entries(bad)) {
      const client = await open('/diaries/ada/events', { lastEventId });
      expect([what, await told(client, 3)]).toEqual([what, [['invalid'], ['ada 1', 'ada 2', 'ada 3']]]);
      expect(client.text).not.toContain(lastEventId + '\n');
    }
  });

  it('a stream of two topics is resumed with a cursor of either, and not with that of a third', async () => {
    const both = await open('/diaries/ada/and/bob');
    const eve = await open('/diaries/eve/events');
    await write('ada', 1, 1);
    await write('bob', 1, 1);
    await write('eve', 1, 1);
    await both.receive(2);
    await eve.receive(1);
    const [ofAda, ofBob] = both.named('note.taken').map(({ cursor }) => cursor);

    expect(await told(await open('/diaries/ada/and/bob', { lastEventId: ofAda! }), 1)).toEqual([[], ['bob 1']]);
    const [, afterBob] = [await write('ada', 2, 2), await open('/diaries/ada/and/bob', { lastEventId: ofBob! })];
    expect(await told(afterBob, 1)).toEqual([[], ['ada 2']]);
    const stranger = await open('/diaries/ada/and/bob', { lastEventId: eve.cursor });
    expect(await told(stranger, 3)).toEqual([
      ['invalid', 'invalid'],
      ['ada 1', 'bob 1', 'ada 2'],
    ]);
  });

  it('a page that the application sealed a cursor for begins exactly there', async () => {
    const cursors = await write('ada', 1, 3);
    const seal = running.app.get(CursorSeal);

    const page = await open('/diaries/ada/events', { lastEventId: seal.seal(cursors[0]!, topicOf('ada')) });

    expect(await told(page, 2)).toEqual([[], ['ada 2', 'ada 3']]);
  });

  it('a secret is rotated without a gap: what the old one signed is taken until it is gone', async () => {
    const old = await start({ secret: OLD });
    const rotated = await start({ secret: [SECRET, OLD] });
    const first = await open('/diaries/ada/events', {}, old);
    await write('ada', 1, 2);
    await first.receive(2);
    const given = first.named('note.taken')[0]!.cursor;

    const second = await open('/diaries/ada/events', { lastEventId: given }, rotated);
    await second.receive(1);
    const third = await open('/diaries/ada/events', { lastEventId: second.cursor });
    const late = await open('/diaries/ada/events', { lastEventId: given });

    expect(await told(second, 1)).toEqual([[], ['ada 2']]);
    expect(third.open!.topics).toEqual([{ topic: 'diaries/ada', resumed: true, gap: null }]);
    expect(await told(late, 2)).toEqual([['invalid'], ['ada 1', 'ada 2']]);
  });

  it('a cursor that is bound to a principal is of no use to another, live, replayed or made by the application', async () => {
    const bound = await start({ secret: SECRET, bindTo: 'principal' });
    const as = (user: string | null, lastEventId?: string): SseTestRequest => ({
      headers: user === null ? {} : { 'x-user': user },
      ...(lastEventId === undefined ? {} : { lastEventId }),
    });
    const cursors = await write('ada', 1, 1);
    const live = [
      await open('/diaries/ada/events', as('ada'), bound),
      await open('/diaries/ada/events', as('bob'), bound),
      await open('/diaries/ada/events', as(null), bound),
    ];
    await write('ada', 2, 3);
    const given: string[] = [];
    for (const client of live) {
      await client.receive(2);
      given.push(client.named('note.taken')[0]!.cursor);
    }
    const [ofAda, ofBob, ofNobody] = given as [string, string, string];
    const made = bound.app.get(CursorSeal).seal(cursors[0]!, topicOf('ada'), 'ada');
    const all = ['ada 1', 'ada 2', 'ada 3'];

    const comes = async (user: string | null, lastEventId: string, count: number) =>
      told(await open('/diaries/ada/events', as(user, lastEventId), bound), count);

    expect(new Set(given).size).toBe(3);
    for (const [user, own] of [
      ['ada', ofAda],
      ['bob', ofBob],
      [null, ofNobody],
    ] as const) {
      expect(await comes(user, own, 1)).toEqual([[], ['ada 3']]);
      for (const other of given.filter((cursor) => cursor !== own)) {
        expect(await comes(user, other, 3)).toEqual([['invalid'], all]);
      }
    }
    expect(await comes('ada', made, 2)).toEqual([[], ['ada 2', 'ada 3']]);
    expect(await comes('bob', made, 3)).toEqual([['invalid'], all]);
  });

  it('the final cursor needs no signature', async () => {
    const client = await SseTestClient.connect(`${running.url}/diaries/ada/events`, { lastEventId: '$end' });

    expect(client.status).toBe(204);
  });
});
