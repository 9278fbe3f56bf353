import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  ArgumentsHost,
  BadRequestException,
  Body,
  CallHandler,
  CanActivate,
  Catch,
  ClassSerializerInterceptor,
  Controller,
  ExceptionFilter,
  ExecutionContext,
  Get,
  HttpException,
  Injectable,
  NestInterceptor,
  Param,
  Query,
  UnauthorizedException,
  UseGuards,
  ValidationPipe,
  VersioningType,
  type INestApplication,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { EventBus, Hub, MemoryBackplane } from '@sse-channels/engine';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { SseTestClient, type SseTestRequest } from '@sse-channels/testing';
import { Exclude, Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max } from 'class-validator';
import { map, of, type Observable } from 'rxjs';
import { SseChannelsModule } from '../module/sse-channels.module.js';
import { LastEventId } from './last-event-id.decorator.js';
import { SseChannel } from './sse-channel.decorator.js';
import { SseConnection } from './sse-connection.decorator.js';
import { SseStream } from './sse-stream.decorator.js';

@SseEvent('price.changed')
class PriceChanged {
  @IsInt() cents!: number;
}

@SseEvent('query.echoed')
class QueryEchoed {
  @IsString() json!: string;
}

class Listing {
  name = 'gold';
  @Exclude() secret = 'hidden';
}

class PricesQuery {
  @IsOptional() @IsInt() @Max(10) @Type(() => Number) last?: number;
}

class EchoBody {
  @IsString() text!: string;
}

const pricesChannel = defineChannel('prices/:item', { events: [PriceChanged], retryMs: 100, heartbeatMs: 1_000 });
const othersChannel = defineChannel('others', { events: [PriceChanged] });

/** An error of the application's own. */
class TeapotError extends Error {}

@Injectable()
class TokenGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    if (headers['x-token'] === undefined) throw new UnauthorizedException('Show your token');
    return headers['x-token'] === 'right';
  }
}

/** What the interceptor that maps results was given. */
const mapped: unknown[] = [];

class EnvelopeInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      map((data: unknown) => {
        mapped.push(data);
        return { data };
      }),
    );
  }
}

/** What the filter was given. */
const caught: Error[] = [];

/** Answers every error in the application's own shape. */
@Catch()
class ProblemFilter implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost): void {
    caught.push(error);
    const status = error instanceof HttpException ? error.getStatus() : error instanceof TeapotError ? 418 : 500;
    const response = host.switchToHttp().getResponse();
    response.header('content-type', 'application/problem+json');
    response.status(status).send({ problem: error.message, status });
  }
}

@Controller({ path: 'prices', version: '1' })
class PricesController {
  @Get('listing')
  listing() {
    return new Listing();
  }

  @SseChannel(pricesChannel, ':item/changes')
  changes(@Param('item') item: string, @Query() query: PricesQuery) {
    return {
      topic: pricesChannel.topic({ item }),
      ...(query.last === undefined ? {} : { start: { last: query.last } }),
    };
  }

  @SseChannel(pricesChannel, ':item/guarded')
  @UseGuards(TokenGuard)
  guarded(@Param('item') item: string) {
    return pricesChannel.topic({ item });
  }

  @SseChannel(pricesChannel, ':item/expiring')
  expiring(@Param('item') item: string, @Query('at') at: number) {
    return [
      { topic: pricesChannel.topic({ item }), expiresAt: new Date(at) },
      { topic: pricesChannel.topic({ item: 'other' }), expiresAt: new Date('3000-01-01') },
    ];
  }

  @SseChannel(pricesChannel, 'result/:which')
  result(@Param('which') which: string): any {
    if (which === 'teapot') throw new TeapotError('short and stout');
    if (which === 'later') return Promise.reject(new BadRequestException('Not now'));
    if (which === 'empty') return [];
    if (which === 'mixed') return [pricesChannel.topic({ item: 'gold' }), othersChannel.topic()];
    return undefined;
  }

  @SseStream('echo', { events: [QueryEchoed], method: 'POST' })
  echo(@Body() body: EchoBody, @Query() query: PricesQuery) {
    const json = JSON.stringify([body instanceof EchoBody, body, query instanceof PricesQuery, query]);
    return of(Object.assign(new QueryEchoed(), { json }));
  }

