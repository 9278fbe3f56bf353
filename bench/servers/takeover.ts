/**
 * The limit inside Nest: a controller on Fastify that takes the response over, and what the limit does to its socket. No validation, no log,
 * no limits; what is beyond the limit is Nest's, Fastify's and Node's.
 */
import 'reflect-metadata';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Controller, Get, Module, Param, Req, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { SseServer, StartOptions } from '../sse-server.js';
import { SharedChunks } from './shared-chunks.js';

const chunks = new SharedChunks();

@Controller()
class TicksController {
  @Get('events/:channel')
  events(
    @Param('channel') channel: string,
    @Req() { raw: request }: { raw: IncomingMessage },
    @Res() reply: { raw: ServerResponse; hijack(): void },
  ): void {
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache',
      'Transfer-Encoding': 'chunked',
    });
    response.flushHeaders();
    const socket = response.socket as Socket;
    chunks.join(channel, socket, request.headers['last-event-id'] !== undefined);
    response.on('close', () => chunks.leave(channel, socket));
  }
}

@Module({ controllers: [TicksController] })
class BenchModule {}

export async function start({ heartbeatMs }: StartOptions): Promise<SseServer> {
  const app = await NestFactory.create<NestFastifyApplication>(BenchModule, new FastifyAdapter(), { logger: false });
  await app.listen(0, '127.0.0.1');
  chunks.beat(heartbeatMs);
  return {
    port: Number(new URL(await app.getUrl()).port),
    path: '/events/{channel}',
    publish: (channel, event) => chunks.publish(channel, event),
    remember: (channel, events) => chunks.remember(channel, events),
  };
}
