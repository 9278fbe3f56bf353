import { runInNewContext } from 'node:vm';
import { describe, expect, it, jest } from '@jest/globals';
import { defineEvent, EventValidationError, SseEvent } from '@sse-channels/protocol';
import { z } from 'zod';
import type { Draft, EventRecord } from '../backplane/backplane.js';
import { EventCodec, uncheckedClassValidator, unpackInstance } from './event-codec.js';

@SseEvent('thing')
class Thing {
  value?: unknown;
}

const anything = defineEvent('anything', z.any());
const codec = new EventCodec(uncheckedClassValidator);

const recordOf = ({ name, data }: Draft): EventRecord => ({
  topic: 't',
  offset: '1-1',
  prev: null,
  name,
  data,
  time: 0,
});
const encode = (data: unknown): Draft => codec.encode(anything, data) as Draft;

function nested(depth: number): unknown {
  let value: unknown = 'bottom';
  for (let n = 0; n < depth; n += 1) value = n % 2 === 0 ? [value] : { value };
  return value;
}

describe('EventCodec', () => {
  it.each([
    ['null', null, 'null'],
    ['a number', 1.5, '1.5'],
    ['line ends and NUL', 'a\r\n\0b', '"a\\r\\n\\u0000b"'],
    ['a lone surrogate', 'a\ud834', '"a\\ud834"'],
    ['a date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ['nothing in an array', [undefined, () => 1], '[null,null]'],
    ['what JSON leaves out', { a: undefined, b: Symbol('b'), c: 1 }, '{"c":1}'],
  ])('writes %s as one line of JSON', (_what, data, json) => {
    expect(encode(data)).toEqual({ name: 'anything', data: json });
  });

  it.each([
    ['a BigInt', { value: 1n }, 'Do not know how to serialize a BigInt'],
    ['undefined', undefined, 'a value of type undefined has no JSON form'],
    ['a function', () => 1, 'a value of type function has no JSON form'],
    ['a symbol', Symbol('s'), 'a value of type symbol has no JSON form'],
    ['what turns into nothing', { toJSON: () => undefined }, 'a value of type object has no JSON form'],
    ['a toJSON that throws', { toJSON: throwing(new RangeError('not now')) }, 'not now'],
    ['a proxy that throws', new Proxy({}, { get: throwing(new Error('no')) }), 'no'],
    ['a toJSON that throws a text', { toJSON: throwing('never') }, 'never'],
    ['a toJSON that throws what has no text', { toJSON: throwing(Object.create(null)) }, 'a value of type object'],
  ])('refuses %s', (_what, data, why) => {
    expect(() => encode(data)).toThrow(
      expect.objectContaining({
        code: 'EVENT_NOT_SERIALIZABLE',
        message: `Event "anything" cannot be written as JSON, nothing was sent: ${why}. Send plain data, and null for "nothing".`,
      }),
    );
  });

  it('takes the key from what was valid, and refuses an event without one', () => {
    const ticked = defineEvent('ticked', z.object({ id: z.unknown() }), { key: 'id' });
    expect(codec.encode(ticked, { id: 7 })).toEqual({ name: 'ticked', data: '{"id":7}', key: '7' });
    expect(codec.encode(ticked, { id: 'ACME' })).toEqual({ name: 'ticked', data: '{"id":"ACME"}', key: 'ACME' });
    for (const [id, what] of [
      [null, 'null'],
      [{}, 'a value of type object'],
    ]) {
      expect(() => codec.encode(ticked, { id })).toThrow(
        `Event "ticked" is not valid, nothing was sent: id: must be a string or a number, as the event's key, not ${what as string}`,
      );
    }
  });

  it('refuses a cycle', () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    expect(() => encode(cycle)).toThrow('circular structure');
  });

  it('gives back 200 levels and a mebibyte as they were', () => {
    const deep = nested(200);
    const large = { text: 'ü'.repeat(524_288) };
    expect(codec.decode(anything, recordOf(encode(deep)))).toEqual(deep);
    expect(codec.decode(anything, recordOf(encode(large)))).toEqual(large);
  });

  it('keeps a key __proto__ as data, on the event alone', () => {
    const data: unknown = JSON.parse('{"__proto__":{"forged":true},"constructor":1}');
    const draft = codec.encode(Thing, data) as Draft;
    const event = codec.decode(Thing, recordOf(draft)) as Thing;
    expect(draft.data).toBe('{"__proto__":{"forged":true},"constructor":1}');
    expect(event).toBeInstanceOf(Thing);
    expect('forged' in event).toBe(false);
    expect(Object.keys(event)).toEqual(['__proto__', 'constructor']);
    expect('forged' in {}).toBe(false);
  });

  it('reads a class event as an instance, and a schema event as it is', () => {
    const thing = codec.decode(Thing, recordOf(codec.encode(Thing, { value: 1 }) as Draft));
    expect(thing).toBeInstanceOf(Thing);
    expect(thing).toEqual(Object.assign(new Thing(), { value: 1 }));
    expect(codec.decode(anything, recordOf(encode(null)))).toBeNull();
    expect(codec.decode(anything, recordOf(encode([1])))).toEqual([1]);
  });

  it('reads a record once for all', () => {
    const revive = jest.fn(uncheckedClassValidator.revive);
    const counting = new EventCodec({
      ...uncheckedClassValidator,
      revive: revive as typeof uncheckedClassValidator.revive,
    });
    const record = recordOf({ name: 'thing', data: '{"value":1}' });
    const first = counting.decode(Thing, record);
    expect(counting.decode(Thing, record)).toBe(first);
    expect(revive).toHaveBeenCalledTimes(1);
    expect(counting.decode(Thing, { ...record })).not.toBe(first);
  });

  it('writes an instance of the class as it is', () => {
    const thing = Object.assign(new Thing(), { value: 'x' });
    expect(codec.encode(Thing, thing)).toEqual({ name: 'thing', data: '{"value":"x"}' });
  });

  it.each([
    [null, 'null'],
    [[], 'an array'],
    ['text', 'a value of type string'],
    [undefined, 'a value of type undefined'],
  ])('refuses %j as the data of a class', (data, described) => {
    const validate = (): unknown => codec.encode(Thing, data);
    expect(validate).toThrow(EventValidationError);
    expect(validate).toThrow(`Event "thing" is not valid, nothing was sent: must be an object, not ${described}`);
  });

  it('lists every property that a schema refuses, by its dotted name', () => {
    const order = defineEvent(
      'order',
      z.object({ id: z.string(), lines: z.array(z.object({ count: z.number() })), note: z.string() }),
    );
    const refused = (): unknown => codec.encode(order, { id: 1, lines: [{ count: 1 }, { count: 'two' }], note: 'ok' });
    expect(refused).toThrow(
      expect.objectContaining({
        code: 'EVENT_INVALID',
        eventName: 'order',
        issues: [expect.objectContaining({ property: 'id' }), expect.objectContaining({ property: 'lines.1.count' })],
      }),
    );
  });

  it('writes what the schema put out, not what was put in', () => {
    const trimmed = defineEvent('trimmed', z.string().trim());
    expect(codec.encode(trimmed, '  x ')).toEqual({ name: 'trimmed', data: '"x"' });
  });

  it('counts the bytes of the JSON, and refuses an event that has more than it may', () => {
    const bounded = new EventCodec(uncheckedClassValidator, 10);
    const write = (text: string): Draft => bounded.encode(anything, text) as Draft;

    for (const text of ['12345678', '漢🚚', '123456\n']) expect(write(text).data).toBe(JSON.stringify(text));
    for (const [text, bytes] of [
      ['123456789', 11],
      ['漢🚚é', 11],
      ['1234567\n', 11],
      ['x'.repeat(100), 102],
    ] as const) {
      expect(() => write(text)).toThrow(
        expect.objectContaining({
          code: 'EVENT_TOO_LARGE',
          message: `Event "anything" has ${bytes} bytes of JSON, nothing was sent: limits.eventBytes is 10. Send several smaller events or a link to what is large, or raise the limit.`,
        }),
      );
    }
  });

  it('waits for validators that are asynchronous, with promises of this realm or another', async () => {
    const slow = defineEvent(
      'slow',
      z.string().refine(async (text) => text !== 'no'),
    );
    const foreign = new EventCodec({
      ...uncheckedClassValidator,
      validate: () => runInNewContext('Promise.resolve({ value: 1 })') as never,
    });
    const encoded = foreign.encode(Thing, { value: 1 });
    expect(encoded).toBeInstanceOf(Promise);
    await expect(encoded).resolves.toEqual({ name: 'thing', data: '{"value":1}' });
    // zod answers a promise only where its schema turned out to need one.
    await expect(Promise.resolve(codec.encode(slow, 'yes'))).resolves.toEqual({ name: 'slow', data: '"yes"' });
    await expect(Promise.resolve(codec.encode(slow, 'no'))).rejects.toBeInstanceOf(EventValidationError);
  });
});

describe('unpackInstance', () => {
  it('takes instances of classes and of definitions', () => {
    const thing = new Thing();
    expect(unpackInstance(thing)).toEqual({ type: Thing, data: thing });
    expect(unpackInstance(anything.of(null))).toEqual({ type: anything, data: null });
  });

  it.each([
    [null, 'null'],
    ['text', 'a value of type string'],
    [undefined, 'a value of type undefined'],
  ])('refuses %j', (value, described) => {
    expect(() => unpackInstance(value)).toThrow(
      `${described} is not an event; pass an instance of a class marked with @SseEvent, or definition.of(data).`,
    );
  });
});

function throwing(thrown: unknown): () => never {
  return () => {
    throw thrown;
  };
}
