import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Inject,
  Injectable,
  Logger,
  Module,
  type DynamicModule,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { EventBus, EventCodec, Hub, MemoryBackplane, type Observer } from '@sse-channels/engine';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { IsInt } from 'class-validator';
import {
  DEFAULT_SETTINGS,
  SSE_CHANNELS_OBSERVER,
  SSE_CHANNELS_SETTINGS,
  type SseChannelsModuleOptions,
} from './options.js';
import { SseChannelsModule, type SseChannelsOptionsFactory } from './sse-channels.module.js';
import { SseChannel } from '../route/sse-channel.decorator.js';

@SseEvent('price.changed')
class PriceChanged {
  @IsInt() cents!: number;
}

const pricesChannel = defineChannel('prices/:item', { events: [PriceChanged] });
const alsoPricesChannel = defineChannel('prices/gold', { events: [PriceChanged] });
const topic = pricesChannel.topic({ item: 'gold' });

/** A backplane that notes its life. */
class NotedBackplane extends MemoryBackplane {
  readonly notes: string[] = [];
  override async ready(): Promise<void> {
    this.notes.push('ready');
    await super.ready();
  }
  override async close(): Promise<void> {
    this.notes.push('close');
    await super.close();
  }
}

const apps: INestApplication[] = [];

beforeEach(() => Logger.overrideLogger(false));

afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

async function boot(imports: Array<Type | DynamicModule>, controllers: Type[] = []): Promise<INestApplication> {
  const testing = await Test.createTestingModule({ imports, controllers }).compile();
  const app = testing.createNestApplication(new ExpressAdapter());
  await app.init();
  apps.push(app);
  return app;
}

const settingsOf = (app: INestApplication): object => app.get<object>(SSE_CHANNELS_SETTINGS);

describe('forRoot', () => {
  it('needs no options', async () => {
    const app = await boot([SseChannelsModule.forRoot()]);

    expect(settingsOf(app)).toEqual(DEFAULT_SETTINGS);
    expect(await app.get(EventBus).publish(topic, PriceChanged, { cents: 1 })).toMatch(/~/);
  });

  it('takes options, and channels to make known', async () => {
    const app = await boot([SseChannelsModule.forRoot({ heartbeatMs: 5_000, channels: [pricesChannel] })]);

    expect(settingsOf(app)).toEqual({ ...DEFAULT_SETTINGS, heartbeatMs: 5_000 });
    await expect(
      app.get(EventBus).publish(alsoPricesChannel.topic(), PriceChanged, { cents: 1 }),
    ).rejects.toMatchObject({ code: 'CHANNEL_CONFLICT' });
  });

  it.each<[string, object, string]>([
    ['out of range', { heartbeatMs: 1 }, 'needs heartbeatMs to be a whole number from 10 to 2147483647, not 1.'],
    ['misspelt', { heartbeatMS: 1_000 }, 'has no option "heartbeatMS"; it knows heartbeatMs, retryMs, '],
    ['of another kind', { channels: pricesChannel }, 'needs channels to be a list of channels; '],
  ])('stops the boot for an option that is %s, before a backplane is opened', async (_what, options, message) => {
    const backplane = new NotedBackplane();

    await expect(boot([SseChannelsModule.forRoot({ ...options, backplane })])).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(`SseChannelsModule ${message}`),
    });
    expect(backplane.notes).toEqual([]);
  });

  it('stops the boot when its backplane does not get ready', async () => {
    const backplane = new MemoryBackplane();
    await backplane.close();

    await expect(boot([SseChannelsModule.forRoot({ backplane })])).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('gets its backplane ready and closes it with the application', async () => {
    const backplane = new NotedBackplane();
    const app = await boot([SseChannelsModule.forRoot({ backplane })]);
    const cursor = await app.get(EventBus).publish(topic, PriceChanged, { cents: 1 });
    await app.close();

    expect(cursor.startsWith(`${backplane.epoch}~`)).toBe(true);
    expect(backplane.notes).toEqual(['ready', 'close']);
  });

  it('completes open streams of the bus when the application closes', async () => {
    const app = await boot([SseChannelsModule.forRoot()]);
    const completed = new Promise<void>((resolve) => {
      app.get(EventBus).stream(pricesChannel).subscribe({ complete: resolve });
    });
    await app.close();

    await completed;
  });

  it('makes the bus and the hub injectable anywhere', async () => {
    @Injectable()
    class Prices {
      constructor(
        readonly bus: EventBus,
        readonly hub: Hub,
        readonly codec: EventCodec,
      ) {}
    }
    @Module({ providers: [Prices], exports: [Prices] })
    class InnerModule {}
    @Module({ imports: [InnerModule] })
    class OuterModule {}

    const app = await boot([SseChannelsModule.forRoot(), OuterModule]);

    const { bus, hub, codec } = app.get(Prices, { strict: false });
    expect([bus, hub, codec]).toEqual([expect.any(EventBus), expect.any(Hub), expect.any(EventCodec)]);
    expect([bus === app.get(EventBus), hub === app.get(Hub)]).toEqual([true, true]);
  });

  it('keeps two applications of one process apart', async () => {
    const [one, other] = [
      await boot([SseChannelsModule.forRoot({ channels: [pricesChannel] })]),
      await boot([SseChannelsModule.forRoot({ channels: [alsoPricesChannel] })]),
    ];
    const received: unknown[] = [];
    one
      .get(EventBus)
      .stream(pricesChannel)
      .subscribe({ next: ({ event }) => received.push(event) });
    await other.get(EventBus).publish(alsoPricesChannel.topic(), PriceChanged, { cents: 1 });
    await one.get(EventBus).publish(topic, PriceChanged, { cents: 2 });
    await other.close();
    await one.get(EventBus).publish(topic, PriceChanged, { cents: 3 });

    expect(one.get(EventBus)).not.toBe(other.get(EventBus));
    expect(one.get(Hub)).not.toBe(other.get(Hub));
    expect([one.get(Hub).draining, other.get(Hub).draining]).toEqual([false, true]);
    expect(received).toMatchObject([{ cents: 2 }, { cents: 3 }]);
  });

  it('lets the observer be replaced by its token', async () => {
    const published: string[] = [];
    const observer: Observer = { eventPublished: (name, event) => published.push(`${name} ${event}`) };
    const testing = await Test.createTestingModule({ imports: [SseChannelsModule.forRoot()] })
      .overrideProvider(SSE_CHANNELS_OBSERVER)
      .useValue(observer)
      .compile();
    await testing.get(EventBus).publish(topic, PriceChanged, { cents: 1 });
    await testing.close();

    expect(published).toEqual(['prices/gold price.changed']);
  });
});

