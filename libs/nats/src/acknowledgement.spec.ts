import { describe, expect, it } from '@jest/globals';
import type { AttemptFailure } from '@sse-channels/engine';
import { readAcknowledgement } from './acknowledgement.js';

describe('what JetStream answers to an append', () => {
  it('tells where the record is, and whether an earlier attempt had stored it', () => {
    expect(read({ stream: 's', seq: 7 })).toEqual({ sequence: 7, isDuplicate: false });
    expect(read({ stream: 's', seq: 7, duplicate: true })).toEqual({ sequence: 7, isDuplicate: true });
  });

  const answers: Array<[what: string, answer: object, findOnly: boolean, failure: AttemptFailure]> = [
    ['an earlier attempt without a sequence', { stream: 's', seq: 0, duplicate: true }, false, 'unknown'],
    ['the same to one that only looks', { stream: 's', seq: 0, duplicate: true }, true, 'unknown'],
    ['an earlier attempt in process', refusal(409, 10_158), false, 'unknown'],
    ['the same to one that only looks', refusal(409, 10_158), true, 'unknown'],
    ['a wrong sequence to one that only looks', refusal(400, 10_071), true, 'absent'],
    ['a wrong sequence, in process, to one that only looks', refusal(400, 10_164), true, 'absent'],
    ['no leader', refusal(503, 10_008), false, 'not-executed'],
    ['too much at a time', refusal(429, 10_167), false, 'not-executed'],
    ['a record that is too large', refusal(400, 10_054), false, 'refused'],
  ];
  for (const [what, answer, findOnly, failure] of answers) {
    it(`does not take ${what} for an acknowledgement${findOnly ? ' and finds nothing by it' : ''}: ${failure}`, () => {
      expect(() => read(answer, findOnly)).toThrow(expect.objectContaining({ name: 'AttemptError', failure }));
    });
  }
});

function read(answer: object, findOnly = false): unknown {
  return readAcknowledgement(Buffer.from(JSON.stringify(answer)), findOnly);
}

function refusal(code: number, errorCode: number): object {
  return { stream: 's', error: { code, err_code: errorCode, description: 'no' } };
}
