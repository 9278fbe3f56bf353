import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { defineEvent, formatCursor, formatOffset, Gap, Heartbeat, SseEvent } from '@sse-channels/protocol';
import { concat, EMPTY, from, NEVER, Observable, of, Subject, take, throwError } from 'rxjs';
import { z } from 'zod';
import { heartbeat, ofEvent, replayFrom } from './operators.js';

@SseEvent('count')
class Count {
  constructor(readonly n: number) {}
}

@SseEvent('other')
class Other {}

const schemaEvent = defineEvent('schema', z.number());
const cursorAt = (n: number, epoch = 'e'): string => formatCursor(epoch, formatOffset(n, 0));
const items = (...numbers: number[]) => from(numbers.map((n) => ({ n, cursor: cursorAt(n) })));

/** Everything that an Observable told, in one line. */
function told(source: Observable<unknown>): string {
  const all: string[] = [];
  source.subscribe({
    next: (item) =>
      all.push(item instanceof Gap ? item.reason : item instanceof Heartbeat ? 'heartbeat' : String((item as Count).n)),
    error: (error: unknown) => all.push(String((error as { code?: string }).code ?? error)),
    complete: () => all.push('|'),
  });
  return all.join(' ');
}

function* endless(): Generator<{ n: number; cursor: string }> {
  for (let n = 1; ; n += 1) yield { n, cursor: cursorAt(n) };
}

describe('replayFrom on an Observable of your own', () => {
  it('leaves out what lies up to the cursor', () => {
    expect(told(items(1, 2, 3, 4).pipe(replayFrom(cursorAt(2))))).toBe('3 4 |');
    expect(told(items(1, 2).pipe(replayFrom(cursorAt(2))))).toBe('|');
  });

  it('leaves out nothing without a cursor', () => {
    expect(told(items(1, 2).pipe(replayFrom(null)))).toBe('1 2 |');
    expect(told(items(1, 2).pipe(replayFrom(undefined)))).toBe('1 2 |');
    expect(told(of({ n: 1 }).pipe(replayFrom(null)))).toBe('1 |');
  });

  it.each([
    ['trimmed', 'the item is not there any more', cursorAt(3), 'trimmed 4 5 |', [1, 2, 4, 5]],
    ['reset', 'the items are of another epoch', cursorAt(3, 'other'), 'reset 1 2 |', [1, 2]],
    ['rewound', 'the items end before it', cursorAt(9), 'rewound |', [1, 2]],
    ['invalid', 'the cursor is none', 'no cursor', 'invalid 1 2 |', [1, 2]],
  ])('tells a Gap "%s" when %s', (_reason, _why, cursor, expected, numbers) => {
    expect(told(items(...numbers).pipe(replayFrom(cursor)))).toBe(expected);
  });

  it.each([
    ['invalid', '\n\nevent: admin', ''],
    ['reset', cursorAt(3, 'other'), ''],
    ['trimmed', cursorAt(0), cursorAt(0)],
  ])('places a Gap "%s" without repeating what the client sent, unless it stands there', (reason, cursor, expected) => {
    const gaps: unknown[] = [];
    items(1)
      .pipe(replayFrom(cursor))
      .subscribe((item) => item instanceof Gap && gaps.push(item));
    expect(gaps).toEqual([new Gap('', reason as Gap['reason'], expected)]);
  });

  it('tells a Gap of an Observable that ends with nothing', () => {
    expect(told(EMPTY.pipe(replayFrom(cursorAt(1))))).toBe('rewound |');
  });

  it('lets heartbeats, gaps and errors pass, before the cursor too', () => {
    const source = concat(
      of(new Heartbeat(), new Gap('t', 'reset', cursorAt(0))),
      items(1, 2),
      throwError(() => new Error('broken')),
    );
    expect(told(source.pipe(replayFrom(cursorAt(1))))).toBe('heartbeat reset 2 Error: broken');
  });

  it.each([[{ n: 1 }], [{ n: 1, cursor: 'no cursor' }], [null], ['text']])('errors at the item %j', (item) => {
    expect(told(of(item).pipe(replayFrom(cursorAt(1))))).toBe('INVALID_CURSOR');
  });

  it('stops an Observable that emits everything inside subscribe', () => {
    expect(told(from(endless()).pipe(replayFrom(cursorAt(2)), take(2)))).toBe('3 4 |');
  });
});

