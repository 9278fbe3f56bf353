import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import {
  SseEvent,
  TypedEvent,
  checkEventName,
  defineEvent,
  eventKeyOf,
  eventNameOf,
  isEventDefinition,
  type EventType,
} from './event.js';

const refused = (code: string, message: string) => expect.objectContaining({ code, message }) as unknown as Error;

@SseEvent('order.shipped')
class OrderShipped {
  carrier!: string;
}

const OrderPlaced = defineEvent('order.placed', z.object({ total: z.number().min(0) }));

describe('Event names', () => {
  it.each([
    'order.shipped',
    'a',
    'Größe.geändert',
    'with space',
    ' leading',
    'a:b',
    'Error',
    'OPEN',
    'message.sent',
    'constructor',
    '__proto__',
    'price$',
    '𝄞',
    'x'.repeat(256),
  ])('may be %j', (name) => {
    expect(() => checkEventName(name)).not.toThrow();
  });

  it.each([
    ['', 'Event name "" is empty; give it a dotted name such as "order.shipped".'],
    [undefined, 'Event name undefined is not a string; give it a dotted name such as "order.shipped".'],
    [42, 'Event name 42 is not a string; give it a dotted name such as "order.shipped".'],
    ['a\nb', 'Event name "a\\nb" has a CR, LF or NUL; use letters, digits, dots and dashes.'],
    ['a\r', 'Event name "a\\r" has a CR, LF or NUL; use letters, digits, dots and dashes.'],
    ['\0', 'Event name "\\u0000" has a CR, LF or NUL; use letters, digits, dots and dashes.'],
    [
      'a\ud834',
      'Event name "a\\ud834" has a lone surrogate, which UTF-8 cannot carry; use letters, digits, dots and dashes.',
    ],
    ['$open', 'Event name "$open" starts with "$", which is kept for the library; leave it out.'],
    ['$', 'Event name "$" starts with "$", which is kept for the library; leave it out.'],
    ['x'.repeat(257), `Event name "${'x'.repeat(257)}" is longer than 256 characters; shorten it.`],
    [
      'error',
      'Event name "error" collides with an event that EventSource itself dispatches; qualify it, such as "order.error".',
    ],
    [
      'open',
      'Event name "open" collides with an event that EventSource itself dispatches; qualify it, such as "order.open".',
    ],
    [
      'message',
      'Event name "message" collides with an event that EventSource itself dispatches; qualify it, such as "order.message".',
    ],
  ])('must not be %j, for classes and schemas alike', (name, message) => {
    expect(() => checkEventName(name as string)).toThrow(refused('INVALID_EVENT_NAME', message));
    expect(() => SseEvent(name as string)).toThrow(refused('INVALID_EVENT_NAME', message));
    expect(() => defineEvent(name as string, z.string())).toThrow(refused('INVALID_EVENT_NAME', message));
  });
});

