import { describe, expect, it } from '@jest/globals';
import type { Observer } from './observer.js';
import { observersOf } from './observers.js';

describe('several observers as one', () => {
  it('are told of everything in turn, each what it takes, as its own method', () => {
    const told: string[] = [];
    class Counting implements Observer {
      count = 0;
      failed(_error: unknown, context: string): void {
        this.count += 1;
        told.push(`counting ${context} ${this.count}`);
      }
    }
    const all = observersOf([
      { failed: (_error, context) => told.push(`first ${context}`), warned: (message) => told.push(message) },
      new Counting(),
    ]);
    all.failed?.(new Error('x'), 'reading');
    all.warned?.('appendfsync');
    expect([told, Object.keys(all)]).toEqual([
      ['first reading', 'counting reading 1', 'appendfsync'],
      ['warned', 'failed'],
    ]);
  });

  it('of none takes nothing', () => {
    expect(observersOf([])).toEqual({});
  });
});
