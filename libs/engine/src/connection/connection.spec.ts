import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { RecordingSink } from '@sse-channels/testing';
import type { EndReason } from '@sse-channels/protocol';
import { Connection } from './connection.js';
import type { Grant } from './grant.js';
import type { Source, SourceOutcome, Waker } from './source.js';

const OPEN = 'retry: 3000\nevent: $open\ndata: {"protocol":1,"connection":"c1","heartbeatMs":15000,"topics":[]}\n\n';

class ScriptedSource implements Source {
  readonly topics = [];
  cursor: string | null = null;
  pending = false;
  outcome: SourceOutcome | null = null;
  closed = 0;
  due: string[] = [];
  wake: () => void = () => undefined;

  start(waker: Waker): void {
    this.wake = () => waker.wake();
  }
  next(): Buffer | null {
    const bytes = this.due.shift();
    return bytes === undefined ? null : Buffer.from(bytes);
  }
  close(): void {
    this.closed += 1;
  }
}

function opened(prepare: (sink: RecordingSink, source: ScriptedSource) => void = () => undefined, grant?: Grant) {
  const sink = new RecordingSink();
  const source = new ScriptedSource();
  prepare(sink, source);
  const told: Array<EndReason | 'closed'> = [];
  const connection = new Connection(
    sink,
    source,
    { id: 'c1', heartbeatMs: 15_000, retryMs: 3_000, ...(grant === undefined ? {} : { grant }) },
    {
      onEnd: (_connection, reason) => told.push(reason),
      onClose: () => told.push('closed'),
      describeError: () => ({ message: 'Internal error', status: 500, comeBack: true }),
    },
  );
  connection.open();
  return { connection, sink, source, told };
}

describe('Connection', () => {
  it('writes $open first, with the cursor where there is one', () => {
    const { sink } = opened((_sink, source) => {
      source.cursor = 'e~1-0';
      source.due = ['first'];
    });
    expect(sink.text).toBe(OPEN.replace('event', 'id: e~1-0\nevent') + 'first');
  });

  it('asks for the next bytes only when the sink has taken the last', () => {
    const { sink, source } = opened((prepared) => {
      prepared.fills = () => true;
    });
    source.due = ['a', 'b', 'c'];
    source.wake();
    expect([sink.text, source.due]).toEqual([OPEN, ['a', 'b', 'c']]);
    sink.drain();
    sink.drain();
    expect([sink.text, source.due, sink.writesWhileFull]).toEqual([`${OPEN}ab`, ['c'], 0]);
  });

  it('ends as answered without a word, after what is due and with the cursor after it', () => {
    const { connection, sink, source, told } = opened((_sink, prepared) => {
      prepared.cursor = 'e~1-0';
    });
    source.pending = true;
    connection.onEnough();
    const before = [...told];
    source.due = ['late'];
    source.pending = false;
    source.cursor = 'e~2-0';
    source.wake();
    expect([before, told]).toEqual([[], ['answered', 'closed']]);
    expect(sink.text).toBe(`${OPEN.replace('event', 'id: e~1-0\nevent')}late:\nid: e~2-0\n\n`);
  });

  it('ends an answer that is full with what it holds, and holds it against nobody', () => {
    const { connection, sink, source, told } = opened();
    const hold = jest.fn();
    Object.assign(source, { hold });
    sink.fills = () => {
      connection.onEnough();
      return true;
    };
    source.due = ['first', 'second'];
    source.pending = true;
    source.wake();
    sink.drain();
    expect([told, sink.text, source.due]).toEqual([['answered', 'closed'], `${OPEN}first:\n\n`, ['second']]);
    expect(hold).not.toHaveBeenCalled();
  });

  it('closes when its source is done, after what it had', () => {
    const { sink, source, told } = opened();
    source.due = ['last'];
    source.outcome = { reason: 'done' };
    source.wake();
    source.wake();
    expect(sink.text).toBe(`${OPEN}lastid: $end\nevent: $closing\ndata: {"reason":"done","comeBack":false}\n\n`);
    expect([told, source.closed]).toEqual([['done', 'closed'], 1]);
  });

  it('tells $error and $closing in one write when its source has failed', () => {
    const { sink, source, told } = opened();
    source.outcome = { reason: 'failed', error: new Error('secret') };
    source.wake();
    expect(sink.writes.slice(1).map(String)).toEqual([
      'event: $error\ndata: {"message":"Internal error","status":500,"comeBack":true}\n\n' +
        'retry: 3000\nevent: $closing\ndata: {"reason":"failed","comeBack":true}\n\n',
    ]);
    expect(told).toEqual(['failed', 'closed']);
  });

  it('tells a failure to a blocked peer when it drains', () => {
    const { sink, source, told } = opened((prepared) => {
      prepared.fills = () => true;
    });
    source.outcome = { reason: 'failed', error: new Error('secret') };
    source.wake();
    expect([sink.text, told]).toEqual([OPEN, []]);
    sink.fills = () => false;
    sink.drain();
    expect(sink.text).toContain('$error');
    expect(told).toEqual(['failed', 'closed']);
  });

  it('does not wait for the peer when its source is too slow for it', () => {
    const { source, sink, told } = opened((prepared) => {
      prepared.fills = () => true;
    });
    source.outcome = { reason: 'slow' };
    source.wake();
    expect([told, sink.ended, source.closed]).toEqual([['slow'], true, 1]);
    expect(sink.text).toBe(`${OPEN}retry: 3000\nevent: $closing\ndata: {"reason":"slow","comeBack":true}\n\n`);
  });

  it('waits with its end for what is on its way', () => {
    const { connection, source, sink } = opened();
    source.pending = true;
    connection.end('drained');
    expect(sink.text).toBe(OPEN);
    source.pending = false;
    source.due = ['the last'];
    source.wake();
    expect(sink.text).toBe(
      `${OPEN}the lastretry: 3000\nevent: $closing\ndata: {"reason":"drained","comeBack":true}\n\n`,
    );
  });

  it('ends once, for the first reason', () => {
    const { connection, sink, source, told } = opened();
    sink.close();
    connection.end('revoked');
    connection.destroy();
    sink.stall();
    source.due = ['too late'];
    source.wake();
    connection.tick(Number.MAX_SAFE_INTEGER);
    expect([told, sink.text, source.closed]).toEqual([['client-left', 'closed'], OPEN, 1]);
  });

  it('is cut with the reason for which it was ending', () => {
    const { connection, sink, told } = opened((prepared) => {
      prepared.fills = () => true;
    });
    connection.end('drained');
    connection.destroy();
    expect([told, sink.destroyed]).toEqual([['drained', 'closed'], true]);
  });
});

