import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { Channel, MAX_TIMER_MS, Topic, defineChannel, type ChannelOptions } from './channel.js';
import { SseEvent, defineEvent, type EventType } from './event.js';

const refused = (code: string, message: string) => expect.objectContaining({ code, message }) as unknown as Error;

@SseEvent('order.shipped')
class OrderShipped {
  carrier!: string;
}

const OrderPlaced = defineEvent('order.placed', z.object({ total: z.number() }));

const define = (options: object) =>
  defineChannel('orders/:orderId', { events: [OrderShipped], ...options } as ChannelOptions<EventType>);

describe('defineChannel', () => {
  it('takes classes and schemas side by side and finds them by name', () => {
    const channel = defineChannel('orders/:orderId', { events: [OrderPlaced, OrderShipped] });

    expect(channel).toBeInstanceOf(Channel);
    expect(channel.pattern).toBe('orders/:orderId');
    expect(channel.events).toEqual([OrderPlaced, OrderShipped]);
    expect(channel.eventNamed('order.shipped')).toBe(OrderShipped);
    expect(channel.eventNamed('order.placed')).toBe(OrderPlaced);
    expect(channel.eventNamed('order.lost')).toBeUndefined();
    expect(channel.eventNamed('__proto__')).toBeUndefined();
  });

  it('does not follow later changes of the list of events', () => {
    const events: EventType[] = [OrderShipped];
    const channel = defineChannel('orders', { events });
    events.push(OrderPlaced);

    expect(channel.events).toEqual([OrderShipped]);
  });

  it('keeps 1000 events, five minutes and a mebibyte of a topic, and leaves the timings to the module', () => {
    const channel = define({});

    expect(channel.retention).toEqual({ maxEvents: 1000, maxAgeMs: 300_000, maxBytes: 1_048_576 });
    expect(channel.heartbeatMs).toBeUndefined();
    expect(channel.retryMs).toBeUndefined();
  });

  it('fills in what the replay bounds leave out', () => {
    expect(define({ replay: { maxEvents: 0 } }).retention).toEqual({
      maxEvents: 0,
      maxAgeMs: 300_000,
      maxBytes: 1_048_576,
    });
    expect(define({ replay: { maxEvents: undefined, maxAgeMs: 1, maxBytes: 0 } }).retention).toEqual({
      maxEvents: 1000,
      maxAgeMs: 1,
      maxBytes: 0,
    });
  });

  it('freezes the retention, apart from the options it came from', () => {
    const replay = { maxEvents: 5, maxAgeMs: 6, maxBytes: 7 };
    const channel = define({ replay });
    replay.maxEvents = 500;

    expect(channel.retention).toEqual({ maxEvents: 5, maxAgeMs: 6, maxBytes: 7 });
    expect(Object.isFrozen(channel.retention)).toBe(true);
  });

  it.each([
    ['replay.maxEvents', 0, Number.MAX_SAFE_INTEGER],
    ['replay.maxAgeMs', 1, Number.MAX_SAFE_INTEGER],
    ['replay.maxBytes', 0, Number.MAX_SAFE_INTEGER],
    ['lagLimit.maxEvents', 0, Number.MAX_SAFE_INTEGER],
    ['lagLimit.maxBytes', 0, Number.MAX_SAFE_INTEGER],
    ['heartbeatMs', 10, MAX_TIMER_MS],
    ['retryMs', 0, MAX_TIMER_MS],
  ])('takes %s from %d to %d and nothing else', (option, min, max) => {
    const optionsWith = (value: unknown) => {
      const [name, part] = option.split('.') as [string, string | undefined];
      return { [name]: part === undefined ? value : { [part]: value } };
    };
    const range = max === MAX_TIMER_MS ? `from ${min} to 2147483647` : `of at least ${min}`;

    for (const value of [min, min + 1, max]) expect(() => define(optionsWith(value))).not.toThrow();
    for (const value of [min - 1, max + 1, min + 0.5, NaN, Infinity, '20', null, true]) {
      expect(() => define(optionsWith(value))).toThrow(
        refused(
          'INVALID_OPTION',
          `Channel "orders/:orderId": ${option} must be a whole number ${range}, not ${String(value)}.`,
        ),
      );
    }
  });

  it('lets slow readers catch up, without a limit, where it says nothing else', () => {
    const { slowReaders, lagLimit } = define({});
    expect([slowReaders, lagLimit]).toEqual(['catch-up', undefined]);
    expect(define({ slowReaders: 'latest' }).slowReaders).toBe('latest');
    expect(define({ lagLimit: { maxEvents: 5 } }).lagLimit).toEqual({ maxEvents: 5, exceeded: 'gap' });
  });

  it.each([
    [{ slowReaders: 'skip' }, 'slowReaders must be one of catch-up, latest, disconnect, not skip.'],
    [{ lagLimit: { exceeded: 'end' } }, 'lagLimit.exceeded must be one of gap, disconnect, not end.'],
    [
      { slowReaders: 'latest', lagLimit: {} },
      'lagLimit is for slowReaders "catch-up", not "latest"; leave one of the two out.',
    ],
  ])('refuses %j', (options, why) => {
    expect(() => define(options)).toThrow(refused('INVALID_OPTION', `Channel "orders/:orderId": ${why}`));
  });

  it('takes as many events at once as in a second, and at least one, where it names no burst', () => {
    const limitOf = (publishLimit: unknown) => define({ publishLimit }).publishLimit;

    expect(define({}).publishLimit).toBeUndefined();
    expect(limitOf({ perSecond: 2.5 })).toEqual({ perSecond: 2.5, burst: 3 });
    expect(limitOf({ perSecond: 0.001 })).toEqual({ perSecond: 0.001, burst: 1 });
    expect(limitOf({ perSecond: 1_000_000, burst: 1 })).toEqual({ perSecond: 1_000_000, burst: 1 });
  });

  it.each([0, 0.0009, 1_000_001, -1, NaN, Infinity, '5', null, undefined])(
    'refuses a publishLimit of %s events a second',
    (perSecond) => {
      expect(() => define({ publishLimit: { perSecond } })).toThrow(
        refused(
          'INVALID_OPTION',
          `Channel "orders/:orderId": publishLimit.perSecond must be a number from 0.001 to 1000000, not ${String(perSecond)}.`,
        ),
      );
    },
  );

  it.each([0, 1.5, -1, NaN, Infinity, '5', null])('refuses a publishLimit with a burst of %s', (burst) => {
    expect(() => define({ publishLimit: { perSecond: 1, burst } })).toThrow(
      refused(
        'INVALID_OPTION',
        `Channel "orders/:orderId": publishLimit.burst must be a whole number of at least 1, not ${String(burst)}.`,
      ),
    );
  });

  it('keeps the timings that it is given', () => {
    expect(define({ heartbeatMs: 10, retryMs: 0 })).toMatchObject({ heartbeatMs: 10, retryMs: 0 });
  });

  it.each([[{}], [{ events: [] }], [{ events: OrderShipped }], [undefined], [null]])(
    'refuses a channel without events (%#)',
    (options) => {
      expect(() => defineChannel('orders', options as never)).toThrow(
        refused('INVALID_CHANNEL', 'Channel "orders" declares no event; list at least one in "events".'),
      );
    },
  );

  it('refuses two events of one name', () => {
    const Doppelganger = defineEvent('order.shipped', z.unknown());

    expect(() => defineChannel('orders', { events: [OrderShipped, Doppelganger] })).toThrow(
      refused(
        'INVALID_CHANNEL',
        'Channel "orders" declares the event "order.shipped" twice; list it once, or rename one of the two.',
      ),
    );
    expect(() => defineChannel('orders', { events: [OrderShipped, OrderShipped] })).toThrow(
      refused(
        'INVALID_CHANNEL',
        'Channel "orders" declares the event "order.shipped" twice; list it once, or rename one of the two.',
      ),
    );
  });

  it('refuses a class that is no event, a subclass of one included', () => {
    class ShippedAbroad extends OrderShipped {}

    expect(() => defineChannel('orders', { events: [OrderShipped, ShippedAbroad] })).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        'Class ShippedAbroad is not an event; mark the class with @SseEvent("some.name") or use defineEvent("some.name", schema).',
      ),
    );
  });

  it('refuses a pattern that is none', () => {
    expect(() => defineChannel('orders/*', { events: [OrderShipped] })).toThrow(
      refused(
        'INVALID_CHANNEL',
        'Channel pattern "orders/*" has the segment "*"; a segment is either letters, digits, "-" and "_", or a parameter such as ":orderId".',
      ),
    );
  });
});

