import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseStream } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { EventSource } from 'eventsource';
import type { Server } from 'node:http';
import { of } from 'rxjs';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

const countsChannel = defineChannel('counts', { events: [OrderPlaced], retryMs: 20 });

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts')
  counts() {
    return countsChannel.topic();
  }

  @SseStream('once', { events: [OrderPlaced] })
  once() {
    return of(Object.assign(new OrderPlaced(), { number: 1 }));
  }
}

@Module({ imports: [SseChannelsModule.forRoot({ retryMs: 20 })], controllers: [CountsController] })
class CountsModule {}

describe.each(adapters)('a plain EventSource, on $adapter', ({ make }) => {
  let running: RunningApp;
  let source: EventSource | undefined;

  afterEach(async () => {
    source?.close();
    await running.app.close();
  });

  it('comes back by itself whenever its connection is cut, and misses and doubles nothing', async () => {
    running = await startApp(make, CountsModule);
    const bus = running.app.get(EventBus);
    const server = running.app.getHttpServer() as Server;
    const numbers: number[] = [];
    let opened = 0;
    source = new EventSource(`${running.url}/counts`);
    source.addEventListener('$open', () => (opened += 1));
    source.addEventListener('order.placed', ({ data }) => numbers.push((JSON.parse(data) as OrderPlaced).number));
    const openedTimes = (times: number): Promise<void> => eventually(() => opened === times, `${times} times $open`);
    let number = 0;
    const publish = async (count: number): Promise<void> => {
      for (const last = number + count; number < last;) {
        await bus.publish(countsChannel.topic(), OrderPlaced, { number: (number += 1) });
      }
    };

    await openedTimes(1);
    for (let cut = 1; cut <= 5; cut += 1) {
      await publish(40);
      server.closeAllConnections();
      // Nobody is connected.
      await publish(5);
      await openedTimes(cut + 1);
    }
    await eventually(() => numbers.length >= number, `${number} events`);

    expect(numbers).toEqual(Array.from({ length: 225 }, (_, n) => n + 1));
  }, 30_000);

  it('stays away after a stream that is over for good', async () => {
    running = await startApp(make, CountsModule);
    const seen: string[] = [];
    source = new EventSource(`${running.url}/once`);
    for (const name of ['$open', 'order.placed', '$closing']) source.addEventListener(name, () => seen.push(name));
    source.addEventListener('error', ({ code }) => seen.push(`error ${code}`));
    await eventually(() => source?.readyState === EventSource.CLOSED, 'a closed EventSource');
    expect(seen).toEqual(['$open', 'order.placed', '$closing', 'error undefined', 'error 204']);
  }, 30_000);
});
