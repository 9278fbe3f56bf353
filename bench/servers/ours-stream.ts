/** Our server for a stream of one connection: `@SseStream` over one shared Subject for each channel, as the servers of `@Sse()` do it. */
import 'reflect-metadata';
import { Controller, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SseChannelsModule, SseStream } from '@sse-channels/nest';
import { Subject } from 'rxjs';
import type { SseServer, StartOptions } from '../sse-server.js';
import { Ticked } from './ours.js';

const ticks = new Map<string, Subject<Ticked>>();

@Controller()
class TicksController {
  @SseStream('events/:channel', { events: [Ticked] })
  events(@Param('channel') channel: string) {
    return subjectOf(channel);
  }
}

export async function startOnFastify({ heartbeatMs }: StartOptions): Promise<SseServer> {
  @Module({
    imports: [SseChannelsModule.forRoot(heartbeatMs === null ? {} : { heartbeatMs })],
    controllers: [TicksController],
  })
  class BenchModule {}

  const app = await NestFactory.create(BenchModule, new FastifyAdapter(), { logger: false });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  return {
    port: Number(new URL(await app.getUrl()).port),
    path: '/events/{channel}',
    publish: (channel, tick) => subjectOf(channel).next(Object.assign(new Ticked(), tick)),
    remember: () => {
      throw new Error('A stream of one connection replays nothing.');
    },
  };
}

function subjectOf(channel: string): Subject<Ticked> {
  let subject = ticks.get(channel);
  if (subject === undefined) {
    subject = new Subject();
    ticks.set(channel, subject);
  }
  return subject;
}