describe('Channel.topic', () => {
  const channel = defineChannel('tenants/:tenant/orders/:orderId', { events: [OrderShipped] });

  it('names a topic by its parameters and reads them back, numbers as strings', () => {
    const topic = channel.topic({ tenant: 'a/b', orderId: 42 });

    expect(topic).toBeInstanceOf(Topic);
    expect(topic.channel).toBe(channel);
    expect(topic.name).toBe('tenants/a%2Fb/orders/42');
    expect(String(topic)).toBe('tenants/a%2Fb/orders/42');
    expect(topic.params).toEqual({ tenant: 'a/b', orderId: '42' });
  });

  it('takes no argument where the pattern has no parameter', () => {
    const prices = defineChannel('prices', { events: [OrderShipped] });

    expect(prices.topic().name).toBe('prices');
    expect(prices.topic().params).toEqual({});
  });

  it.each([
    [undefined, 'Parameter "tenant" of channel "tenants/:tenant/orders/:orderId" is missing; pass it to topic({ … }).'],
    [
      { tenant: 't', orderId: '' },
      'Parameter "orderId" of channel "tenants/:tenant/orders/:orderId" is empty; a topic needs a value for each parameter.',
    ],
    [
      { tenant: 't', orderId: 1, user: 'u' },
      'Parameter "user" of channel "tenants/:tenant/orders/:orderId" is not in the pattern; remove it or correct its name.',
    ],
  ])('refuses the parameters %j', (params, message) => {
    expect(() => channel.topic(params as never)).toThrow(refused('INVALID_TOPIC_PARAMETER', message));
  });

  it('finds the topic of a name', () => {
    const topic = channel.topicNamed('tenants/a%2Fb/orders/42');

    expect(topic?.channel).toBe(channel);
    expect(topic?.name).toBe('tenants/a%2Fb/orders/42');
    expect(topic?.params).toEqual({ tenant: 'a/b', orderId: '42' });
  });

  it.each(['tenants/t', 'tenants/t/orders/', 'tenants/*/orders/*', 'tenants/%74/orders/1', 'tenants/t/orders/%'])(
    'finds no topic of the name %j',
    (name) => {
      expect(channel.topicNamed(name)).toBeNull();
    },
  );
});
