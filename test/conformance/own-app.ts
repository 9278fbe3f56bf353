/** The application that the suite is tried on: one channel, a stream and a way to publish for each of its topics. */
import 'reflect-metadata';
import {
  BadRequestException,
  Body,
  Controller,
  type INestApplication,
  Injectable,
  Module,
  Param,
  Post,
  type PipeTransform,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsError,
  SseChannelsModule,
  SseEvent,
  type Backplane,
} from '@sse-channels/nest';
import { IsInt, IsString } from 'class-validator';

export const OWN_RETAINED_EVENTS = 600;

@SseEvent('conformance.counted')
class Counted {
  @IsInt() number!: number;
  @IsString() text!: string;
}

const countsChannel = defineChannel('counts/:name', {
  events: [Counted],
  replay: { maxEvents: OWN_RETAINED_EVENTS, maxBytes: 8_388_608 },
  heartbeatMs: 80,
  retryMs: 40,
});

/** What can name no topic is refused before a stream opens. */
@Injectable()
class NamePipe implements PipeTransform<string, string> {
  transform(name: string): string {
    try {
      countsChannel.topic({ name });
      return name;
    } catch (error) {
      if (error instanceof SseChannelsError) throw new BadRequestException(error.message);
      throw error;
    }
  }
}

@Controller('counts')
class CountsController {
  constructor(private readonly bus: EventBus) {}

  @SseChannel(countsChannel, ':name/events')
  events(@Param('name', NamePipe) name: string) {
    return countsChannel.topic({ name });
  }

  @Post(':name')
  async count(@Param('name', NamePipe) name: string, @Body() counted: Counted): Promise<{ cursor: string }> {
    return { cursor: await this.bus.publish(countsChannel.topic({ name }), Counted, counted) };
  }
}

export const ADAPTERS = ['express', 'fastify'] as const;
export type AdapterName = (typeof ADAPTERS)[number];

/** How the application is made. */
export interface OwnAppOptions {
  /** @default a memory backplane */
  readonly backplane?: Backplane | undefined;
  /** Says nothing, whatever happens. @default false */
  readonly silent?: boolean;
}

/** Makes the application; it does not listen yet. */
export async function createOwnApp(adapter: AdapterName, options: OwnAppOptions = {}): Promise<INestApplication> {
  const { backplane, silent = false } = options;

  @Module({
    imports: [SseChannelsModule.forRoot(backplane === undefined ? {} : { backplane })],
    controllers: [CountsController],
  })
  class OwnModule {}

  const made = adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter();
  return NestFactory.create(OwnModule, made as ExpressAdapter, {
    logger: silent ? false : ['error', 'warn'],
    // Publishing keeps its connections; only streams are to be waited for.
    forceCloseConnections: true,
  });
}
