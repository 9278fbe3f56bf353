import { describe, expect, it, jest } from '@jest/globals';
import { setImmediate as turn } from 'node:timers/promises';
import { defineEvent, Gap, Heartbeat, SseEvent, type EventType, type StandardResult } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { concat, from, NEVER, Observable, of, Subject, throwError } from 'rxjs';
import { EventCodec, uncheckedClassValidator } from '../codec/event-codec.js';
import { ItemSource, type StreamInput, type StreamItem } from './item-source.js';

@SseEvent('step')
class Step {
  constructor(readonly n: unknown) {}
}

@SseEvent('other')
class Other {}

/** Answers a promise for even numbers only, which settles when the test says. */
const settles: Array<() => void> = [];
const slow = defineEvent('slow', {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value: unknown): StandardResult<unknown> | Promise<StandardResult<unknown>> => {
      if (value === 'bad') return { issues: [{ message: 'is bad' }] };
      const result: StandardResult<unknown> = value === 'late bad' ? { issues: [{ message: 'is bad' }] } : { value };
      const late = typeof value === 'string' || (value as number) % 2 === 0;
      return late ? new Promise<StandardResult<unknown>>((resolve) => settles.push(() => resolve(result))) : result;
    },
  },
});

const codec = new EventCodec(uncheckedClassValidator);

function begin(input: StreamInput, options: { events?: readonly EventType[]; maxBufferedBytes?: number } = {}) {
  const source = new ItemSource(input, { codec, events: [Step, slow], maxBufferedBytes: 1_048_576, ...options });
  const wake = jest.fn();
  source.start({ wake });
  const text = (): string => {
    let all = '';
    for (let bytes = source.next(65_536); bytes !== null; bytes = source.next(65_536)) all += bytes.toString();
    return all;
  };
  const slows = (): number[] => [...text().matchAll(/data: (.*)\n/g)].map(([, data]) => Number(data));
  return { source, wake, text, slows };
}

const failure = (source: ItemSource): string => String(source.outcome?.error);

