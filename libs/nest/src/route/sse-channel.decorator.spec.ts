import { describe, expect, it } from '@jest/globals';
import { Controller, Get, Inject, Injectable, Param, Post, Query, Scope, SetMetadata, UseGuards } from '@nestjs/common';
import { REQUEST, Reflector } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { SseTestClient } from '@sse-channels/testing';
import { SseChannelsModule } from '../module/sse-channels.module.js';
import { SseChannel } from './sse-channel.decorator.js';
import { SSE_ROUTE } from './sse-route.js';

@SseEvent('price.changed')
class PriceChanged {}

const pricesChannel = defineChannel('prices/:item', { events: [PriceChanged] });

describe('@SseChannel', () => {
  it.each([undefined, null, 'prices', PriceChanged, { pattern: 'prices' }])(
    'refuses what is no channel where it is written (case %#)',
    (channel) => {
      expect(() => SseChannel(channel as never)).toThrow(
        refused(
          'INVALID_CHANNEL',
          '@SseChannel needs a channel; make one with defineChannel("orders/:orderId", { … }).',
        ),
      );
    },
  );

  it.each([['first'], [{ last: 0 }], [{ last: 1.5 }], [{ last: '3' }], [{}], [7], [null]])(
    'refuses the start %j where it is written',
    (start) => {
      expect(() => SseChannel(pricesChannel, 'path', { start: start as never })).toThrow(
        refused(
          'INVALID_OPTION',
          `Channel "prices/:item": start must be "latest", "earliest" or { last: n } with n of at least 1, not ${JSON.stringify(start)}.`,
        ),
      );
    },
  );

  it.each(['latest', 'earliest', { last: 1 }, undefined] as const)('takes the start %j', (start) => {
    expect(() => SseChannel(pricesChannel, 'path', start === undefined ? {} : { start })).not.toThrow();
  });

  it('keeps what decorators above and below it say of the method', () => {
    class AllowAll {}
    class PricesController {
      @SetMetadata('above', 1)
      @UseGuards(AllowAll)
      @SseChannel(pricesChannel, ':item')
      @SetMetadata('below', 2)
      prices(@Param('item') item: string) {
        return pricesChannel.topic({ item });
      }
    }
    const { prices } = PricesController.prototype;

    expect([
      Reflect.getMetadata('above', prices),
      Reflect.getMetadata('below', prices),
      Reflect.getMetadata('__guards__', prices),
      Reflect.getMetadata(SSE_ROUTE, prices),
    ]).toEqual([1, 2, [AllowAll], { kind: 'channel', channel: pricesChannel, options: {} }]);
  });
});

describe('a method with @SseChannel', () => {
  class PricesController {
    @SseChannel(pricesChannel, ':item')
    prices(@Param('item') item: string, unit = 'eur', ...rest: unknown[]) {
      return pricesChannel.topic({ item: `${item}-${unit}-${rest.length}` });
    }
  }
  class CheapPricesController extends PricesController {
    override prices(item: string) {
      return super.prices(`cheap-${item}`, 'usd', 1, 2);
    }
  }

  it('is what was written when it is called by hand', () => {
    expect([
      new PricesController().prices('gold').name,
      new PricesController().prices('gold', 'usd', 1, 2, 3).name,
      new CheapPricesController().prices('gold').name,
      PricesController.prototype.prices.name,
    ]).toEqual(['prices/gold-eur-0', 'prices/gold-usd-3', 'prices/cheap-gold-usd-2', 'prices']);
  });
});