describe('heartbeat', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('emits only when nothing else was emitted for so long', () => {
    const source = new Subject<{ n: number }>();
    const all: string[] = [];
    const subscription = source
      .pipe(heartbeat(100))
      .subscribe((item) => all.push(item instanceof Heartbeat ? 'heartbeat' : String(item.n)));
    jest.advanceTimersByTime(99);
    source.next({ n: 1 });
    jest.advanceTimersByTime(99);
    source.next({ n: 2 });
    expect(all).toEqual(['1', '2']);
    jest.advanceTimersByTime(200);
    expect(all).toEqual(['1', '2', 'heartbeat', 'heartbeat']);
    subscription.unsubscribe();
    expect([jest.getTimerCount(), source.observed]).toEqual([0, false]);
  });

  it('leaves no timer when its source completes, errors or is stopped, inside subscribe too', () => {
    expect(told(of({ n: 1 }).pipe(heartbeat(100)))).toBe('1 |');
    expect(told(throwError(() => new Error('broken')).pipe(heartbeat(100)))).toBe('Error: broken');
    expect(told(from(endless()).pipe(heartbeat(100), take(2)))).toBe('1 2 |');
    const source = new Subject<never>();
    source.pipe(heartbeat(100)).subscribe();
    source.complete();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('has a timer for each subscriber', () => {
    const beating = NEVER.pipe(heartbeat(100));
    const subscriptions = [beating.subscribe(), beating.subscribe()];
    expect(jest.getTimerCount()).toBe(2);
    for (const subscription of subscriptions) subscription.unsubscribe();
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each([0, -1, 1.5, NaN, 2 ** 31])('refuses %j milliseconds', (ms) => {
    expect(() => heartbeat(ms)).toThrow(`heartbeat(ms) takes a whole number from 1 to 2147483647, not ${ms}.`);
  });
});

describe('ofEvent', () => {
  const delivery = (name: string, event: unknown) => ({ topic: {}, name, event, cursor: cursorAt(1) });
  const passed = (all: readonly unknown[], type: Parameters<typeof ofEvent>[0]): unknown[] => {
    const out: unknown[] = [];
    from(all)
      .pipe(ofEvent(type))
      .subscribe((item) => out.push(item));
    return out;
  };

  it('lets deliveries, instances and paired data of one event pass, with every Gap and Heartbeat', () => {
    const [gap, beat] = [new Gap('t', 'trimmed', cursorAt(1)), new Heartbeat()];
    const counts = [delivery('count', new Count(1)), new Count(2), { event: new Count(3), cursor: cursorAt(3) }];
    const schemas = [delivery('schema', 4), schemaEvent.of(5), { event: schemaEvent.of(6), cursor: cursorAt(6) }];
    const rest = [delivery('other', new Other()), new Other(), null, 7, 'count', {}, { event: null }];
    const all = [...counts, gap, ...schemas, beat, ...rest];
    expect(passed(all, Count)).toEqual([...counts, gap, beat]);
    expect(passed(all, schemaEvent)).toEqual([gap, ...schemas, beat]);
  });

  it('refuses what is no event', () => {
    expect(() => ofEvent(class Plain {})).toThrow('Class Plain is not an event');
  });

  it('stops an Observable that emits everything inside subscribe', () => {
    let asked = 0;
    const source = from(
      (function* () {
        for (;;) yield new Count((asked += 1));
      })(),
    );
    expect(told(source.pipe(ofEvent(Count), take(2)))).toBe('1 2 |');
    expect(asked).toBe(2);
  });
});
