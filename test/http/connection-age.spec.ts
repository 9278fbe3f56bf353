import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import { defineChannel, EventBus, SseChannel, SseChannelsModule } from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

const agingChannel = defineChannel('aging', { events: [OrderPlaced], heartbeatMs: 50 });

@Controller()
class AgingController {
  @SseChannel(agingChannel, 'aging')
  aging() {
    return agingChannel.topic();
  }
}

@Module({ imports: [SseChannelsModule.forRoot({ maxConnectionAgeMs: 1_000 })], controllers: [AgingController] })
class AgingModule {}

describe.each(adapters)('a connection with a maximum age, on $adapter', ({ make }) => {
  let running: RunningApp;

  afterEach(async () => {
    await running.app.close();
  });

  it('ends as expired with leave to come back, and its cursor goes on where it ended', async () => {
    running = await startApp(make, AgingModule);
    const bus = running.app.get(EventBus);
    const old = await (await SseTestClient.connect(`${running.url}/aging`)).opened();
    await bus.publish(agingChannel.topic(), OrderPlaced, { number: 1 });
    await old.end();
    await bus.publish(agingChannel.topic(), OrderPlaced, { number: 2 });
    const young = await SseTestClient.connect(`${running.url}/aging`, { lastEventId: old.cursor });
    await young.receive(1);

    expect(old.closing).toEqual({ reason: 'expired', comeBack: true });
    expect([...old.applicationEvents, ...young.applicationEvents].map(({ data }) => data)).toEqual([
      { number: 1 },
      { number: 2 },
    ]);
    expect(young.gaps).toEqual([]);
    young.leave();
  });
});
