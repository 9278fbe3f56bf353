/** Routes that publish, while the log refuses or a topic is full: what their requests are answered. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  HttpException,
  Module,
  Param,
  Post,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, HttpAdapterHost } from '@nestjs/core';
import {
  AppendError,
  defineChannel,
  EventBus,
  MemoryBackplane,
  SseChannelsError,
  SseChannelsModule,
  SseErrorInterceptor,
  SseEvent,
} from '@sse-channels/nest';
import { FaultyBackplane } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:id', { events: [CountTold] });
const rareChannel = defineChannel('rare', { events: [CountTold], publishLimit: { perSecond: 0.01, burst: 1 } });

@Controller()
class CountsController {
  constructor(private readonly bus: EventBus) {}

  @Post('counts/:id')
  count(@Param('id') id: string) {
    return this.bus.publish(countsChannel.topic({ id }), CountTold, { n: 1 });
  }

  @Post('rare')
  rare() {
    return this.bus.publish(rareChannel.topic(), CountTold, { n: 1 });
  }

  @Post('lot')
  lot() {
    return this.bus.publishMany(
      rareChannel.topic(),
      [1, 2].map((n) => Object.assign(new CountTold(), { n })),
    );
  }

  @Post('wrong')
  wrong() {
    return this.bus.publish(countsChannel.topic({ id: 1 }), CountTold, { n: 'one' as never });
  }

  @Post('teapot')
  teapot() {
    throw new HttpException('short and stout', 418);
  }
}

/** An application's own form of errors, which knows what was behind one. */
@Catch(HttpException)
class ProblemFilter implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(exception: HttpException, host: ArgumentsHost): void {
    const cause = exception.cause instanceof SseChannelsError ? exception.cause.code : null;
    const problem = { title: exception.message, cause };
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), problem, exception.getStatus());
  }
}

describe.each(adapters)('a route that publishes, on $adapter', ({ make }) => {
  let running: RunningApp;
  let failure: Error | null;

  beforeEach(async () => {
    failure = null;
    const backplane = new FaultyBackplane(new MemoryBackplane(), { failAppend: () => failure });
    @Module({
      imports: [SseChannelsModule.forRoot({ backplane, retryMs: 4_000 })],
      controllers: [CountsController],
      providers: [
        { provide: APP_INTERCEPTOR, useClass: SseErrorInterceptor },
        { provide: APP_FILTER, useClass: ProblemFilter },
      ],
    })
    class CountsModule {}
    running = await startApp(make, CountsModule);
  });

  afterEach(() => running.app.close());

  const post = async (path: string) => {
    const response = await fetch(`${running.url}/${path}`, { method: 'POST' });
    const retryAfter = response.headers.get('retry-after');
    return {
      status: response.status,
      retryAfter: retryAfter === null ? null : Number(retryAfter),
      text: await response.text(),
    };
  };

  it.each([
    ['not-written', 'This could not be published now; try again later.'],
    ['unknown', 'Whether this was published is not known; try again later, if twice does no harm.'],
  ] as const)('is answered 503 with Retry-After where the log did not confirm (%s)', async (outcome, title) => {
    failure = new AppendError('counts/1', outcome, 'redis://10.0.0.7 does not answer.');
    const { status, retryAfter, text } = await post('counts/1');
    failure = null;
    const after = await post('counts/1');

    expect([status, JSON.parse(text)]).toEqual([503, { title, cause: 'APPEND_FAILED' }]);
    expect(retryAfter).toBeGreaterThanOrEqual(2);
    expect(retryAfter).toBeLessThanOrEqual(6);
    expect([after.status, after.retryAfter]).toEqual([201, null]);
  });

  it('is answered 503 where the log cannot be reached at all', async () => {
    failure = new SseChannelsError('UNAVAILABLE', 'redis://10.0.0.7 does not answer.');
    const { status, retryAfter, text } = await post('counts/1');
    expect([status, retryAfter !== null, text.includes('10.0.0.7')]).toEqual([503, true, false]);
  });

  it('is answered 429 where a topic takes no more for now, with when it does', async () => {
    const first = await post('rare');
    const { status, retryAfter, text } = await post('rare');
    expect([first.status, status, JSON.parse(text)]).toEqual([
      201,
      429,
      { title: 'Too many events; try again later.', cause: 'RATE_LIMITED' },
    ]);
    expect(retryAfter).toBeGreaterThan(90);
    expect(retryAfter).toBeLessThanOrEqual(100);
  });

  it('is answered as ever for all else', async () => {
    const answers = [await post('lot'), await post('wrong'), await post('counts/'), await post('teapot')];
    expect(answers.map(({ status, retryAfter }) => [status, retryAfter])).toEqual([
      [500, null],
      [500, null],
      [404, null],
      [418, null],
    ]);
  });
});
