import { describe, expect, it } from '@jest/globals';
import { LogSpace } from './log-space.js';
import type { LogStream } from './log-stream.js';
import { RequestError, type NatsLink } from './nats-link.js';
import { TopicSubjects } from './topic-subjects.js';

describe('looks at the log space', () => {
  it('that nobody answers fail those who asked, and none that come later', async () => {
    const asked: Array<(sequence: number | null) => void> = [];
    const space = spaceOf(asked);
    const first = space.look();
    await turn();
    const second = space.look();
    const third = space.look();
    asked[0]?.(null);
    await expect(first).rejects.toThrow(RequestError);
    await turn();
    expect(asked).toHaveLength(2);
    asked[1]?.(7);
    await Promise.all([second, third]);
    expect(space.known.sequence).toBe(7);
    const fourth = space.look();
    await turn();
    asked[2]?.(9);
    await fourth;
    expect(space.known.sequence).toBe(9);
  });
});

/** Each question waits in `asked` for the sequence of the newest message; null: nobody answers. */
function spaceOf(asked: Array<(sequence: number | null) => void>): LogSpace {
  const stream = {
    lastOfLeader: async () =>
      new Promise((resolve, reject) => {
        asked.push((sequence) => {
          if (sequence === null) reject(new RequestError('late', 'Nobody answered.'));
          else resolve({ sequence, tag: 1, storedAt: 1, subject: 's', previous: 0, record: null });
        });
      }),
  };
  return new LogSpace(stream as unknown as LogStream, {} as NatsLink, new TopicSubjects('sse'));
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
