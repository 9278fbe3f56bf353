/** The client on an application of the library's own: through a rough network nothing is lost, doubled or out of order. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param, Req, UnauthorizedException } from '@nestjs/common';
import { createSseClient, type ClientGap, type SseClient } from '@sse-channels/client';
import { defineChannel, EventBus, Hub, SseChannel, SseChannelsModule, SseEvent, SseStream } from '@sse-channels/nest';
import { eventually, randomOf } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { from } from 'rxjs';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { FaultyLink } from '../faulty-link.js';

@SseEvent('number.counted')
class Counted {
  static readonly eventName = 'number.counted';
  @IsInt() number!: number;
}

const countsChannel = defineChannel('counts/:name', {
  events: [Counted],
  heartbeatMs: 40,
  retryMs: 10,
  replay: { maxEvents: 2_000 },
});
const shortChannel = defineChannel('short', { events: [Counted], retryMs: 10, replay: { maxEvents: 3 } });

let token = 'right';

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    return countsChannel.topic({ name });
  }

  @SseChannel(shortChannel, 'short')
  short() {
    return shortChannel.topic();
  }

  @SseChannel(countsChannel, 'guarded/:name')
  guarded(@Param('name') name: string, @Req() request: { headers: Record<string, string> }) {
    if (request.headers['authorization'] !== token) throw new UnauthorizedException();
    return countsChannel.topic({ name });
  }

  @SseStream('once/:to', { events: [Counted] })
  once(@Param('to') to: string) {
    return from(Array.from({ length: Number(to) }, (_, n) => Object.assign(new Counted(), { number: n + 1 })));
  }
}

@Module({ imports: [SseChannelsModule.forRoot({ retryMs: 10 })], controllers: [CountsController] })
class CountsModule {}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1);

describe.each(adapters)('the client, on $adapter', ({ make }) => {
  let running: RunningApp;
  let link: FaultyLink | undefined;
  let client: SseClient<typeof countsChannel> | undefined;

  afterEach(async () => {
    client?.close();
    await link?.close();
    link = undefined;
    await running.app.close();
  });

  const publish = (name: string, number: number): Promise<string> =>
    running.app.get(EventBus).publish(countsChannel.topic({ name }), Counted, { number });

  it.each([1, 2, 3, 4])(
    'misses and doubles nothing through a rough network (seed %d)',
    async (seed) => {
      running = await startApp(make, CountsModule);
      link = await FaultyLink.listen(running.url);
      const random = randomOf(seed);
      const stored = new Map<string, string>();
      const storage = {
        getItem: (key: string) => stored.get(key) ?? null,
        setItem: (key: string, value: string) => void stored.set(key, value),
      };
      const handled: number[] = [];
      const looped: number[] = [];
      const gaps: ClientGap[] = [];
      const errors: unknown[] = [];
      let handling = 0;
      const open = (): void => {
        const opened = createSseClient<typeof countsChannel>(`${link?.origin}/counts/${seed}`, {
          storage,
          storageKey: 'counts',
          retryMs: 10,
          openTimeoutMs: 200,
          maxRetryMs: 50,
          heartbeatMs: 40,
          onError: (error) => errors.push(error),
        });
        opened.on('number.counted', async ({ number }) => {
          handling += 1;
          if (random() < 0.1) await delay(1);
          handled.push(number);
          handling -= 1;
        });
        opened.onGap((gap) => gaps.push(gap));
        client = opened;
        void (async () => {
          for await (const { data } of opened) looped.push(data.number);
        })();
      };
      open();
      await eventually(() => client?.cursor !== '', 'a cursor', 20_000);

      const COUNT = 300;
      const trouble = (): void => {
        const dice = random();
        if (dice < 0.04) link?.cut();
        else if (dice < 0.08) link?.stall('from-target');
        else if (dice < 0.16) link?.cutAfter(Math.floor(random() * 900));
        else if (dice < 0.3) link?.delay(4 * random());
      };
      const publishUpTo = async (last: number): Promise<void> => {
        for (let number = last - COUNT / 2 + 1; number <= last; number += 1) {
          trouble();
          await publish(String(seed), number);
          if (random() < 0.2) await delay(5 * random());
        }
      };
      await publishUpTo(COUNT / 2);
      // A reload: another client goes on where the first one was, once that has put its cursor away.
      const first = client;
      first?.close();
      await eventually(() => handling === 0 && looped.length === handled.length, 'all handled');
      await eventually(() => stored.get('counts') === first?.cursor, 'the cursor put away');
      open();
      await publishUpTo(COUNT);
      link.cut();
      await eventually(() => handled.length >= COUNT && looped.length >= COUNT, 'all events', 20_000);

      expect(handled).toEqual(upTo(COUNT));
      expect(looped).toEqual(upTo(COUNT));
      expect([gaps, errors]).toEqual([[], []]);
      expect(link.opened).toBeGreaterThan(5);
    },
    60_000,
  );

  it('is told of what a log no longer has, once, and goes on', async () => {
    running = await startApp(make, CountsModule);
    const bus = running.app.get(EventBus);
    const topic = shortChannel.topic();
    const cursor = await bus.publish(topic, Counted, { number: 1 });
    for (let number = 2; number <= 10; number += 1) await bus.publish(topic, Counted, { number });
    const seen: unknown[] = [];
    const short = createSseClient<typeof shortChannel>(`${running.url}/short`, { lastEventId: cursor });
    short.onGap(({ topic: of, reason }) => seen.push([of, reason]));
    short.on('number.counted', ({ number }) => seen.push(number));
    await eventually(() => seen.length === 4, 'a gap and three events');
    short.close();

    expect(seen).toEqual([['short', 'trimmed'], 8, 9, 10]);
  });

  it('ends with a stream that is over, without another request', async () => {
    running = await startApp(make, CountsModule);
    const opened = createSseClient<{ 'number.counted': { number: number } }>(`${running.url}/once/3`);
    const numbers: number[] = [];
    for await (const { data } of opened) numbers.push(data.number);

    expect(numbers).toEqual([1, 2, 3]);
    expect(opened.state).toMatchObject({ status: 'closed', reason: 'done', error: undefined });
  });

  it('comes back to a guard with a token that it was given anew', async () => {
    running = await startApp(make, CountsModule);
    token = 'right';
    let own = 'wrong';
    let refreshes = 0;
    client = createSseClient<typeof countsChannel>(`${running.url}/guarded/a`, {
      headers: () => ({ authorization: own }),
      onUnauthorized: () => {
        refreshes += 1;
        own = token;
      },
    });
    const numbers: number[] = [];
    client.on('number.counted', ({ number }) => numbers.push(number));
    await eventually(() => client?.state.status === 'open', 'an open stream');
    await publish('a', 1);
    await eventually(() => numbers.length === 1, 'an event');

    token = 'changed';
    const { connections } = running.app.get(EventBus);
    for (const { id } of connections.list()) connections.end({ id }, { comeBack: true });
    await publish('a', 2);
    await eventually(() => numbers.length === 2, 'another event');

    expect({ numbers, refreshes }).toEqual({ numbers: [1, 2], refreshes: 2 });
  });

  it('leaves no connection behind when it is closed', async () => {
    running = await startApp(make, CountsModule);
    const hub = running.app.get(Hub);
    client = createSseClient<typeof countsChannel>(`${running.url}/counts/a`);
    client.on(() => undefined);
    await eventually(() => hub.snapshot().connections === 1, 'a connection');

    client.close();

    await eventually(() => hub.snapshot().connections === 0, 'no connection');
  });
});