describe('ItemSource of an Observable', () => {
  it('frames what it emits inside subscribe, then says that it is done', () => {
    const { source, text } = begin(of(new Step(1), new Step(null), slow.of(3)));
    expect([source.outcome, source.pending, source.cursor]).toEqual([{ reason: 'done' }, false, null]);
    expect(text()).toBe('event: step\ndata: {"n":1}\n\nevent: step\ndata: {"n":null}\n\nevent: slow\ndata: 3\n\n');
    expect(source.next(1)).toBeNull();
  });

  it('wakes its connection once for what a turn brings', async () => {
    const items = new Subject<Step>();
    const { source, wake, text } = begin(items);
    expect(wake).toHaveBeenCalledTimes(0);
    items.next(new Step(1));
    items.next(new Step(2));
    await turn();
    expect(wake).toHaveBeenCalledTimes(1);
    expect(text()).toBe('event: step\ndata: {"n":1}\n\nevent: step\ndata: {"n":2}\n\n');
    items.next(new Step(3));
    items.complete();
    await turn();
    expect([source.outcome, wake.mock.calls.length]).toEqual([{ reason: 'done' }, 2]);
  });

  it('gives what came before an error, then fails with it', () => {
    const error = new Error('the export broke');
    const { source, text } = begin(
      concat(
        of(new Step(1)),
        throwError(() => error),
      ),
    );
    expect(text()).toBe('event: step\ndata: {"n":1}\n\n');
    expect(source.outcome).toEqual({ reason: 'failed', error });
  });

  it('sends placed events, gaps and heartbeats as what they are, and stands at the last cursor', () => {
    const items: StreamItem[] = [
      { event: new Step(1), cursor: 'e~1-0' },
      new Gap('steps/1', 'trimmed', 'e~5-0'),
      new Heartbeat(),
      { event: 7, name: 'slow', cursor: 'e~6-0' },
    ];
    const { source, text } = begin(from(items));
    expect(text()).toBe(
      'id: e~1-0\nevent: step\ndata: {"n":1}\n\n' +
        'id: e~5-0\nevent: $gap\ndata: {"topic":"steps/1","reason":"trimmed"}\n\n' +
        ':\n\n' +
        'id: e~6-0\nevent: slow\ndata: 7\n\n',
    );
    expect(source.cursor).toBe('e~6-0');
  });

  it.each([
    [
      'an undeclared event',
      new Other(),
      'Event "other" is not declared on this stream; add it to the "events" of @SseStream.',
    ],
    [
      'an undeclared placed event',
      { event: { a: 1 }, name: 'strange', cursor: 'e~1-0' },
      'Event "strange" is not declared on this stream; add it to the "events" of @SseStream.',
    ],
    ['no event', 'text', 'a value of type string is not an event; pass an instance'],
    ['null', null, 'null is not an event; pass an instance'],
    ['an invalid event', slow.of('bad'), 'Event "slow" is not valid, nothing was sent: is bad'],
    ['a BigInt', new Step(1n), 'Event "step" cannot be written as JSON, nothing was sent'],
    ['a cursor that breaks its line', { event: new Step(1), cursor: 'a\nb' }, 'The id "a\\nb" has a CR, LF, NUL'],
  ])('fails at %s and takes nothing after it', (_what, item, message) => {
    const unsubscribed = jest.fn();
    const { source, text } = begin(
      new Observable<StreamItem>((subscriber) => {
        subscriber.next(new Step(1));
        subscriber.next(item as StreamItem);
        subscriber.next(new Step(2));
        return unsubscribed;
      }),
    );
    expect(text()).toBe('event: step\ndata: {"n":1}\n\n');
    expect([source.outcome?.reason, failure(source)]).toEqual(['failed', expect.stringContaining(message)]);
    expect(unsubscribed).toHaveBeenCalledTimes(1);
  });

  it('keeps the order of items that are encoded at once and later, and is done after the last', async () => {
    const { source, slows } = begin(from([1, 2, 3, 4, 5, 6].map((n) => slow.of(n))));
    expect([slows(), source.pending, source.outcome]).toEqual([[1], true, null]);
    while (source.pending) {
      settles.splice(0).forEach((resolve) => resolve());
      await Promise.resolve();
    }
    expect([slows(), source.pending, source.outcome]).toEqual([[2, 3, 4, 5, 6], false, { reason: 'done' }]);
  });

  it('fails in its turn at an item that turns out to be invalid, and gives nothing after it', async () => {
    const { source, slows } = begin(concat(from([2, 'late bad', 3].map((n) => slow.of(n))), NEVER));
    await eventually(() => {
      settles.splice(0).forEach((resolve) => resolve());
      return source.outcome !== null;
    }, 'the outcome');
    expect([slows(), failure(source)]).toEqual([[2], expect.stringContaining('is bad')]);
  });

  it('ends as slow when more waits than may, and stops one that would emit forever', () => {
    let asked = 0;
    const endless = from(
      (function* () {
        for (;;) yield new Step('x'.repeat((asked += 1) > 10_000 ? 1_000_000 : 1_000));
      })(),
    );
    const { source } = begin(endless, { maxBufferedBytes: 100_000 });
    expect([source.outcome, asked]).toEqual([{ reason: 'slow' }, expect.any(Number)]);
    expect(asked).toBeLessThan(110);
  });

  it('does not end as slow while its connection takes what it emits', () => {
    const items = new Subject<Step>();
    const { source, text } = begin(items, { maxBufferedBytes: 100_000 });
    for (let n = 0; n < 500; n += 1) {
      items.next(new Step('x'.repeat(1_000)));
      expect(text().length).toBe(1_000 + 'event: step\ndata: {"n":""}\n\n'.length);
    }
    expect(source.outcome).toBeNull();
  });

  it('unsubscribes when it is closed, also inside subscribe, and takes nothing more', () => {
    const unsubscribed = jest.fn();
    const items = new Subject<Step>();
    const { source, text } = begin(
      new Observable<Step>((subscriber) => {
        const subscription = items.subscribe(subscriber);
        return () => {
          subscription.unsubscribe();
          unsubscribed();
        };
      }),
    );
    items.next(new Step(1));
    source.close();
    source.close();
    items.next(new Step(2));
    expect([text(), unsubscribed.mock.calls.length, items.observed]).toEqual(['', 1, false]);

    let emitted = 0;
    const endless: Observable<Step> = from(
      (function* () {
        for (;;) yield new Step((emitted += 1));
      })(),
    );
    const own = new ItemSource(endless, { codec, events: [Step], maxBufferedBytes: 1_048_576 });
    own.start({ wake: () => own.close() });
    // The first wake comes with 64 KiB of frames of some thirty bytes.
    expect(emitted).toBeLessThan(3_000);
  });

  it('gives as much at a time as it is asked for, about', () => {
    const { source } = begin(from(Array.from({ length: 10 }, () => new Step('x'.repeat(1_000)))));
    const sizes: number[] = [];
    for (let bytes = source.next(2_500); bytes !== null; bytes = source.next(2_500)) sizes.push(bytes.length);
    expect(sizes).toEqual([3_084, 3_084, 3_084, 1_028]);
  });
});

