import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, HttpException, Module, Param, Post } from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  RateLimitError,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseStream,
} from '@sse-channels/nest';
import { SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { IsString } from 'class-validator';
import { of, type Observable } from 'rxjs';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('text.said')
class TextSaid {
  @IsString() text!: string;
}

const textsChannel = defineChannel('texts/:room', { events: [TextSaid] });

const slowChannel = defineChannel('slow/:room', { events: [TextSaid], publishLimit: { perSecond: 0.001, burst: 3 } });

/** The longest text whose event has so many bytes of JSON. */
const textOf = (bytes: number): string => 'x'.repeat(bytes - '{"text":""}'.length);
const said = (text: string): TextSaid => Object.assign(new TextSaid(), { text });

@Controller()
class TextsController {
  constructor(private readonly bus: EventBus) {}

  @SseChannel(textsChannel, 'texts/:room')
  texts(@Param('room') room: string) {
    return textsChannel.topic({ room });
  }

  @SseChannel(slowChannel, 'slow/:room')
  slow(@Param('room') room: string) {
    return slowChannel.topic({ room });
  }

  @Post('slow/:room')
  async say(@Param('room') room: string, @Body() { texts }: { texts: string[] }) {
    try {
      await this.bus.publishMany(slowChannel.topic({ room }), texts.map(said));
    } catch (error) {
      if (error instanceof RateLimitError) throw new HttpException(error.message, 429);
      throw error;
    }
  }

  @SseStream('said/:bytes', { events: [TextSaid] })
  stream(@Param('bytes') bytes: string): Observable<TextSaid> {
    return of(said('first'), said(textOf(Number(bytes))));
  }
}

@Module({
  imports: [SseChannelsModule.forRoot({ limits: { eventBytes: 1_000, replayEvents: 3 } })],
  controllers: [TextsController],
})
class TextsModule {}

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const clients: SseTestClient[] = [];

  const open = async (path: string, request: SseTestRequest = {}): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path, request);
    clients.push(client);
    return client.opened();
  };

  beforeEach(async () => {
    running = await startApp(make, TextsModule);
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  describe('limits.eventBytes', () => {
    const topic = textsChannel.topic({ room: 'a' });

    it('lets an event of so many bytes through, and refuses one of more before anything is sent', async () => {
      const client = await open('/texts/a');

      const [over, many] = await Promise.allSettled([
        bus.publish(topic, TextSaid, { text: textOf(1_001) }),
        bus.publishMany(topic, [said('one'), said(textOf(1_001))]),
      ]);
      await bus.publish(topic, TextSaid, { text: textOf(1_000) });
      await client.receive(1);

      for (const { status, reason } of [over, many] as PromiseRejectedResult[]) {
        expect([status, reason]).toEqual([
          'rejected',
          expect.objectContaining({
            code: 'EVENT_TOO_LARGE',
            message: expect.stringMatching(/^Event "text.said" has 1001 bytes of JSON, .* limits.eventBytes is 1000\./),
          }),
        ]);
      }
      expect(client.named('text.said').map(({ data }) => data.text)).toEqual([textOf(1_000)]);
    });

    it('ends a stream of one connection as failed, and the client is told no more than that', async () => {
      const within = await open('/said/1000');
      const beyond = await open('/said/1001');
      await within.end();
      await beyond.end();

      expect([within.named('text.said').length, within.closing?.reason]).toEqual([2, 'done']);
      expect(beyond.events.slice(1).map(({ name, data }) => [name, data])).toEqual([
        ['text.said', { text: 'first' }],
        ['$error', { message: 'Internal server error', status: 500, comeBack: true }],
        ['$closing', { reason: 'failed', comeBack: true }],
      ]);
    });
  });

  describe("a channel's publishLimit", () => {
    const post = async (room: string, ...texts: string[]): Promise<number> => {
      const { status } = await fetch(`${running.url}/slow/${room}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ texts }),
      });
      return status;
    };

    it('refuses what is more than a topic takes, whole, and sends nothing of it; other topics take theirs', async () => {
      const [a, b] = [await open('/slow/a'), await open('/slow/b')];

      const statuses = [
        await post('a', '1', '2'),
        await post('a', '3', '4'),
        await post('a', '5'),
        await post('a', '6'),
        await post('b', '7', '8', '9'),
      ];
      await a.receive(3);
      await b.receive(3);

      expect(statuses).toEqual([201, 429, 201, 429, 201]);
      expect([a, b].map((client) => client.named('text.said').map(({ data }) => data.text))).toEqual([
        ['1', '2', '5'],
        ['7', '8', '9'],
      ]);
      const refused = bus.publish(slowChannel.topic({ room: 'a' }), TextSaid, { text: '10' });
      await expect(refused).rejects.toMatchObject({ code: 'RATE_LIMITED', topic: 'slow/a' });
      const { retryAfterMs } = (await refused.catch((error: unknown) => error)) as RateLimitError;
      expect(retryAfterMs).toBeGreaterThan(0);
      expect(retryAfterMs).toBeLessThanOrEqual(1_000_000);
    });
  });

  describe('limits.replayEvents', () => {
    const topic = textsChannel.topic({ room: 'b' });
    const say = async (from: number, to: number): Promise<string[]> => {
      const cursors: string[] = [];
      for (let n = from; n <= to; n += 1) cursors.push(await bus.publish(topic, TextSaid, { text: String(n) }));
      return cursors;
    };
    const told = (client: SseTestClient): unknown => [
      client.open!.topics,
      client.gaps,
      client.named('text.said').map(({ data }) => data.text),
    ];

    it.each(['from the log', 'from what others are sent'])(
      'begins at the last so many for a client that is further behind, after a gap, and goes on live (%s)',
      async (from) => {
        if (from !== 'from the log') await open('/texts/b');
        const cursors = await say(1, 9);

        const near = await open('/texts/b', { lastEventId: cursors[5]! });
        const far = await open('/texts/b', { lastEventId: cursors[4]! });
        const forged = await open('/texts/b', { lastEventId: 'forged' });
        await say(10, 10);
        for (const client of [near, far, forged]) await client.receive(4);

        const all = ['7', '8', '9', '10'];
        const [resumed, trimmed, invalid] = [null, 'trimmed', 'invalid'].map((gap) => [
          [{ topic: 'texts/b', resumed: gap === null, gap }],
          gap === null ? [] : [{ topic: 'texts/b', reason: gap }],
          all,
        ]);
        expect([told(near), told(far), told(forged)]).toEqual([resumed, trimmed, invalid]);
        expect(far.named('$gap')[0]!.cursor).toBe(cursors[5]);
      },
    );
  });
});
