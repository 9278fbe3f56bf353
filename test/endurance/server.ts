/** The server's process: an application with one channel, that publishes and tells what it holds when it is asked to. */
import 'reflect-metadata';
import { Body, Controller, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  defineChannel,
  EventBus,
  Hub,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  type HubSnapshot,
} from '@sse-channels/nest';
import { IsInt, IsNumber, IsString } from 'class-validator';
import { nowMicros } from '../../bench/mark.js';
import { serve } from '../../bench/remote.js';

export type AdapterName = 'express' | 'fastify';

export interface StartOptions {
  readonly adapter: AdapterName;
  /** How much of each topic the log keeps. */
  readonly keepEvents: number;
  readonly keepBytes: number;
  readonly writeDeadlineMs?: number;
  readonly drain?: DrainSettings;
}

export interface DrainSettings {
  readonly graceMs: number;
  /** Over how long the ends are spread; 0 where the version under test ends all at once. */
  readonly windowMs: number;
}

export interface PaceOptions {
  readonly topics: readonly string[];
  /** Over all topics, which take turns. */
  readonly perSecond: number;
  /** For each topic. */
  readonly events: number;
  /** Sizes of the events' text: each in its turn. */
  readonly textBytes: readonly number[];
}

export interface Usage {
  readonly rssBytes: number;
  /** What JavaScript holds: its heap and the buffers outside of it. */
  readonly heldBytes: number;
  readonly cpuMicros: number;
}

@SseEvent('numbered')
class Numbered {
  /** Counts up by one for each event of a topic, from 1. */
  @IsInt() sequence!: number;
  /** When it was due, by the clock that all processes of a machine share. */
  @IsNumber() dueMicros!: number;
  @IsString() text!: string;
}

/** Of characters of one to four bytes, so that a cut falls inside of them too. */
const TEXT = 'añ漢🚚"\\'.repeat(1_000);
/** As many events at a time as a hurried publisher does not wait for. */
const HURRIED_AT_ONCE = 100;

let bus: EventBus;
let hub: Hub;
/** Topics that are published to as fast as it goes. */
const hurried = new Set<string>();
const published = new Map<string, number>();

async function start({
  adapter,
  keepEvents,
  keepBytes,
  writeDeadlineMs,
  drain,
}: StartOptions): Promise<{ port: number }> {
  const channel = defineChannel('numbers/:topic', {
    events: [Numbered],
    replay: { maxEvents: keepEvents, maxBytes: keepBytes },
  });

  @Controller()
  class NumbersController {
    @SseChannel(channel, 'numbers/:topic')
    numbers(@Param('topic') topic: string) {
      return channel.topic({ topic });
    }

    @Post('numbers/:topic')
    async publish(
      @Param('topic') topic: string,
      @Body() { sequence }: { sequence: number },
    ): Promise<{ sequence: number }> {
      await publishOne(topic, sequence, 20);
      return { sequence };
    }
  }

  @Module({
    imports: [
      SseChannelsModule.forRoot({
        ...(writeDeadlineMs === undefined ? {} : { writeDeadlineMs }),
        ...(drain === undefined ? {} : { drain }),
      }),
    ],
    controllers: [NumbersController],
  })
  class EnduranceModule {}

  const made = adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter();
  const app = await NestFactory.create(EnduranceModule, made as ExpressAdapter, { logger: ['error', 'warn'] });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  bus = app.get(EventBus);
  hub = app.get(Hub);
  publishOne = (topic, sequence, textBytes) =>
    bus.publish(channel.topic({ topic }), Numbered, {
      sequence,
      dueMicros: nowMicros(),
      text: TEXT.slice(0, textBytes),
    });
  return { port: Number(new URL(await app.getUrl()).port) };
}

let publishOne: (topic: string, sequence: number, textBytes: number) => Promise<unknown>;

function next(topic: string): number {
  const sequence = (published.get(topic) ?? 0) + 1;
  published.set(topic, sequence);
  return sequence;
}

export const methods = {
  start,

  /** Publishes at a rate, and answers when all were taken. */
  async pace({ topics, perSecond, events, textBytes }: PaceOptions): Promise<void> {
    const begin = nowMicros();
    const all = events * topics.length;
    let taken: Promise<unknown> | undefined;
    for (let index = 0; index < all;) {
      for (const due = Math.min(all, ((nowMicros() - begin) * perSecond) / 1_000_000); index < due; index += 1) {
        const topic = topics[index % topics.length] as string;
        taken = publishOne(topic, next(topic), textBytes[index % textBytes.length] as number);
      }
      await taken;
      const waitMs = (begin + (index * 1_000_000) / perSecond - nowMicros()) / 1_000;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, waitMs)));
    }
  },

  /** Publishes as fast as it goes until `stop`, and answers how many that were. */
  async hurry({ topic, textBytes }: { topic: string; textBytes: number }): Promise<number> {
    hurried.add(topic);
    while (hurried.has(topic)) {
      const taken: Array<Promise<unknown>> = [];
      while (taken.length < HURRIED_AT_ONCE) taken.push(publishOne(topic, next(topic), textBytes));
      await Promise.all(taken);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return published.get(topic) ?? 0;
  },

  stop({ topic }: { topic: string }): void {
    hurried.delete(topic);
  },

  snapshot(): HubSnapshot {
    return hub.snapshot();
  },

  usage(): Usage {
    for (let pass = 0; pass < 2; pass += 1) (globalThis as { gc?: () => void }).gc?.();
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed, external } = process.memoryUsage();
    return { rssBytes: rss, heldBytes: heapUsed + external, cpuMicros: user + system };
  },
};

serve(methods);
