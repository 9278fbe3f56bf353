/** Our servers: a channel, a controller and `publish()`, on Express and on Fastify. */
import 'reflect-metadata';
import { Controller, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import { IsInt, IsString } from 'class-validator';
import type { SseServer, StartOptions, Tick } from '../sse-server.js';

@SseEvent('ticked')
export class Ticked {
  @IsInt() sequence!: number;
  @IsString() mark!: string;
  @IsString() body!: string;
}

const ticksChannel = defineChannel('ticks/:channel', { events: [Ticked] });

@Controller()
class TicksController {
  @SseChannel(ticksChannel, 'events/:channel')
  events(@Param('channel') channel: string) {
    return ticksChannel.topic({ channel });
  }

  @SseHub('hub', { channels: [ticksChannel] })
  hub() {}
}

/** Of a hub's stream one topic has the events; the others are there. */
const quiet = Array.from({ length: 24 }, (_, number) => `&topic=ticks/quiet${number}`);
const hubPath = `/hub?topic=ticks/{channel}${quiet.join('')}`;
const ownHubPath = `/hub?topic=ticks/{channel}${quiet.slice(1).join('')}&topic=ticks/own{connection}`;

export function startOnExpress(options: StartOptions): Promise<SseServer> {
  return start(new ExpressAdapter(), options);
}

export function startOnFastify(options: StartOptions): Promise<SseServer> {
  return start(new FastifyAdapter(), options);
}

/** Each stream carries 25 topics. */
export function startHubOnFastify(options: StartOptions): Promise<SseServer> {
  return start(new FastifyAdapter(), options, hubPath);
}

/** The same, and one of them is each stream's own. */
export function startOwnHubOnFastify(options: StartOptions): Promise<SseServer> {
  return start(new FastifyAdapter(), options, ownHubPath);
}

async function start(
  adapter: ExpressAdapter | FastifyAdapter,
  { heartbeatMs }: StartOptions,
  path = '/events/{channel}',
): Promise<SseServer> {
  @Module({
    imports: [SseChannelsModule.forRoot(heartbeatMs === null ? {} : { heartbeatMs })],
    controllers: [TicksController],
  })
  class BenchModule {}

  const app = await NestFactory.create(BenchModule, adapter as ExpressAdapter, { logger: false });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  const bus = app.get(EventBus);
  const topicOf = (channel: string) => ticksChannel.topic({ channel });
  return {
    port: Number(new URL(await app.getUrl()).port),
    path,
    publish: (channel, event) => bus.publish(topicOf(channel), Ticked, event),
    async remember(channel, events) {
      // The last that the client had before it missed the others; the load generator is told to begin after it.
      const had: Tick = { sequence: 0, mark: '', body: '' };
      const cursor = await bus.publish(topicOf(channel), Ticked, had);
      for (const event of events) await bus.publish(topicOf(channel), Ticked, event);
      return cursor;
    },
  };
}
