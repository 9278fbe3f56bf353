import { describe, expect, it } from '@jest/globals';
import { RecordingSink } from '@sse-channels/testing';
import type { EndReason } from '@sse-channels/protocol';
import { Connection } from './connection.js';
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

function opened(prepare: (sink: RecordingSink, source: ScriptedSource) => void = () => undefined) {
  const sink = new RecordingSink();
  const source = new ScriptedSource();
  prepare(sink, source);
  const told: Array<EndReason | 'closed'> = [];
  const connection = new Connection(
    sink,
    source,
    { id: 'c1', heartbeatMs: 15_000, retryMs: 3_000 },
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
