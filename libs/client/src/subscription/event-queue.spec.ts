import { describe, expect, it } from '@jest/globals';
import { createEventQueue } from './event-queue.js';

const settled = async (promise: Promise<unknown> | undefined): Promise<boolean> => {
  const later = Symbol('later');
  const turn = new Promise((resolve) => setImmediate(resolve, later));
  return (await Promise.race([promise, turn])) !== later;
};

describe('an event queue', () => {
  it('without room makes the stream wait until the loop comes for the next', async () => {
    const queue = createEventQueue<number>({}, () => undefined);
    const first = queue.next();
    const pushed = queue.push(1);

    expect(await first).toEqual({ done: false, value: 1 });
    expect(await settled(pushed)).toBe(false);
    void queue.next();
    expect(await settled(pushed)).toBe(true);
  });

  it('with room makes it wait when that is taken, and not before', async () => {
    const queue = createEventQueue<number>({ maxWaiting: 2 }, () => undefined);

    const [first, second, third] = [queue.push(1), queue.push(2), queue.push(3)];

    expect([first, second]).toEqual([undefined, undefined]);
    expect(await settled(third)).toBe(false);
    expect(await queue.next()).toEqual({ done: false, value: 1 });
    expect(await settled(third)).toBe(true);
  });

  it('that drops the oldest never makes it wait, and keeps the newest', async () => {
    const queue = createEventQueue<number>({ maxWaiting: 2, whenFull: 'drop-oldest' }, () => undefined);

    const pushed = [1, 2, 3, 4, 5].map((number) => queue.push(number));
    queue.end();

    expect(pushed.every((promise) => promise === undefined)).toBe(true);
    expect([await queue.next(), await queue.next(), await queue.next()]).toEqual([
      { done: false, value: 4 },
      { done: false, value: 5 },
      { done: true, value: undefined },
    ]);
  });

  it('gives what waits before it ends with an error, which is told once', async () => {
    let ends = 0;
    const queue = createEventQueue<number>({ maxWaiting: 1 }, () => (ends += 1));
    void queue.push(1);
    queue.end(new Error('refused'));
    queue.end();

    expect(await queue.next()).toEqual({ done: false, value: 1 });
    await expect(queue.next()).rejects.toThrow('refused');
    expect(await queue.next()).toEqual({ done: true, value: undefined });
    expect(ends).toBe(1);
  });

  it('answers everyone who asked when it is left, and gives nothing any more', async () => {
    const queue = createEventQueue<number>({}, () => undefined);
    const asked = [queue.next(), queue.next()];

    queue.leave();

    expect(await Promise.all(asked)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });
});
