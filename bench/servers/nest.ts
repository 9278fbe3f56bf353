/** Nest's own `@Sse()` as it is typically written: one shared Subject for each channel, mapped to MessageEvent for each connection. */
import 'reflect-metadata';
import { Controller, Headers, Module, Param, Sse, type MessageEvent } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { concat, from, interval, map, merge, share, Subject, type Observable } from 'rxjs';
import type { SseServer, StartOptions, Tick } from '../sse-server.js';

const ticks = new Map<string, Subject<Tick>>();
const past = new Map<string, readonly Tick[]>();
let heartbeats: Observable<MessageEvent> | undefined;

@Controller()
class TicksController {
  @Sse('events/:channel')
  events(
    @Param('channel') channel: string,
    @Headers('last-event-id') lastEventId: string | undefined,
  ): Observable<MessageEvent> {
    const live = subjectOf(channel);
    const missed = (past.get(channel) ?? []).filter(({ sequence }) => sequence > Number(lastEventId));
    const events = (missed.length === 0 ? live : concat(from(missed), live)).pipe(
      map((tick): MessageEvent => ({ id: String(tick.sequence), type: 'ticked', data: tick })),
    );
    return heartbeats === undefined ? events : merge(events, heartbeats);
  }
}

@Module({ controllers: [TicksController] })
class BenchModule {}

export function startOnExpress(options: StartOptions): Promise<SseServer> {
  return start(new ExpressAdapter(), options);
}

export function startOnFastify(options: StartOptions): Promise<SseServer> {
  return start(new FastifyAdapter(), options);
}

async function start(adapter: ExpressAdapter | FastifyAdapter, { heartbeatMs }: StartOptions): Promise<SseServer> {
  if (heartbeatMs !== null) {
    heartbeats = interval(heartbeatMs).pipe(
      map((): MessageEvent => ({ type: 'heartbeat', data: '' })),
      share(),
    );
  }
  const app = await NestFactory.create(BenchModule, adapter as ExpressAdapter, { logger: false });
  await app.listen(0, '127.0.0.1');
  return {
    port: Number(new URL(await app.getUrl()).port),
    path: '/events/{channel}',
    publish: (channel, tick) => subjectOf(channel).next(tick),
    remember(channel, events) {
      past.set(channel, events);
      return '0';
    },
  };
}

function subjectOf(channel: string): Subject<Tick> {
  let subject = ticks.get(channel);
  if (subject === undefined) {
    subject = new Subject();
    ticks.set(channel, subject);
  }
  return subject;
}
