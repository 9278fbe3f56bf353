import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, Param } from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  MemoryBackplane,
  SseChannel,
  SseChannelsError,
  SseChannelsModule,
  SseEvent,
} from '@sse-channels/nest';
import { FaultyBackplane, SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:id', { events: [CountTold], heartbeatMs: 20 });

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:id')
  counts(@Param('id') id: string) {
    return countsChannel.topic({ id });
  }
}

describe.each(adapters)('while the log cannot be reached, on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  let away = false;
  const clients: SseTestClient[] = [];
  const topic = countsChannel.topic({ id: 1 });

  const connect = async (request: SseTestRequest = {}): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${running.url}/counts/1`, request);
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    away = false;
    const unavailable = () => (away ? new SseChannelsError('UNAVAILABLE', 'redis://10.0.0.7 does not answer.') : null);
    const backplane = new FaultyBackplane(new MemoryBackplane(), { failRead: unavailable });

    @Module({ imports: [SseChannelsModule.forRoot({ backplane })], controllers: [CountsController] })
    class CountsModule {}

    running = await startApp(make, CountsModule);
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  it('a resume that needs it is answered 503 with Retry-After, and nothing of the engine is told', async () => {
    const cursor = await bus.publish(topic, CountTold, { n: 1 });
    await bus.publish(topic, CountTold, { n: 2 });
    away = true;
    const refused = await connect({ lastEventId: cursor });
    await refused.end();
    away = false;
    const resumed = await (await connect({ lastEventId: cursor })).opened();
    await resumed.receive(1);

    expect([refused.status, Number(refused.headers['retry-after']) >= 1]).toEqual([503, true]);
    expect(refused.text).not.toContain('10.0.0.7');
    expect(resumed.named('count.told').map(({ data }) => data)).toEqual([{ n: 2 }]);
  });

  it("a resume that this node's own records reach is answered as ever, and open streams stay open", async () => {
    const open = await (await connect()).opened();
    const cursor = await bus.publish(topic, CountTold, { n: 1 });
    await bus.publish(topic, CountTold, { n: 2 });
    away = true;
    const resumed = await (await connect({ lastEventId: cursor })).opened();
    await resumed.receive(1);
    const { comments } = open;
    await open.until((client) => client.comments > comments + 2, 'three more heartbeats');

    expect([resumed.status, resumed.named('count.told').map(({ data }) => data)]).toEqual([200, [{ n: 2 }]]);
    expect([open.ended, open.closing]).toEqual([false, undefined]);
  });
});