describe('a controller with @SseChannel', () => {
  async function topicsOf(controllers: Array<new (...args: any[]) => object>, ...paths: string[]): Promise<string[]> {
    const testing = await Test.createTestingModule({ imports: [SseChannelsModule.forRoot()], controllers }).compile();
    const app = testing.createNestApplication({ logger: false, forceCloseConnections: true });
    try {
      await app.listen(0, '127.0.0.1');
      const url = await app.getUrl();
      const topics: string[] = [];
      for (const path of paths) {
        const client = await SseTestClient.connect(url + path);
        topics.push(client.status === 200 ? (await client.opened()).open!.topics[0]!.topic : String(client.status));
        client.leave();
      }
      return topics;
    } finally {
      await app.close();
    }
  }

  it('may inherit its methods from an abstract one, and replace some', async () => {
    abstract class TopicsController {
      protected abstract readonly prefix: string;

      @SseChannel(pricesChannel, 'inherited/:item')
      inherited(@Param('item') item: string) {
        return pricesChannel.topic({ item: this.prefix + item });
      }

      @SseChannel(pricesChannel, 'replaced/:item')
      replaced(@Param('item') item: string) {
        return pricesChannel.topic({ item });
      }
    }
    @Controller('gold')
    class GoldController extends TopicsController {
      protected readonly prefix = 'gold-';

      @SseChannel(pricesChannel, 'other/:item')
      override replaced(@Param('item') item: string) {
        return pricesChannel.topic({ item: `other-${item}` });
      }
    }
    @Controller('iron')
    class IronController extends TopicsController {
      protected readonly prefix = 'iron-';
    }

    const paths = ['/gold/inherited/1', '/iron/inherited/1', '/gold/other/1', '/iron/replaced/1', '/gold/replaced/1'];
    expect(await topicsOf([GoldController, IronController], ...paths)).toEqual([
      'prices/gold-1',
      'prices/iron-1',
      'prices/other-1',
      'prices/1',
      '404',
    ]);
  });

  it('may live as long as one request', async () => {
    let made = 0;
    @Injectable({ scope: Scope.REQUEST })
    class Tenant {
      readonly name: string;
      constructor(@Inject(REQUEST) request: { url: string }) {
        this.name = new URL(request.url, 'http://here').searchParams.get('tenant') ?? 'nobody';
        made += 1;
      }
    }
    @Controller({ path: 'prices', scope: Scope.REQUEST })
    class PricesController {
      constructor(@Inject(Tenant) private readonly tenant: Tenant) {}

      @SseChannel(pricesChannel)
      prices() {
        return pricesChannel.topic({ item: this.tenant.name });
      }
    }

    const testing = await Test.createTestingModule({
      imports: [SseChannelsModule.forRoot()],
      controllers: [PricesController],
      providers: [Tenant],
    }).compile();
    const app = testing.createNestApplication({ logger: false, forceCloseConnections: true });
    try {
      await app.listen(0, '127.0.0.1');
      const topics: string[] = [];
      for (const tenant of ['a', 'b']) {
        const client = await (await SseTestClient.connect(`${await app.getUrl()}/prices?tenant=${tenant}`)).opened();
        topics.push(client.open!.topics[0]!.topic);
        client.leave();
      }
      expect([topics, made]).toEqual([['prices/a', 'prices/b'], 2]);
    } finally {
      await app.close();
    }
  });

  it('gets its parameters as it declares them, those with defaults and those without a decorator too', async () => {
    @Controller()
    class PricesController {
      @SseChannel(pricesChannel, 'default/:item')
      withDefault(@Param('item') item: string, unit = 'eur', ...rest: unknown[]) {
        return pricesChannel.topic({ item: `${item}-${unit}-${rest.length}` });
      }

      @SseChannel(pricesChannel, 'none')
      none(...rest: unknown[]) {
        return pricesChannel.topic({ item: `none-${rest.length}` });
      }

      @SseChannel(pricesChannel, 'reversed/:item')
      reversed(@Query('unit') unit: string, @Param('item') item: string) {
        return pricesChannel.topic({ item: `${item}-${unit}` });
      }

      @Get('plain')
      plain() {
        return 'plain';
      }

      @Post('default/:item')
      post() {
        return 'posted';
      }
    }

    const paths = ['/default/gold', '/none', '/reversed/gold?unit=usd'];
    expect(await topicsOf([PricesController], ...paths)).toEqual([
      'prices/gold-eur-0',
      'prices/none-0',
      'prices/gold-usd',
    ]);
  });

  it('may serve one channel under several paths', async () => {
    @Controller()
    class PricesController {
      @SseChannel(pricesChannel, ['one', 'other'])
      prices() {
        return pricesChannel.topic({ item: 1 });
      }
    }

    expect(await topicsOf([PricesController], '/one', '/other')).toEqual(['prices/1', 'prices/1']);
  });

  it('is known to Reflector by its own name', () => {
    class PricesController {
      @SseChannel(pricesChannel)
      prices() {
        return pricesChannel.topic({ item: 1 });
      }
    }

    expect(PricesController.prototype.prices.name).toBe('prices');
    expect(new Reflector().get(SSE_ROUTE, PricesController.prototype.prices)).toMatchObject({ kind: 'channel' });
  });
});

function refused(code: string, message: string): Error {
  return expect.objectContaining({ code, message }) as unknown as Error;
}