describe('ItemSource of an async iterable', () => {
  it('frames what it yields, then says that it is done', async () => {
    const { source, text } = begin(
      (async function* () {
        yield new Step(1);
        await Promise.resolve();
        yield new Step(2);
      })(),
    );
    await eventually(() => source.outcome !== null, 'the outcome');
    expect(text()).toBe('event: step\ndata: {"n":1}\n\nevent: step\ndata: {"n":2}\n\n');
    expect(source.outcome).toEqual({ reason: 'done' });
  });

  it('is asked for no more than about 64 KiB ahead of its connection', async () => {
    let asked = 0;
    const { source } = begin(
      (async function* () {
        for (; asked < 500;) {
          asked += 1;
          yield new Step('x'.repeat(1_000));
        }
      })(),
      { maxBufferedBytes: 10 },
    );
    let taken = 0;
    while (source.outcome === null) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(asked * 1_028 - taken).toBeLessThan(65_536 + 1_028 + 1);
      taken += source.next(3_000)?.length ?? 0;
    }
    for (let bytes = source.next(65_536); bytes !== null; bytes = source.next(65_536)) taken += bytes.length;
    expect([source.outcome, taken]).toEqual([{ reason: 'done' }, 500 * 1_028]);
  });

  it('waits for the validator of an item before it asks for the next', async () => {
    let asked = 0;
    const { source, slows } = begin(
      (async function* () {
        for (; asked < 4;) yield slow.of((asked += 1) * 2);
      })(),
    );
    await eventually(() => settles.length === 1, 'the first validation');
    expect([asked, source.pending]).toEqual([1, true]);
    await eventually(() => {
      settles.splice(0).forEach((resolve) => resolve());
      return source.outcome !== null;
    }, 'the outcome');
    expect(slows()).toEqual([2, 4, 6, 8]);
  });

  it('fails with what it throws, after what it yielded', async () => {
    const error = new Error('the model is gone');
    const { source, text } = begin(
      (async function* () {
        yield new Step(1);
        throw error;
      })(),
    );
    await eventually(() => source.outcome !== null, 'the outcome');
    expect([text(), source.outcome]).toEqual(['event: step\ndata: {"n":1}\n\n', { reason: 'failed', error }]);
  });

  it('is returned when it is closed, while it waits and while it is held back', async () => {
    for (const size of [1, 70_000]) {
      let returned = false;
      const { source, text } = begin(
        (async function* () {
          try {
            for (;;) yield new Step('x'.repeat(size));
          } finally {
            returned = true;
          }
        })(),
      );
      await Promise.resolve();
      source.close();
      await eventually(() => returned, 'the return');
      expect(text()).toBe('');
    }
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no return');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no return'))],
    ['is not a promise', () => ({ done: true, value: undefined })],
  ])('is left alone when its return %s', async (_what, answer) => {
    const iterator = { next: () => new Promise(() => undefined), return: answer };
    const { source } = begin({ [Symbol.asyncIterator]: () => iterator as never });
    source.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(source.outcome).toBeNull();
  });

  it('fails where it cannot be iterated', async () => {
    const { source } = begin({
      [Symbol.asyncIterator]: () => {
        throw new Error('taken already');
      },
    });
    await eventually(() => source.outcome !== null, 'the outcome');
    expect(failure(source)).toBe('Error: taken already');
  });
});
