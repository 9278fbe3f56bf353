import { describe, expect, it } from '@jest/globals';
import { LogSpace } from './log-space.js';
import type { LogStream } from './log-stream.js';
import { RequestError, type NatsLink } from './nats-link.js';
import type { StoredMessage } from './record-message.js';
import { TopicSubjects } from './topic-subjects.js';

/** When the stream was made. */
const EPOCH = '1970-01-01T00:00:00Z';

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

describe('a log space in doubt', () => {
  it('learns nothing until a check that began later has answered', async () => {
    const { space, log } = logOf(5);
    await space.look();
    space.doubt();
    space.learn(9, 9, 9);
    expect([space.known.sequence, space.doubted]).toEqual([5, true]);
    const check = space.check(() => undefined);
    space.doubt();
    await check;
    expect(space.doubted).toBe(true);
    log.push(messageOf(6));
    await space.check(() => undefined);
    expect([space.doubted, space.takeCut()]).toEqual([false, null]);
    await space.look();
    expect(space.known.sequence).toBe(6);
  });

  it('finds that what it knew is gone, however much was written since, and tells readers and the other nodes once', async () => {
    for (const since of [0, 1, 2, 3, 7]) {
      const { space, log, marks } = logOf(8);
      await space.look();
      space.doubt();
      log.splice(5);
      for (let n = 0; n < since; n += 1) log.push(messageOf(6 + n, 1_000));
      await space.check(() => undefined);
      expect(space.takeCut()).toEqual({ sequence: 5, tag: 5, storedBy: 5 });
      marks.fail = true;
      await expect(space.writeMarks()).rejects.toThrow(RequestError);
      marks.fail = false;
      await space.writeMarks();
      await space.writeMarks();
      expect(marks.written.map((mark) => (JSON.parse(mark) as { cut: number }).cut)).toEqual([5]);
      await space.check(() => undefined);
      expect(space.takeCut()).toBe(null);
      expect(space.breakAfter({ sequence: 7, tag: 7 }, false)).toMatchObject({
        reason: 'rewound',
        from: { sequence: 5 },
      });
    }
  });

  it('sees by the time of the store that a live message has a sequence that was used before', () => {
    const { space } = logOf(0);
    expect([7, 8, 8, 7].map((sequence) => space.isReused(messageOf(sequence)))).toEqual([false, false, false, false]);
    expect(space.isReused(messageOf(7, 1_000))).toBe(true);
    space.doubt();
    expect([7, 8].map((sequence) => space.isReused(messageOf(sequence, 1_000)))).toEqual([false, false]);
  });
});

/** A message that was stored in its place, in milliseconds since 1970 by the clock of the server, or so much later. */
function messageOf(sequence: number, laterMs = 0): StoredMessage {
  const tag = sequence + laterMs;
  return { sequence, tag, storedAt: tag, subject: 's', previous: 0, record: null };
}

/** A space over a stream of so many messages. */
function logOf(count: number) {
  const log = Array.from({ length: count }, (_, index) => messageOf(index + 1));
  const marks = { written: [] as string[], fail: false };
  const stream = {
    info: () => Promise.resolve({ created: EPOCH, state: { last_seq: log.length } }),
    get: (sequence: number) => Promise.resolve(log[sequence - 1] ?? null),
    next: (_: string, sequence: number) => Promise.resolve(log[sequence - 1] ?? null),
    lastOfLeader: () => Promise.resolve(log.at(-1) ?? null),
    page: () => Promise.resolve({ messages: [], more: false }),
  };
  const link = {
    request: (_: string, mark: string) => {
      if (marks.fail) return Promise.reject(new RequestError('lost', 'The link was lost.'));
      marks.written.push(mark);
      return Promise.resolve();
    },
  };
  const space = new LogSpace(stream as unknown as LogStream, link as unknown as NatsLink, new TopicSubjects('sse'));
  space.adopt(EPOCH);
  return { space, log, marks };
}

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
