import { beforeEach, describe, expect, it } from '@jest/globals';
import { SharedCounts } from './shared-counts.js';

describe('counts of all nodes', () => {
  let mine: SharedCounts;
  let theirs: SharedCounts;
  const of = (name: string): number => mine.elsewhere('principal', name);
  const change = (counts: Record<string, number>) => {
    for (const [name, count] of Object.entries(counts)) theirs.changed('principal', name, count);
    return [...theirs.takeChanges()];
  };
  const all = () => ({ told: theirs.told, counts: [...theirs.all()].flat() });

  beforeEach(() => {
    mine = new SharedCounts();
    theirs = new SharedCounts();
    mine.heard('b', 0);
  });

  it('tell a name once, with what it is by then', () => {
    theirs.changed('principal', 'ada', 1);
    theirs.changed('principal', 'ada', 2);
    theirs.changed('address', 'ada', 7);
    const [told, ...more] = theirs.takeChanges();
    mine.apply('b', told!);

    expect([told!.told, told!.counts.length, more]).toEqual([1, 4, []]);
    expect([of('ada'), mine.elsewhere('address', 'ada'), [...theirs.takeChanges()]]).toEqual([2, 7, []]);
  });

  it('add up what several nodes have, and forget one that is gone', () => {
    const [told] = change({ ada: 2 });
    mine.heard('c', 0);
    mine.apply('b', told!);
    mine.apply('c', told!);
    const both = of('ada');
    mine.forget('c');

    expect([both, of('ada'), mine.elsewhere('address', 'ada')]).toEqual([4, 2, 0]);
  });

  it('hold what was told after all was asked for, and nothing that was told before', () => {
    const [first] = change({ ada: 1 });
    const [second] = change({ ada: 2, bob: 1 });
    const asOf = all();
    const [third] = change({ ada: 0, cleo: 1 });
    mine.apply('b', second!);
    mine.apply('b', third!);
    const before = [of('ada'), mine.outOfStep()];
    mine.replace('b', asOf);
    const after = [of('ada'), of('bob'), of('cleo'), mine.outOfStep()];
    mine.apply('b', first!);
    mine.replace('b', { told: 1, counts: first!.counts });

    expect([before, after]).toEqual([
      [0, ['b']],
      [0, 1, 1, []],
    ]);
    expect([of('ada'), of('bob'), mine.outOfStep()]).toEqual([0, 1, []]);
  });

  it('are out of step when one was missed, until all is told', () => {
    change({ ada: 1 });
    mine.heard('b', theirs.told);
    const missed = mine.outOfStep();
    mine.replace('b', all());

    expect([missed, mine.outOfStep(), of('ada')]).toEqual([['b'], [], 1]);
  });

  it('keep nothing of a node that nobody heard of', () => {
    const [told] = change({ ada: 1 });
    mine.apply('stranger', told!);
    mine.replace('stranger', all());

    expect([of('ada'), mine.outOfStep()]).toEqual([0, []]);
  });

  it('tell many names in several records, and too many not at all', () => {
    const names = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`user ${n}`, 1]));
    const told = change(names(12_000));
    const tooMany = change(names(50_001));

    expect(told.map(({ counts }) => counts.length)).toEqual([10_000, 10_000, 4_000]);
    expect([tooMany, theirs.told, [...theirs.all()].length]).toEqual([[], 4, 11]);
  });
});