describe('forRootAsync', () => {
  @Injectable()
  class Settings implements SseChannelsOptionsFactory {
    readonly retryMs = 700;
    async createSseChannelsOptions(): Promise<SseChannelsModuleOptions> {
      return { retryMs: this.retryMs };
    }
  }
  @Module({ providers: [Settings], exports: [Settings] })
  class SettingsModule {}

  it.each<[string, () => DynamicModule]>([
    [
      'a factory with what it injects from its imports',
      () =>
        SseChannelsModule.forRootAsync({
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: async ({ retryMs }: Settings) => ({ retryMs }),
        }),
    ],
    ['a class', () => SseChannelsModule.forRootAsync({ useClass: Settings })],
    [
      'an existing provider',
      () => SseChannelsModule.forRootAsync({ imports: [SettingsModule], useExisting: Settings }),
    ],
  ])('takes its options from %s', async (_what, root) => {
    const app = await boot([root()]);

    expect(settingsOf(app)).toEqual({ ...DEFAULT_SETTINGS, retryMs: 700 });
  });

  it('is global too', async () => {
    @Injectable()
    class Prices {
      constructor(@Inject(EventBus) readonly bus: EventBus) {}
    }
    @Module({ providers: [Prices] })
    class PricesModule {}

    const app = await boot([SseChannelsModule.forRootAsync({ useFactory: () => ({}) }), PricesModule]);

    expect(app.get(Prices, { strict: false }).bus).toBe(app.get(EventBus));
  });

  it.each<[string, unknown, string]>([
    [
      'a wrong option',
      { retryMs: -1 },
      'SseChannelsModule needs retryMs to be a whole number from 0 to 2147483647, not -1.',
    ],
    ['nothing', undefined, 'SseChannelsModule needs an object of options, not undefined; does the factory return one?'],
  ])('stops the boot when the factory gives %s', async (_what, options, message) => {
    const root = SseChannelsModule.forRootAsync({ useFactory: () => options as SseChannelsModuleOptions });

    await expect(boot([root])).rejects.toMatchObject({ code: 'INVALID_OPTION', message });
  });
});

describe('forFeature', () => {
  const feature = (...channels: Parameters<typeof SseChannelsModule.forFeature>[0]): Type => {
    @Module({ imports: [SseChannelsModule.forFeature(channels)] })
    class FeatureModule {}
    return FeatureModule;
  };
  const conflict = {
    code: 'CHANNEL_CONFLICT',
    message: 'Channels "prices/gold" and "prices/:item" share topics; begin one of them with another word.',
  };

  it('stops the boot when channels of two feature modules share topics, and names both', async () => {
    const imports = [SseChannelsModule.forRoot(), feature(pricesChannel), feature(alsoPricesChannel)];

    await expect(boot(imports)).rejects.toMatchObject(conflict);
  });

  it('sees the conflict in an application that tells its modules apart by their content, too', async () => {
    const imports = [SseChannelsModule.forRoot(), feature(pricesChannel), feature(alsoPricesChannel)];
    const booting = Test.createTestingModule({ imports }, { moduleIdGeneratorAlgorithm: 'deep-hash' }).compile();

    await expect(booting).rejects.toMatchObject(conflict);
  });

  it('stops the boot when one pattern has two definitions', async () => {
    const again = defineChannel('prices/:item', { events: [PriceChanged] });
    const imports = [SseChannelsModule.forRoot({ channels: [pricesChannel] }), feature(again)];

    await expect(boot(imports)).rejects.toMatchObject({
      code: 'CHANNEL_CONFLICT',
      message: 'Channel "prices/:item" is defined twice; export one definition and import it everywhere.',
    });
  });

  it('stops the boot when a controller serves a channel that conflicts', async () => {
    @Controller()
    class PricesController {
      @SseChannel(alsoPricesChannel, 'gold')
      gold() {
        return alsoPricesChannel.topic();
      }
    }
    const imports = [SseChannelsModule.forRoot(), feature(pricesChannel)];

    await expect(boot(imports, [PricesController])).rejects.toMatchObject(conflict);
  });

  it('takes the same definition any number of times', async () => {
    const imports = [
      feature(pricesChannel),
      feature(pricesChannel, pricesChannel),
      SseChannelsModule.forRoot({ channels: [pricesChannel] }),
    ];

    const app = await boot(imports);

    expect(await app.get(EventBus).publish(topic, PriceChanged, { cents: 1 })).toMatch(/~/);
  });

  it('refuses what is no list of channels where it is written', () => {
    expect(() => SseChannelsModule.forFeature(pricesChannel as never)).toThrow(
      'SseChannelsModule needs forFeature(channels) to be a list of channels; make them with defineChannel("orders/:orderId", { … }).',
    );
  });
});