  @Get('mistaken')
  mistaken(@LastEventId() lastEventId: string | null) {
    return lastEventId;
  }

  @Get('mistaken-connection')
  mistakenConnection(@SseConnection() { id }: SseConnection) {
    return id;
  }
}

/** A backplane that can be made to fail. */
class FailingBackplane extends MemoryBackplane {
  failing = false;
  override async tail(...args: Parameters<MemoryBackplane['tail']>): ReturnType<MemoryBackplane['tail']> {
    if (this.failing) throw new Error('no connection to the log');
    return super.tail(...args);
  }
}

describe.each([
  { adapter: 'Express', make: () => new ExpressAdapter() },
  { adapter: 'Fastify', make: () => new FastifyAdapter() },
])('in an application with global pipes, interceptors, filters, a prefix and versions on $adapter', ({ make }) => {
  let app: INestApplication;
  let url: string;
  let hub: Hub;
  let backplane: FailingBackplane;
  const clients: SseTestClient[] = [];

  beforeEach(async () => {
    mapped.length = 0;
    caught.length = 0;
    backplane = new FailingBackplane();
    const testing = await Test.createTestingModule({
      imports: [SseChannelsModule.forRoot({ backplane, retryMs: 10_000 })],
      controllers: [PricesController],
    }).compile();
    app = testing.createNestApplication(make() as ExpressAdapter, { logger: false, forceCloseConnections: true });
    app.setGlobalPrefix('api');
    app.enableVersioning({ type: VersioningType.URI });
    app.useGlobalPipes(new ValidationPipe({ transform: true, whitelist: true, forbidNonWhitelisted: true }));
    app.useGlobalInterceptors(new EnvelopeInterceptor(), new ClassSerializerInterceptor(app.get(Reflector)));
    app.useGlobalFilters(new ProblemFilter());
    await app.listen(0, '127.0.0.1');
    url = `${await app.getUrl()}/api/v1/prices/`;
    hub = app.get(Hub);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await app.close();
    expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  const connect = async (path: string, request?: SseTestRequest): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(new URL(path, url), request);
    clients.push(client);
    return client;
  };
  const change = (cents: number): Promise<string> =>
    app.get(EventBus).publish(pricesChannel.topic({ item: 'gold' }), PriceChanged, { cents });
  const problem = async (path: string, request?: SseTestRequest): Promise<[number, unknown, unknown]> => {
    const { status, headers, text } = await (await connect(path, request)).end();
    return [status, headers['content-type']?.split(';')[0], JSON.parse(text)];
  };

  it('a stream is as it would be without them, and ordinary routes stay what they were', async () => {
    const client = await (await connect('gold/changes')).opened();
    const cursor = await change(1);
    await client.receive(1);
    const listing = await (await connect('listing')).end();

    expect(client.text).toBe(
      `retry: ${client.retries[0]}\nid: ${/^id: (.*)$/m.exec(client.text)![1]}\nevent: $open\n` +
        `data: {"protocol":1,"connection":"${client.open!.connection}","heartbeatMs":1000,"topics":[{"topic":"prices/gold","resumed":false,"gap":null}]}\n\n` +
        `id: ${cursor}\nevent: price.changed\ndata: {"cents":1}\n\n`,
    );
    expect(JSON.parse(listing.text)).toEqual({ data: { name: 'gold' } });
    expect(mapped).toEqual([undefined, { name: 'gold' }]);
  });

  it('a parameter that is an object is validated and transformed', async () => {
    await change(1);
    await change(2);
    const client = await connect('gold/changes?last=1');
    await client.receive(1);

    expect(client.applicationEvents).toMatchObject([{ data: { cents: 2 } }]);
    expect(await problem('gold/changes?last=11')).toEqual([
      400,
      'application/problem+json',
      { problem: 'Bad Request Exception', status: 400 },
    ]);
    expect(await problem('gold/changes?first=1')).toMatchObject([400, 'application/problem+json', { status: 400 }]);
  });

  it('a POST stream gets its body validated and transformed', async () => {
    const client = await (await connect('echo?last=3', { method: 'POST', body: { text: 'hi' } })).end();
    const refused = await problem('echo', { method: 'POST', body: { text: 1 } });

    expect(client.status).toBe(200);
    expect(JSON.parse(client.applicationEvents[0]!.data.json)).toEqual([true, { text: 'hi' }, true, { last: 3 }]);
    expect(refused).toMatchObject([400, 'application/problem+json', { status: 400 }]);
  });

  it.each<[string, string, SseTestRequest, number, string]>([
    ['a guard that throws', 'gold/guarded', {}, 401, 'Show your token'],
    ['a guard that refuses', 'gold/guarded', { headers: { 'x-token': 'wrong' } }, 403, 'Forbidden resource'],
    ['a version that is not there', '/api/v2/prices/gold/changes', {}, 404, 'Cannot GET /api/v2/prices/gold/changes'],
    [
      'an Accept that excludes streams',
      'gold/changes',
      { headers: { accept: 'text/html' } },
      406,
      'This is a stream of Server-Sent Events; accept text/event-stream, or application/json for what is there now.',
    ],
    ["an application's own error", 'result/teapot', {}, 418, 'short and stout'],
    ['a handler that rejects', 'result/later', {}, 400, 'Not now'],
    [
      'a handler that returns no topic',
      'result/empty',
      {},
      500,
      'PricesController.result returned no topic; return at least one, or throw NotFoundException.',
    ],
    [
      "a handler that returns another channel's topic among its own",
      'result/mixed',
      {},
      500,
      'PricesController.result streams channel "prices/:item" but returned the topic "others" of "others".',
    ],
    [
      'a handler that returns nothing',
      'result/nothing',
      {},
      500,
      'PricesController.result returned undefined; return a topic of its channel: channel.topic({ … }).',
    ],
    [
      'the cursor of a route that is no stream',
      'mistaken',
      {},
      500,
      'PricesController.mistaken takes a parameter of a stream but is none; mark it with @SseChannel or @SseStream.',
    ],
    [
      'the connection of a route that is no stream',
      'mistaken-connection',
      {},
      500,
      'PricesController.mistakenConnection takes a parameter of a stream but is none; mark it with @SseChannel or @SseStream.',
    ],
  ])('%s is answered by the filter, in its shape', async (_what, path, request, status, message) => {
    expect(await problem(path, request)).toEqual([status, 'application/problem+json', { problem: message, status }]);
    expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
  });

  it('a guard that lets through gives a stream', async () => {
    const client = await connect('gold/guarded', { headers: { 'x-token': 'right' } });

    expect((await client.opened()).status).toBe(200);
  });

  it('a log that cannot be reached is answered by the filter, and served when it is back', async () => {
    backplane.failing = true;
    const refused = await problem('gold/changes');
    expect(hub.snapshot()).toEqual({ connections: 0, feeds: 0, subscriptions: 0 });
    backplane.failing = false;
    const client = await (await connect('gold/changes')).opened();

    expect(refused).toEqual([500, 'application/problem+json', { problem: 'no connection to the log', status: 500 }]);
    expect(client.status).toBe(200);
  });

  it('the earliest grant to run out ends the stream, even one that had run out before', async () => {
    const client = await (await connect('gold/expiring?at=0')).end();

    expect([client.open!.topics.length, client.closing]).toEqual([2, { reason: 'expired', comeBack: true }]);
  });

  it('a server that shuts down answers 503 by the filter, and says when to come back', async () => {
    await hub.drain({ graceMs: 0, retryMs: () => 0 });
    const { status, headers, text } = await (await connect('gold/changes')).end();

    expect([status, JSON.parse(text)]).toEqual([
      503,
      { problem: 'This server is shutting down; connect again to reach another.', status: 503 },
    ]);
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(5);
    expect(Number(headers['retry-after'])).toBeLessThanOrEqual(15);
  });

  it('a client that has had everything is answered 204, and guards are asked first', async () => {
    const client = await (await connect('gold/changes', { lastEventId: '$end' })).end();
    const refused = await problem('gold/guarded', { lastEventId: '$end' });

    expect([client.status, client.text, client.headers['cache-control']]).toEqual([204, '', 'no-store']);
    expect(refused[0]).toBe(401);
  });

  it('what is answered without a stream is no error: no filter hears of it', async () => {
    await (await connect('gold/changes', { lastEventId: '$end' })).end();
    await (await connect('gold/changes', { method: 'HEAD' })).end();
    // By now a filter would have been called for those before.
    await (await connect('listing')).end();

    expect(caught).toEqual([]);
  });
});
