import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MemoryBackplane, type EventRecord } from '@sse-channels/engine';
import { compareOffsets, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { backplaneContract } from './backplane-contract.js';
import { FaultyBackplane, type Faults } from './faulty-backplane.js';

const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 3_600_000, maxBytes: 10_485_760 };

describe('FaultyBackplane without a fault keeps the contract', () => {
  const capabilities = { durable: false, sharedAcrossNodes: false, order: 'space' } as const;
  const open = (): FaultyBackplane => new FaultyBackplane(new MemoryBackplane(), {});
  for (const { name, run } of backplaneContract({ open, capabilities })) it(name, run);
});

describe('FaultyBackplane', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  async function tailing(faults: Faults, filter = 'log/1') {
    const backplane = new FaultyBackplane(new MemoryBackplane(), faults);
    const tailed: string[] = [];
    const tail = await backplane.tail(
      filter,
      ({ data }: EventRecord) => tailed.push(data),
      () => tailed.push('loss'),
    );
    const append = async (data: string, topic = 'log/1'): Promise<Offset> =>
      parseCursor(await backplane.append(topic, { name: 'n', data }, KEEP))?.offset as Offset;
    const vouchesFor = (offset: Offset): boolean => compareOffsets(tail.position, offset) >= 0;
    return { backplane, tail, tailed, append, vouchesFor };
  }

  it('loses, doubles and delays what it is told to', async () => {
    const { backplane, tailed, append } = await tailing({
      lose: ({ data }) => data === 'lost',
      double: ({ data }) => data === 'doubled',
      delayMs: ({ data }) => (data === 'late' ? 10 : 0),
    });
    for (const data of ['lost', 'late', 'doubled', 'plain']) await append(data);
    expect(tailed).toEqual(['doubled', 'doubled', 'plain']);
    await jest.advanceTimersByTimeAsync(10);
    expect(tailed).toEqual(['doubled', 'doubled', 'plain', 'late']);
    expect((await backplane.read('log/1', null, 10)).records.length).toBe(4);
    await backplane.close();
  });

  it('vouches for nothing that it holds back', async () => {
    const { backplane, append, vouchesFor } = await tailing({
      lose: ({ data }) => data === 'lost',
      delayMs: ({ data }) => (data === 'late' ? 10 : 0),
    });
    const before = await append('plain');
    const late = await append('late');
    const after = await append('plain');
    expect([vouchesFor(before), vouchesFor(late), vouchesFor(after)]).toEqual([true, false, false]);
    await jest.advanceTimersByTimeAsync(10);
    expect(vouchesFor(after)).toBe(true);
    const lost = await append('lost');
    await append('plain');
    expect([vouchesFor(after), vouchesFor(lost)]).toEqual([true, false]);
    await backplane.close();
  });

  it('tells a loss among the topics of a filter, before what follows it', async () => {
    const { backplane, tailed, append } = await tailing({ lose: ({ data }) => data === 'lost' }, 'log/*');
    await append('lost', 'log/1');
    await append('plain', 'log/2');
    expect(tailed).toEqual(['loss', 'plain']);
    await backplane.close();
  });

  it('hands nothing over after its tail ended, and leaves no timer', async () => {
    const { backplane, tail, tailed, append } = await tailing({ delayMs: () => 10 });
    await append('late');
    tail.end();
    await jest.advanceTimersByTimeAsync(100);
    await backplane.close();
    expect([tailed, jest.getTimerCount()]).toEqual([[], 0]);
  });

  it('rejects the reads and appends that it is told to', async () => {
    const backplane = new FaultyBackplane(new MemoryBackplane(), {
      failRead: (filter) => (filter === 'log/1' ? new Error('no read') : null),
      failAppend: (topic) => (topic === 'log/1' ? new Error('no append') : null),
    });
    await expect(backplane.append('log/1', { name: 'n', data: '1' }, KEEP)).rejects.toThrow('no append');
    await expect(backplane.read('log/1', null, 1)).rejects.toThrow('no read');
    await backplane.append('log/2', { name: 'n', data: '1' }, KEEP);
    expect((await backplane.read('log/*', null, 10)).records.length).toBe(1);
    await backplane.close();
  });
});