describe('a grant', () => {
  const everyMs = 60_000;

  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  /** A connection, ticked each second, whose grant is asked about; what was asked waits for its answer. */
  function reviewed() {
    const answers: Array<PromiseWithResolvers<number | null | false>> = [];
    const ask = () => {
      const answer = withResolvers<number | null | false>();
      answers.push(answer);
      return answer.promise;
    };
    const { connection, ...rest } = opened(undefined, { endsAt: null, review: { everyMs, ask } });
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 1_000) {
        await jest.advanceTimersByTimeAsync(1_000);
        connection.tick(Date.now());
      }
    };
    return { connection, answers, pass, ...rest };
  }

  it('is asked about between half of the interval and the whole of it at first, then at each', async () => {
    const { answers, pass } = reviewed();

    await pass(29_000);
    expect(answers).toHaveLength(0);
    await pass(32_000);
    expect(answers).toHaveLength(1);
    answers[0]?.resolve(null);
    await pass(59_000);
    expect(answers).toHaveLength(1);
    await pass(2_000);
    expect(answers).toHaveLength(2);
  });

  it('is not asked about twice at a time, and no heartbeat is written until it is known', async () => {
    const { answers, pass, sink } = reviewed();
    await pass(61_000);
    const before = sink.writes.length;

    await pass(120_000);
    expect([answers.length, sink.writes.length]).toEqual([1, before]);
    answers[0]?.resolve(null);
    await pass(1_000);
    expect(sink.writes.slice(before).join('')).toBe(':\n\n');
  });

  it('ends the connection as revoked when it was withdrawn, with leave to come back', async () => {
    const { answers, pass, sink, told } = reviewed();
    await pass(61_000);

    answers[0]?.resolve(false);
    await pass(1_000);
    expect(told).toEqual(['revoked', 'closed']);
    expect(sink.text.endsWith('retry: 3000\nevent: $closing\ndata: {"reason":"revoked","comeBack":true}\n\n')).toBe(
      true,
    );
  });

  it('ends the connection as failed when nobody could say', async () => {
    const { answers, pass, told } = reviewed();
    await pass(61_000);

    answers[0]?.reject(new Error('the session store is down'));
    await pass(1_000);
    expect(told).toEqual(['failed', 'closed']);
  });

  it('may come with another end than before', async () => {
    const { answers, pass, told } = reviewed();
    await pass(61_000);

    answers[0]?.resolve(Date.now() + 10_000);
    await pass(9_000);
    expect(told).toEqual([]);
    await pass(2_000);
    expect(told).toEqual(['expired', 'closed']);
  });

  it('that is answered after the end changes nothing any more', async () => {
    const { answers, pass, sink, told } = reviewed();
    await pass(61_000);
    sink.close();
    const { text } = sink;

    answers[0]?.resolve(false);
    await pass(120_000);
    expect([told, sink.text, answers.length]).toEqual([['client-left', 'closed'], text, 1]);
  });
});

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** As `Promise.withResolvers`, which Node has from 22 on. */
function withResolvers<T>(): PromiseWithResolvers<T> {
  const resolvers = {} as { resolve: (value: T) => void; reject: (error: Error) => void };
  const promise = new Promise<T>((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return { promise, ...resolvers };
}
