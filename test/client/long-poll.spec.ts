/** The client where streams do not last: it asks again and again, of a channel and of a hub, and misses nothing. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param } from '@nestjs/common';
import { createSseClient, hub } from '@sse-channels/client';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('number.counted')
class Counted {
  static readonly eventName = 'number.counted';
  @IsInt() number!: number;
}

const countsChannel = defineChannel('counts/:name', { events: [Counted] });

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    return { topic: countsChannel.topic({ name }), start: 'earliest' as const };
  }

  @SseHub('live', { channels: [countsChannel] })
  live() {}
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 500, retryMs: 10 })],
  controllers: [CountsController],
})
class CountsModule {}

describe.each(adapters)('long polls, on $adapter', ({ make }) => {
  let running: RunningApp;
  let closing: () => void;

  beforeEach(async () => {
    running = await startApp(make, CountsModule);
  });

  afterEach(async () => {
    closing();
    await running.app.close();
  });

  const publish = (name: string, number: number): Promise<string> =>
    running.app.get(EventBus).publish(countsChannel.topic({ name }), Counted, { number });

  /** Lets no stream last: each is answered, and ends at its first byte. */
  const unlasting = (url: string, init: RequestInit): Promise<Response> =>
    new Headers(init.headers).get('accept') === 'text/event-stream'
      ? Promise.resolve(
          new Response(new ReadableStream({ start: (body) => body.close() }), {
            headers: { 'content-type': 'text/event-stream' },
          }),
        )
      : fetch(url, init);

  it('of a channel begin by themselves, and bring each event once', async () => {
    const client = createSseClient<typeof countsChannel>(`${running.url}/counts/a`, { fetch: unlasting, retryMs: 1 });
    closing = client.close;
    await publish('a', 1);
    const numbers: number[] = [];
    client.on('number.counted', ({ number }) => numbers.push(number));
    await eventually(() => numbers.length === 1, 'what was before');
    for (let number = 2; number <= 30; number += 1) {
      await publish('a', number);
      if (number % 10 === 0) await eventually(() => numbers.length === number, 'an answer');
    }
    await eventually(() => numbers.length === 30, 'all events');

    expect(numbers).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
    expect(client.state).toMatchObject({ status: 'open', transport: 'long-poll' });
  });

  it('of a hub carry topics that come and go, each from where its route says', async () => {
    const live = createSseClient<typeof countsChannel>(`${running.url}/live`, { hub, longPoll: 'always', retryMs: 1 });
    closing = live.close;
    const follow = (name: string) => {
      const subscription = live.subscribe('counts/:name', { name });
      const numbers: number[] = [];
      subscription.on('number.counted', ({ number }) => numbers.push(number));
      return { subscription, numbers };
    };
    const a = follow('a');
    await eventually(() => a.subscription.state.status === 'open', 'a topic given');
    await publish('a', 1);
    await publish('b', 1);
    const b = follow('b');
    await eventually(() => a.numbers.length + b.numbers.length === 2, 'an event of each');
    a.subscription.close();
    await publish('a', 2);
    await publish('b', 2);
    await eventually(() => b.numbers.length === 2, 'another one');
    const late = live.subscribe('counts/:name', { name: 'c' });
    late.on(() => undefined);
    await eventually(() => late.state.status === 'open', 'another topic');

    expect([a.numbers, b.numbers]).toEqual([[1], [1, 2]]);
    expect(live.state.transport).toBe('long-poll');
  });
});
