import { describe, expect, it } from '@jest/globals';
import { judge, Ledger, type Received } from './ledger.js';

describe('the judge of what a client received', () => {
  const row = [1, 2, 3, 4, 5];

  it.each<[string, Received[], 'none' | 'may be', string[]]>([
    ['finds nothing wrong with the row itself', row, 'none', []],
    ['sees what is lost, at the end too', [1, 3, 4], 'none', ['lost: 2, 5']],
    ['sees what came twice', [1, 2, 2, 3, 4, 5, 1], 'none', ['doubled: 2, 1']],
    ['sees what came too late', [1, 3, 2, 4, 5], 'none', ['out of order: 2']],
    ['sees what nobody published for it', [9, ...row], 'none', ['not to be expected: 9']],
    ['sees a gap that is none', ['gap', ...row], 'none', ['1 gap told falsely']],
    ['excuses what a gap stands for', [1, 'gap', 4, 5], 'may be', []],
    ['excuses nothing before and after a gap', [1, 'gap', 3, 5], 'may be', ['lost: 4']],
    ['excuses all that follows a gap at the end', [1, 'gap'], 'may be', []],
  ])('%s', (_, received, gaps, findings) => {
    expect(judge(row, received, gaps)).toEqual(findings);
  });

  it('knows that what was acknowledged before another was sent comes before it', () => {
    const ledger = new Ledger();
    ledger.send(1);
    ledger.send(2);
    ledger.acknowledge(1);
    ledger.acknowledge(2);
    ledger.send(3);
    ledger.acknowledge(3);
    ledger.send(4);

    expect(ledger.outOfOrder([2, 1, 3])).toEqual([]);
    expect(ledger.outOfOrder([3, 1, 2])).toEqual([1, 2]);
    expect(ledger.acknowledged).toEqual([1, 2, 3]);
  });
});
