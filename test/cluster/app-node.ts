/** A node of a cluster: an application with 200 topics or so, that publishes what a request says and streams to whom asks. */
import 'reflect-metadata';
import { Body, Controller, Get, Module, Param, Post, Query } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { AppendError, defineChannel, EventBus, SseChannel, SseChannelsModule, SseEvent } from '@sse-channels/nest';
import { IsInt, IsString } from 'class-validator';
import { openBackplane, type EngineAddress } from './engine.js';

export interface NodeSettings {
  readonly name: string;
  readonly port: number;
  readonly engine: EngineAddress;
  /** How much of each topic the log keeps. */
  readonly keepEvents: number;
  readonly heartbeatMs: number;
  readonly retryMs: number;
}

/** The body of a request to publish: so many numbers of a topic, from one on, none of them awaited before the next. */
export interface PublishRequest {
  readonly from: number;
  readonly count: number;
  /** Each under an idempotency key of its own, so that the request may be sent again. */
  readonly keyed: boolean;
}

export interface PublishOutcome {
  readonly number: number;
  /** `failed` is an error that is no AppendError. */
  readonly outcome: 'written' | 'not-written' | 'unknown' | 'failed';
  /** Where it was written. */
  readonly cursor?: string;
  /** Why it was not, and where that is not known. */
  readonly reason?: string;
  readonly ms: number;
}

export interface PublishAnswer {
  readonly node: string;
  readonly outcomes: readonly PublishOutcome[];
}

@SseEvent('cluster.numbered')
class Numbered {
  @IsString() topic!: string;
  /** Counts up by one in each topic, from 1. */
  @IsInt() number!: number;
  @IsString() text!: string;
}

const KEEP_MS = 3_600_000;
const KEEP_BYTES = 2 ** 30;
/** Texts of events, from none to some. */
const TEXT = 'añ漢🚚"\\'.repeat(40);

const settings = JSON.parse(process.argv[2] ?? '{}') as NodeSettings;

const channel = defineChannel('topics/:name', {
  events: [Numbered],
  replay: { maxEvents: settings.keepEvents, maxAgeMs: KEEP_MS, maxBytes: KEEP_BYTES },
});

@Controller()
class TopicsController {
  constructor(private readonly bus: EventBus) {}

  @Get('up')
  up() {
    return { node: settings.name };
  }

  @SseChannel(channel, 'topics/:name/events')
  one(@Param('name') name: string) {
    return channel.topic({ name });
  }

  @SseChannel(channel, 'events')
  several(@Query('topics') names: string) {
    return names.split(',').map((name) => channel.topic({ name }));
  }

  @Post('topics/:name')
  async publish(@Param('name') name: string, @Body() request: PublishRequest): Promise<PublishAnswer> {
    const numbers = Array.from({ length: request.count }, (_, index) => request.from + index);
    const outcomes = await Promise.all(numbers.map((number) => this.#publish(name, number, request.keyed)));
    return { node: settings.name, outcomes };
  }

  async #publish(name: string, number: number, keyed: boolean): Promise<PublishOutcome> {
    const event = { topic: name, number, text: TEXT.slice(0, (number * 37) % TEXT.length) };
    const began = performance.now();
    const lasted = (): number => Math.round(performance.now() - began);
    try {
      const options = keyed ? { idempotencyKey: `number ${number}` } : {};
      const cursor = await this.bus.publish(channel.topic({ name }), Numbered, event, options);
      return { number, outcome: 'written', cursor, ms: lasted() };
    } catch (error) {
      const outcome = error instanceof AppendError ? error.outcome : 'failed';
      return { number, outcome, reason: String(error), ms: lasted() };
    }
  }
}

@Module({
  imports: [
    SseChannelsModule.forRoot({
      backplane: openBackplane(settings.engine),
      heartbeatMs: settings.heartbeatMs,
      retryMs: settings.retryMs,
      channels: [channel],
    }),
  ],
  controllers: [TopicsController],
})
class ClusterModule {}

const app = await NestFactory.create(ClusterModule, new FastifyAdapter(), { logger: ['error', 'warn'] });
app.enableShutdownHooks();
await app.listen(settings.port, '127.0.0.1');