describe('@SseEvent', () => {
  it('gives a class its name and leaves nothing to see on it', () => {
    expect(eventNameOf(OrderShipped)).toBe('order.shipped');
    expect(Object.keys(OrderShipped)).toEqual([]);
    expect(Object.keys(new OrderShipped()).filter((key) => key !== 'carrier')).toEqual([]);
  });

  it('takes a class that says its name itself', () => {
    @SseEvent('order.named')
    class Named {
      static readonly eventName = 'order.named';
    }

    expect(eventNameOf(Named)).toBe('order.named');
  });

  it('takes an abstract class, and one whose constructor has parameters', () => {
    @SseEvent('order.abstract')
    abstract class Abstract {}
    @SseEvent('order.built')
    class Built {
      constructor(readonly id: string) {}
    }

    expect([Abstract, Built].map(eventNameOf)).toEqual(['order.abstract', 'order.built']);
  });

  it('refuses a class that says another name itself', () => {
    class Misnamed {
      static readonly eventName = 'order.lost';
    }

    // @ts-expect-error -- the compiler refuses it as well
    expect(() => SseEvent('order.found')(Misnamed)).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        'Class Misnamed is marked @SseEvent("order.found") but has the static eventName "order.lost"; make them the same.',
      ),
    );
  });

  it('refuses a second mark with another name, and takes one with the same', () => {
    @SseEvent('order.once')
    class Once {}

    expect(() => SseEvent('order.twice')(Once)).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        'Class Once is marked both @SseEvent("order.once") and @SseEvent("order.twice"); keep one of them.',
      ),
    );
    expect(() => SseEvent('order.once')(Once)).not.toThrow();
    expect(eventNameOf(Once)).toBe('order.once');
  });

  it('keeps the property that is the key, where there is one', () => {
    @SseEvent('price.ticked', { key: 'symbol' })
    class PriceTicked {
      symbol!: string;
    }
    const priceSet = defineEvent('price.set', z.object({ id: z.number() }), { key: 'id' });
    expect([PriceTicked, priceSet, OrderShipped, OrderPlaced].map(eventKeyOf)).toEqual([
      'symbol',
      'id',
      undefined,
      undefined,
    ]);
  });

  it.each(['', 7, null])('refuses %j as a key', (key) => {
    const why = `Event "price.ticked" has the key ${JSON.stringify(key)}; name a property of it, such as { key: 'symbol' }.`;
    expect(() => SseEvent('price.ticked', { key: key as never })).toThrow(refused('INVALID_EVENT_DEFINITION', why));
    expect(() => defineEvent('price.ticked', z.null(), { key: key as never })).toThrow(
      refused('INVALID_EVENT_DEFINITION', why),
    );
  });

  it('does not reach a subclass: that is an event only when it is marked itself', () => {
    class Unmarked extends OrderShipped {}
    @SseEvent('order.shipped.abroad')
    class Marked extends OrderShipped {}

    expect(() => eventNameOf(Unmarked)).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        'Class Unmarked is not an event; mark the class with @SseEvent("some.name") or use defineEvent("some.name", schema).',
      ),
    );
    expect(eventNameOf(Marked)).toBe('order.shipped.abroad');
    expect(eventNameOf(OrderShipped)).toBe('order.shipped');
  });

  it('is recognised when another copy of this library in the process made the mark', () => {
    class FromTheOtherCopy {}
    Object.defineProperty(FromTheOtherCopy, Symbol.for('@sse-channels/event-name'), { value: 'order.copied' });

    expect(eventNameOf(FromTheOtherCopy)).toBe('order.copied');
  });
});

describe('defineEvent', () => {
  it('makes an event of a schema, which cannot be changed afterwards', () => {
    expect(OrderPlaced.eventName).toBe('order.placed');
    expect(eventNameOf(OrderPlaced)).toBe('order.placed');
    expect(Object.isFrozen(OrderPlaced)).toBe(true);
  });

  it('keeps the schema, which validates and transforms', async () => {
    const dated = defineEvent('order.dated', z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }));

    expect(await dated.schema['~standard'].validate({ at: '2024-01-02T03:04:05Z' })).toEqual({
      value: { at: new Date('2024-01-02T03:04:05Z') },
    });
    expect(await OrderPlaced.schema['~standard'].validate({ total: -1 })).toMatchObject({
      issues: [{ path: ['total'], message: expect.any(String) }],
    });
  });

  it('pairs data with the event, as it is', () => {
    const data = { total: 7 };
    const placed = OrderPlaced.of(data);

    expect(placed).toBeInstanceOf(TypedEvent);
    expect(placed.type).toBe(OrderPlaced);
    expect(placed.data).toBe(data);
  });

  it('takes any Standard Schema, a function that is one included', () => {
    const schema = Object.assign(() => {}, {
      '~standard': { version: 1 as const, vendor: 'ours', validate: (value: unknown) => ({ value }) },
    });

    expect(eventNameOf(defineEvent('order.any', schema))).toBe('order.any');
  });

  it.each([[undefined], [null], [{}], [OrderShipped], [{ '~standard': {} }], ['string']])(
    'refuses %p, which is no Standard Schema',
    (schema) => {
      expect(() => defineEvent('order.bad', schema as never)).toThrow(
        refused(
          'INVALID_EVENT_DEFINITION',
          'defineEvent("order.bad", …) needs a Standard Schema (zod, valibot, arktype, …); for a class, use @SseEvent("order.bad").',
        ),
      );
    },
  );

  it('is told from a class', () => {
    expect(isEventDefinition(OrderPlaced)).toBe(true);
    expect(isEventDefinition(OrderShipped)).toBe(false);
  });
});

describe('eventNameOf', () => {
  class Unmarked {}

  it.each([
    ['an unmarked class', Unmarked, 'Class Unmarked'],
    ['undefined, as a circular import gives it', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a name', 'order.shipped', 'order.shipped'],
    ['an instance', new OrderShipped(), '[object Object]'],
    ['a bare schema', z.object({}), '[object Object]'],
    ['an object that has a schema but no name', { schema: z.object({}) }, '[object Object]'],
  ])('refuses %s', (_what, type, printed) => {
    expect(() => eventNameOf(type as EventType)).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        `${printed} is not an event; mark the class with @SseEvent("some.name") or use defineEvent("some.name", schema).`,
      ),
    );
  });
});
