import { describe, expect, it } from '@jest/globals';
import type { GapReason } from '@sse-channels/protocol';
import type { Given } from './cluster-client.js';
import { judgeClient, judgeLog, type LogRecord } from './verdict.js';

const log = (...numbers: number[]): LogRecord[] => numbers.map((number, at) => ({ number, offset: `a-${at + 1}` }));
const given = (...items: Array<number | GapReason>): Given[] =>
  items.map((item) => (typeof item === 'number' ? { topic: 't', number: item } : { topic: 't', gap: item }));
const judge = (items: Given[], records: readonly LogRecord[]) => judgeClient(items, ['t'], new Map([['t', records]]));

const CLEAN = { missed: [], doubled: [], reordered: [], untold: [], crossed: [], gaps: 0, needless: 0 };

/** The judge itself: what it would say of a backplane that breaks its word. */
describe('the verdict on a client', () => {
  it('is clean where it was given the log, which need not be dense', () => {
    expect(judge(given(1, 2, 5), log(1, 2, 5))).toEqual(CLEAN);
  });

  it.each<[string, Given[], object]>([
    ['an event in the middle', given(1, 3), { missed: ['t/2'] }],
    ['the first', given(2, 3), { missed: ['t/1'] }],
    ['the last', given(1, 2), { missed: ['t/3'] }],
    ['all', [], { missed: ['t/1', 't/2', 't/3'] }],
  ])('names what was missed: %s', (_, items, wrong) => {
    expect(judge(items, log(1, 2, 3))).toEqual({ ...CLEAN, ...wrong });
  });

  it('names what came twice, and what came too late', () => {
    expect(judge(given(1, 2, 2, 3), log(1, 2, 3))).toEqual({ ...CLEAN, doubled: ['t/2'] });
    expect(judge(given(1, 3, 2), log(1, 2, 3))).toEqual({ ...CLEAN, missed: ['t/2'], reordered: ['t/2'] });
  });

  it('takes a gap for what is missing right there, and nowhere else', () => {
    expect(judge(given(1, 'trimmed', 3, 4), log(1, 2, 3, 4))).toEqual({ ...CLEAN, gaps: 1 });
    expect(judge(given(1, 'trimmed', 3, 5), log(1, 2, 3, 4, 5))).toEqual({ ...CLEAN, gaps: 1, missed: ['t/4'] });
    expect(judge(given(1, 'reset'), log(1, 2))).toEqual({ ...CLEAN, gaps: 1 });
  });

  it('counts a gap that was told where nothing is missing', () => {
    expect(judge(given(1, 'trimmed', 2), log(1, 2))).toEqual({ ...CLEAN, gaps: 1, needless: 1 });
  });

  it('demands a gap after events that the log has lost since', () => {
    expect(judge(given(1, 2, 3, 'rewound', 9), log(1, 9))).toEqual({ ...CLEAN, gaps: 1 });
    expect(judge(given(1, 2, 3, 9), log(1, 9))).toEqual({ ...CLEAN, untold: ['t/2', 't/3'] });
    expect(judge(given(1, 2), log(1))).toEqual({ ...CLEAN, untold: ['t/2'] });
  });

  it('takes what was lost and written again for two events, which need a gap between them', () => {
    const at = (number: number, offset: string): Given => ({ topic: 't', number, offset });
    const gap: Given = { topic: 't', gap: 'rewound' };
    const written = log(1, 2);
    expect(judge([at(1, 'a-1'), at(2, 'a-9'), gap, at(2, 'a-2')], written)).toEqual({ ...CLEAN, gaps: 1 });
    expect(judge([at(1, 'a-1'), at(2, 'a-9'), at(2, 'a-2')], written)).toEqual({ ...CLEAN, untold: ['t/2'] });
    expect(judge([at(1, 'a-1'), at(2, 'a-2'), gap, at(2, 'a-2')], written)).toMatchObject({ doubled: ['t/2'] });
  });

  it('names what came before a record of another topic that lies before it', () => {
    const logs = new Map([
      ['t', [{ number: 1, offset: 'a-1' }]],
      ['u', [{ number: 1, offset: 'a-2' }]],
    ]);
    const items = [
      { topic: 'u', number: 1 },
      { topic: 't', number: 1 },
    ];
    expect(judgeClient(items, ['t', 'u'], logs)).toEqual({ ...CLEAN, crossed: ['t/1'] });
  });
});

describe('the verdict on a log', () => {
  const published = (acknowledged: number[], notWritten: number[] = []) => ({
    acknowledged: new Map(acknowledged.map((number) => [number, `epoch~a-${number}`])),
    notWritten: new Set(notWritten),
    unknown: new Set<number>(),
  });
  const fine = { lost: [], doubled: [], reordered: [], misplaced: [], denied: [] };

  it('is clean where it has what was acknowledged, and what nobody was told of', () => {
    expect(judgeLog(log(1, 2, 3), published([1, 3]))).toEqual(fine);
  });

  it('names what is lost, doubled, reordered, elsewhere, or there in spite of the word that it is not', () => {
    expect(judgeLog(log(1, 2), published([1, 2, 3]))).toEqual({ ...fine, lost: [3] });
    expect(judgeLog(log(1, 2, 2), published([1]))).toEqual({ ...fine, doubled: [2] });
    expect(judgeLog(log(1, 3, 2), published([1]))).toEqual({ ...fine, reordered: [2] });
    expect(judgeLog(log(2, 1, 3), published([1, 3]))).toEqual({ ...fine, reordered: [1], misplaced: [1] });
    expect(judgeLog(log(1, 2), published([1], [2]))).toEqual({ ...fine, denied: [2] });
  });
});
