import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Header, Module, Param } from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsMetrics,
  SseChannelsModule,
  SseEvent,
  type Observer,
} from '@sse-channels/nest';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:id', { events: [CountTold] });

@Controller()
class CountsController {
  constructor(private readonly numbers: SseChannelsMetrics) {}

  @SseChannel(countsChannel, 'counts/:id')
  counts(@Param('id') id: string) {
    return countsChannel.topic({ id });
  }

  @Get('metrics')
  @Header('Content-Type', SseChannelsMetrics.CONTENT_TYPE)
  metrics() {
    return this.numbers.text();
  }
}

describe.each(adapters)('what a node has done and holds, on $adapter', ({ make }) => {
  let running: RunningApp;

  afterEach(() => running.app.close());

  it('is told to a scrape, and call by call to an observer', async () => {
    const told: string[] = [];
    const observer: Observer = {
      connectionOpened: () => told.push('opened'),
      connectionEnded: (_id, reason) => told.push(reason),
      eventPublished: (topic, name) => told.push(`${topic} ${name}`),
    };
    @Module({ imports: [SseChannelsModule.forRoot({ observer })], controllers: [CountsController] })
    class CountsModule {}
    running = await startApp(make, CountsModule);

    const stays = await (await SseTestClient.connect(`${running.url}/counts/1`)).opened();
    const leaves = await (await SseTestClient.connect(`${running.url}/counts/2`, { lastEventId: 'nonsense' })).opened();
    await running.app.get(EventBus).publish(countsChannel.topic({ id: 1 }), CountTold, { n: 1 });
    leaves.leave();
    await eventually(() => told.includes('client-left'), 'one has left');
    const scraped = await fetch(`${running.url}/metrics`);
    const text = await scraped.text();
    stays.leave();

    expect(scraped.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(told).toEqual(['opened', 'opened', 'counts/1 count.told', 'client-left']);
    expect(text.split('\n').filter((line) => !line.startsWith('#'))).toEqual([
      'sse_channels_connections 1',
      'sse_channels_feeds 1',
      'sse_channels_subscriptions 1',
      'sse_channels_nodes 1',
      'sse_channels_backplane_state{state="live"} 1',
      'sse_channels_backplane_state{state="catching-up"} 0',
      'sse_channels_backplane_state{state="down"} 0',
      'sse_channels_backplane_losses_total 0',
      'sse_channels_connections_opened_total 2',
      'sse_channels_connections_ended_total{reason="client-left"} 1',
      'sse_channels_events_published_total{event="count.told"} 1',
      'sse_channels_gaps_told_total{reason="invalid"} 1',
      'sse_channels_failures_total 0',
      '',
    ]);
    expect(text).toContain('# TYPE sse_channels_connections gauge\n');
  });
});
