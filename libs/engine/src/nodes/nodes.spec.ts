import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { FaultyBackplane, randomOf, SharedMemory, type SharedMemoryNode } from '@sse-channels/testing';
import fc from 'fast-check';
import type { Backplane, EventRecord } from '../backplane/backplane.js';
import { MemoryBackplane } from '../backplane/memory-backplane.js';
import type {
  ConnectionInfo,
  ConnectionSelection,
  EndOptions,
  NodeDirectory,
} from '../directory/connection-directory.js';
import type { ChangeableStreams, RefusedTopic, TopicChangesBy, TopicsChanged } from '../directory/topic-changes.js';
import type { Observer } from '../observer/observer.js';
import { MAX_RECORD_BYTES, NODE_RETENTION } from './node-record.js';
import { Nodes } from './nodes.js';
import { SharedCounts } from './shared-counts.js';

const LEASE_MS = 15_000;
const LOOK_MS = 1_000;

/** The connections of a node, without any. */
class Table implements NodeDirectory, ChangeableStreams {
  readonly open = new Map<string, ConnectionInfo>();
  readonly changes: Array<readonly [string, TopicChangesBy]> = [];
  refused: RefusedTopic[] = [];
  slow: Promise<unknown> = Promise.resolve();
  readonly ends: Array<{ selection: ConnectionSelection; options: EndOptions }> = [];

  constructor(private readonly counts: SharedCounts | null) {}

  get size(): number {
    return this.open.size;
  }

  count(selection: ConnectionSelection = {}): number {
    return this.list(selection).length;
  }

  list({ id, principal, topic }: ConnectionSelection = {}, { limit = Infinity } = {}): ConnectionInfo[] {
    return [...this.open.values()]
      .filter(
        (info) =>
          (id === undefined || info.id === id) &&
          (principal === undefined || info.principal === principal) &&
          (topic === undefined || info.topics.includes(topic as string)),
      )
      .slice(0, limit);
  }

  end(selection: ConnectionSelection, options: EndOptions = {}): number {
    if (Object.keys(selection).length === 0) throw new Error('names nothing');
    this.ends.push({ selection, options });
    const matching = this.list(selection);
    for (const { id } of matching) this.close(id);
    return matching.length;
  }

  add(id: string, principal: string, topics: string[] = []): void {
    this.open.set(id, {
      id,
      principal,
      address: '203.0.113.1',
      topics,
      ageMs: 5,
      cursor: null,
      lagEvents: 0,
      writtenBytes: 100,
      waitingBytes: 0,
    });
    this.counts?.changed('principal', principal, this.count({ principal }));
  }

  async change(connection: string, changes: TopicChangesBy): Promise<TopicsChanged | null> {
    this.changes.push([connection, changes]);
    if (!this.open.has(connection)) return null;
    await this.slow;
    return { added: changes.add.map(({ name }) => name), removed: changes.remove, refused: this.refused };
  }

  close(id: string): void {
    const { principal } = this.open.get(id)!;
    this.open.delete(id);
    this.counts?.changed('principal', principal!, this.count({ principal: principal! }));
  }
}

interface TestNode {
  readonly nodes: Nodes;
  readonly table: Table;
  readonly counts: SharedCounts;
  readonly line: SharedMemoryNode;
  readonly told: string[];
}

describe('the nodes of an application', () => {
  let shared: SharedMemory;
  let started: TestNode[];

  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
    shared = new SharedMemory();
    started = [];
  });

  afterEach(async () => {
    const closing = Promise.all(started.map(({ nodes }) => nodes.close()));
    await jest.advanceTimersByTimeAsync(2_000);
    await closing;
    jest.useRealTimers();
  });

  const start = async (
    name: string,
    wrap: (line: SharedMemoryNode) => Backplane = (line) => line,
  ): Promise<TestNode> => {
    const counts = new SharedCounts();
    const table = new Table(counts);
    const line = shared.node();
    const told: string[] = [];
    const observer: Observer = {
      nodeJoined: (node) => told.push(`+${node.name}`),
      nodeLeft: (node, how) => told.push(`-${node.name} ${how}`),
      failed: (error, context) => told.push(`${context}: ${(error as Error).message}`),
    };
    const nodes = new Nodes({ backplane: wrap(line), observer, connections: table, counts, name, leaseMs: LEASE_MS });
    const node = { nodes, table, counts, line, told };
    started.push(node);
    await nodes.open();
    return node;
  };
  const pass = (ms: number): Promise<unknown> => jest.advanceTimersByTimeAsync(ms);
  const namesAt = ({ nodes }: TestNode): string[] => nodes.everywhere.nodes().map(({ name }) => name);
  /** Asks, and lets the time pass that the answer takes. */
  const asking = async <T>(answer: Promise<T>, ms = 5_000): Promise<T> => {
    const settled = answer.then(
      (value) => () => value,
      (error: unknown) => () => {
        throw error;
      },
    );
    await pass(ms);
    return (await settled)();
  };
  /** What was appended for nodes so far, and may still be read. */
  const records = async (topic = '$nodes/all'): Promise<readonly EventRecord[]> =>
    (await shared.memory.read(topic, null, 10_000)).records;

  it('know each other within two looks, this one first, with what each says of itself', async () => {
    const a = await start('a');
    a.table.add('a1', 'ada');
    await pass(200);
    const b = await start('b');
    await pass(2 * LOOK_MS);

    expect([namesAt(a), namesAt(b)]).toEqual([
      ['a', 'b'],
      ['b', 'a'],
    ]);
    expect(b.nodes.everywhere.nodes()[1]).toEqual({
      id: expect.stringMatching(/^[\w-]{12}$/),
      name: 'a',
      here: false,
      connections: 1,
      startedAt: 1_700_000_000_000,
      draining: false,
      heardMs: expect.any(Number),
    });
    expect([a.told, b.told]).toEqual([['+b'], ['+a']]);
  });

  it('say three times a lease that they are there, and nothing else while nothing happens', async () => {
    await start('a');
    await start('b');
    await pass(LEASE_MS);
    const before = (await records()).length;
    await pass(3 * LEASE_MS);
    const said = (await records()).slice(before);

    expect(said).toHaveLength(2 * 3 * 3);
    expect(Math.max(...said.map(({ data }) => data.length))).toBeLessThan(200);
    expect(new Set(said.map(({ data }) => (JSON.parse(data) as { kind: string }).kind))).toEqual(new Set(['lease']));
  });

  it('are one without traffic where the backplane is not shared: no timer, no topic', async () => {
    const table = new Table(null);
    const memory = new MemoryBackplane();
    const nodes = new Nodes({ backplane: memory, observer: {}, connections: table });
    await nodes.open();
    for (const id of ['1', '2', '3']) table.add(id, 'ada', ['rooms/a']);
    nodes.drain();

    expect(await nodes.everywhere.count({ principal: 'ada' })).toEqual({ count: 3, unanswered: [] });
    expect(await nodes.everywhere.list({}, { limit: 2 })).toMatchObject({
      connections: [{ id: '1', topicsLeftOut: 0, node: { id: nodes.everywhere.nodes()[0]!.id } }, { id: '2' }],
      more: true,
      unanswered: [],
    });
    expect(await nodes.everywhere.end({ id: '1' })).toEqual({ ended: 1, unanswered: [] });
    expect(nodes.everywhere.nodes()).toMatchObject([{ here: true, connections: 2, draining: true }]);
    expect(nodes.everywhere.nodes()[0]!.name).toMatch(new RegExp(`^.+:${process.pid}$`));
    expect([jest.getTimerCount(), memory.topics]).toEqual([0, 0]);
    await nodes.close();
  });

  describe('that stop', () => {
    it('are gone at once when they say goodbye, and before that known to be shutting down', async () => {
      const [a, b] = [await start('a'), await start('b')];
      await pass(2 * LOOK_MS);
      b.nodes.drain();
      const draining = a.nodes.everywhere.nodes()[1]!.draining;
      await b.nodes.close();

      expect([draining, namesAt(a), a.told]).toEqual([true, ['a'], ['+b', '-b goodbye']]);
      expect(b.line.tails).toBe(0);
    });

    it('are gone after their lease when they were killed, not before', async () => {
      const [a, b] = [await start('a'), await start('b')];
      await pass(2 * LOOK_MS);
      b.line.cut();
      await pass(LEASE_MS - 5 * LOOK_MS);
      const before = namesAt(a);
      await pass(6 * LOOK_MS);

      expect([before, namesAt(a), a.told]).toEqual([['a', 'b'], ['a'], ['+b', '-b lease']]);
    });

    it('and go on, as after a SIGSTOP, are there again, and have lost nobody meanwhile', async () => {
      const [a, b] = [await start('a'), await start('b')];
      a.table.add('a1', 'ada');
      b.table.add('b1', 'ada');
      await pass(3 * LOOK_MS);
      b.line.cut();
      await pass(4 * LEASE_MS);
      const meanwhile = [namesAt(a), namesAt(b), a.counts.elsewhere('principal', 'ada')];
      b.line.mend();
      await pass(5 * LOOK_MS);

      expect(meanwhile).toEqual([['a'], ['b', 'a'], 0]);
      expect([namesAt(a), namesAt(b)]).toEqual([
        ['a', 'b'],
        ['b', 'a'],
      ]);
      expect([a, b].map(({ counts }) => counts.elsewhere('principal', 'ada'))).toEqual([1, 1]);
      expect(a.told).toEqual(['+b', '-b lease', '+b']);
    });

    it('close in bounded time when the backplane answers nothing', async () => {
      const never = new Promise<never>(() => undefined);
      let mute = false;
      const a = await start('a', (line) =>
        proxied(line, { append: (...call) => (mute ? never : line.append(...call)) }),
      );
      mute = true;
      let closed = false;
      const closing = a.nodes.close().then(() => (closed = true));
      const asked = a.nodes.everywhere.count();
      await expect(asked).rejects.toMatchObject({ code: 'CLOSED' });
      await pass(999);
      const before = closed;
      await pass(1);
      await closing;

      expect([before, closed, a.line.tails, jest.getTimerCount()]).toEqual([false, true, 0, 1]);
    });
  });

  it('lose nobody while the backplane is down, however long, and whoever died meanwhile a lease after', async () => {
    const all = [await start('a'), await start('b'), await start('c')];
    const [a, b, c] = all as [TestNode, TestNode, TestNode];
    await pass(3 * LOOK_MS);
    for (const { line } of all) line.cut();
    await pass(10 * LEASE_MS);
    const meanwhile = all.map(namesAt);
    a.line.mend();
    b.line.mend();
    await pass(LEASE_MS - LOOK_MS);
    const after = namesAt(a);
    await pass(4 * LOOK_MS);

    expect(meanwhile.map((names) => names.length)).toEqual([3, 3, 3]);
    expect([after, namesAt(a), namesAt(b)]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b'],
      ['b', 'a'],
    ]);
    expect(c.told.filter((line) => line.startsWith('-'))).toEqual([]);
  });

  it('lose nobody while what they say cannot be read, although the backplane is live', async () => {
    let fails = false;
    const a = await start('a', (line) =>
      proxied(line, { read: (...call) => (fails ? Promise.reject(new Error('no read')) : line.read(...call)) }),
    );
    await start('b');
    await pass(3 * LOOK_MS);
    fails = true;
    a.line.cut();
    a.line.mend();
    await pass(3 * LEASE_MS);
    const meanwhile = namesAt(a);
    fails = false;
    await pass(LEASE_MS);

    expect([meanwhile, namesAt(a), a.told]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
      ['+b', 'reading what other nodes say: no read', 'reading what other nodes say: no read'],
    ]);
  });

  it('tell once that they cannot speak, and hear all the same', async () => {
    let fails = false;
    const a = await start('a', (line) =>
      proxied(line, { append: (...call) => (fails ? Promise.reject(new Error('no append')) : line.append(...call)) }),
    );
    const b = await start('b');
    await pass(3 * LOOK_MS);
    fails = true;
    await pass(3 * LEASE_MS);
    await b.nodes.close();
    fails = false;
    await pass(LEASE_MS);

    expect([a.told, namesAt(a)]).toEqual([['+b', 'telling other nodes (lease): no append', '-b goodbye'], ['a']]);
    expect(b.told).toEqual(['+a', '-a lease']);
  });

  it('lose nobody while their link is dead without a word, and the backplane does not know it', async () => {
    let dead = false;
    const a = await start('a', (line) =>
      proxied(line, {
        tail: (filter, onRecord, onLoss) =>
          line.tail(
            filter,
            (record) => {
              if (!dead) onRecord(record);
            },
            onLoss,
          ),
      }),
    );
    const b = await start('b');
    await pass(3 * LOOK_MS);
    dead = true;
    await pass(5 * LEASE_MS);
    const meanwhile = namesAt(a);
    dead = false;
    await pass(LEASE_MS);

    expect([meanwhile, namesAt(a), a.told, b.told]).toEqual([['a', 'b'], ['a', 'b'], ['+b'], ['+a']]);
  });

  it('lose nobody because this process stood still itself', async () => {
    const [a] = [await start('a'), await start('b')];
    await pass(3 * LOOK_MS);
    // The clock goes on, no timer fires: what a stopped process finds when it goes on.
    jest.setSystemTime(Date.now() + 10 * LEASE_MS);
    const now = performance.now() + 10 * LEASE_MS;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now);
    await pass(LOOK_MS);
    clock.mockRestore();

    expect([namesAt(a), a.told]).toEqual([['a', 'b'], ['+b']]);
  });

  describe('asked', () => {
    let a: TestNode;
    let b: TestNode;
    let c: TestNode;

    beforeEach(async () => {
      [a, b, c] = [await start('a'), await start('b'), await start('c')];
      await pass(3 * LOOK_MS);
      a.table.add('a1', 'ada', ['rooms/a']);
      b.table.add('b1', 'ada', ['rooms/b']);
      b.table.add('b2', 'bob', ['rooms/a']);
      c.table.add('c1', 'cleo', ['rooms/c']);
    });

    it('count what matches, at once', async () => {
      const counts = [
        await a.nodes.everywhere.count(),
        await b.nodes.everywhere.count({ principal: 'ada' }),
        await c.nodes.everywhere.count({ topic: 'rooms/a' }),
        await c.nodes.everywhere.count({ id: 'none' }),
      ];

      expect(counts.map(({ count, unanswered }) => [count, unanswered])).toEqual([
        [4, []],
        [2, []],
        [2, []],
        [0, []],
      ]);
    });

    it('list what matches, with the node that holds it', async () => {
      const { connections, more, unanswered } = await a.nodes.everywhere.list({ principal: 'ada' });
      const [, nodeB] = a.nodes.everywhere.nodes();

      expect(connections[1]).toEqual({
        ...b.table.open.get('b1'),
        node: { id: nodeB!.id, name: 'b' },
        topicsLeftOut: 0,
      });
      expect([connections.map(({ id, node }) => [id, node.name]), more, unanswered]).toEqual([
        [
          ['a1', 'a'],
          ['b1', 'b'],
        ],
        false,
        [],
      ]);
    });

    describe('for other topics of a stream', () => {
      const changes: TopicChangesBy = {
        add: [{ name: 'rooms/x' }, { name: 'rooms/y', lastEventId: null }],
        remove: ['rooms/z'],
        by: 'client',
        principal: 'ada',
      };
      /** A stream of b, by the id that every node knows it by. */
      const stream = (): string => {
        const id = `stream${b.nodes.mark}`;
        b.table.add(id, 'ada');
        return id;
      };

      it('have them changed by the one that holds it, and nobody else is asked', async () => {
        const id = stream();
        const before = (await records()).length;
        const changed = await asking(a.nodes.change(id, changes), 100);
        const more = (await records()).slice(before).filter(({ data }) => data.includes('question'));

        expect(changed).toEqual({ added: ['rooms/x', 'rooms/y'], removed: ['rooms/z'], refused: [] });
        expect([b.table.changes.length, b.table.changes[0]?.[1], c.table.changes, more]).toEqual([
          1,
          expect.objectContaining(changes),
          [],
          [],
        ]);
      });

      it('say that there is none, whoever made the id up', async () => {
        const asked = [
          `other${b.nodes.mark}`,
          `other${a.nodes.mark}`,
          'other',
          `${stream()}x`,
          'other.../../all',
          'other.all',
        ].map((id) => a.nodes.change(id, changes));
        expect(await asking(Promise.all(asked), 100)).toEqual(asked.map(() => null));
        expect(await records('$nodes/all')).not.toContainEqual(
          expect.objectContaining({ data: expect.stringContaining('"change"') }),
        );
      });

      it('carry an answer that is longer than a record', async () => {
        const message = '\u{1f431}'.repeat(100);
        b.table.refused = Array.from({ length: 900 }, (_, n) => ({
          topic: `rooms/${n}`,
          status: 403,
          message,
          comeBack: false,
        }));
        const changed = await asking(a.nodes.change(stream(), changes), 100);
        expect(changed?.refused).toEqual(b.table.refused);
      });

      it('wait ten seconds for who asks routes, and say so where nobody answers', async () => {
        let answer: (value?: unknown) => void = () => undefined;
        b.table.slow = new Promise((resolve) => (answer = resolve));
        const slow = a.nodes.change(stream(), changes);
        await pass(9_000);
        answer();
        expect(await asking(slow, 100)).toMatchObject({ added: ['rooms/x', 'rooms/y'] });
        b.line.cut();
        await expect(asking(a.nodes.change(`stream${b.nodes.mark}`, changes), 11_000)).rejects.toMatchObject({
          code: 'UNAVAILABLE',
        });
      });

      it('know that the stream is gone with a node that says goodbye', async () => {
        b.table.slow = new Promise(() => undefined);
        const asked = a.nodes.change(stream(), changes);
        await pass(100);
        void b.nodes.close();
        expect(await asking(asked, 100)).toBeNull();
      });

      it('are asked for by the application one by one, which hears why a topic was not added', async () => {
        const id = stream();
        const [here, there] = [await asking(a.nodes.subscribe(id, 'rooms/x'), 100), b.table.changes.at(-1)?.[1]];
        const gone = await asking(a.nodes.unsubscribe('other', { name: 'rooms/x' }), 100);
        b.table.refused = [{ topic: 'rooms/x', status: 400, message: 'Too many.', comeBack: false }];

        expect([here, gone, there]).toEqual([
          true,
          false,
          expect.objectContaining({ add: [{ name: 'rooms/x' }], remove: [], by: 'application', principal: null }),
        ]);
        await expect(asking(a.nodes.subscribe(id, 'rooms/x'), 100)).rejects.toThrow(
          `The stream "${id}" was not given the topic "rooms/x": Too many.`,
        );
      });
    });

    it('list no more than the limit, and say that there are more', async () => {
      const { connections, more } = await a.nodes.everywhere.list({}, { limit: 2 });

      expect([connections.map(({ id }) => id), more]).toEqual([['a1', 'b1'], true]);
      for (const limit of [0, 10_001, 1.5, NaN]) {
        await expect(a.nodes.everywhere.list({}, { limit })).rejects.toMatchObject({
          code: 'INVALID_OPTION',
          message: `everywhere.list: limit must be a whole number from 1 to 10000, not ${limit}.`,
        });
      }
    });

    it('list ten thousand in records of bounded size, and carry none that is beyond the limit', async () => {
      for (let n = 0; n < 12_000; n += 1) b.table.add(`many${n}`, `user ${n}`, ['rooms/ä', `rooms/${n}`]);
      const idOfA = b.nodes.everywhere.nodes().find(({ name }) => name === 'a')!.id;
      const { connections, more, unanswered } = await a.nodes.everywhere.list({}, { limit: 10_000 });
      const answers = await records(`$nodes/${idOfA}`);
      const told = answers.flatMap(
        ({ data }) => (JSON.parse(data) as { connections?: ConnectionInfo[] }).connections ?? [],
      );

      expect([connections.length, new Set(connections.map(({ id }) => id)).size]).toEqual([10_000, 10_000]);
      expect([more, unanswered, told.length]).toEqual([true, [], 9_999]);
      for (const { data } of answers) expect(Buffer.byteLength(data)).toBeLessThan(MAX_RECORD_BYTES + 1_000);
    });

    it('list a connection whose topics no record can carry, with those that fit', async () => {
      b.table.add(
        'wide',
        'wim',
        Array.from({ length: 100 }, (_, n) => `${n}/${'%20'.repeat(4_000)}`),
      );
      const { connections, unanswered } = await a.nodes.everywhere.list({ principal: 'wim' });

      expect(connections).toMatchObject([{ id: 'wide', topicsLeftOut: 95 }]);
      expect([connections[0]!.topics.length, unanswered]).toEqual([5, []]);
    });

    it('end what matches on every node, as it was asked for', async () => {
      const ended = await a.nodes.everywhere.end({ principal: 'ada' }, { comeBack: true, retryMs: 70 });

      expect(ended).toEqual({ ended: 2, unanswered: [] });
      expect([a, b, c].map(({ table }) => [...table.open.keys()])).toEqual([[], ['b2'], ['c1']]);
      expect(b.table.ends).toMatchObject([
        { selection: { principal: 'ada' }, options: { comeBack: true, retryMs: 70 } },
      ]);
      await expect(a.nodes.everywhere.end({})).rejects.toThrow('names nothing');
    });

    it('answer whole but for those who do not answer, who are named', async () => {
      c.line.cut();
      const count = await asking(a.nodes.everywhere.count());
      const list = await asking(a.nodes.everywhere.list());
      const end = await asking(a.nodes.everywhere.end({ topic: 'rooms/a' }));

      expect([count.count, count.unanswered.map(({ name }) => name)]).toEqual([3, ['c']]);
      expect(list.connections.map(({ id }) => id)).toEqual(['a1', 'b1', 'b2']);
      expect([list.unanswered.map(({ name }) => name), list.more]).toEqual([['c'], false]);
      expect([end.ended, end.unanswered.map(({ name }) => name)]).toEqual([2, ['c']]);
    });

    it('and cut off themselves, answer for themselves and name all others', async () => {
      a.line.cut();
      const { count, unanswered } = await asking(a.nodes.everywhere.count());

      expect([count, unanswered.map(({ name }) => name)]).toEqual([1, ['b', 'c']]);
    });

    it('wait for nobody who says goodbye meanwhile', async () => {
      c.line.cut();
      const asked = a.nodes.everywhere.count();
      await pass(10);
      const id = a.nodes.everywhere.nodes().find(({ name }) => name === 'c')!.id;
      await shared.memory.append(
        '$nodes/all',
        { name: '$node', data: JSON.stringify({ v: 1, kind: 'goodbye', from: id }) },
        NODE_RETENTION,
      );

      expect(await asked).toEqual({ count: 3, unanswered: [] });
    });

    it('by a node that has only just begun, are all heard', async () => {
      const d = await start('d');
      const { count, unanswered } = await asking(d.nodes.everywhere.count());

      expect([count, unanswered]).toEqual([4, []]);
    });

    it('by a node that has only just begun, are missed where they do not answer', async () => {
      const mute = (line: SharedMemoryNode): Backplane =>
        proxied(line, {
          append: (...call) =>
            call[1].data.includes('"kind":"answer"') ? new Promise(() => undefined) : line.append(...call),
        });
      await start('mute', mute);
      await pass(3 * LOOK_MS);
      const d = await start('d');
      const { count, unanswered } = await asking(d.nodes.everywhere.count());

      expect([count, unanswered.map(({ name }) => name)]).toEqual([4, ['mute']]);
    });

    it('with a page of the answer lost, are named, and not taken for whole', async () => {
      for (let n = 0; n < 2_000; n += 1) b.table.add(`many${n}`, 'many', ['rooms/a']);
      const idOfB = a.nodes.everywhere.nodes().find(({ name }) => name === 'b')!.id;
      const lossy = await start('lossy', (line) =>
        proxied(line, {
          tail: (filter, onRecord, onLoss) =>
            line.tail(filter, (record) => onRecord(withoutPage(record, idOfB, 1)), onLoss),
        }),
      );
      const { unanswered, connections } = await asking(
        lossy.nodes.everywhere.list({ principal: 'many' }, { limit: 2_000 }),
        10_000,
      );

      expect(unanswered.map(({ name }) => name)).toEqual(['b']);
      expect(connections.length).toBeGreaterThan(0);
    });

    it('by a node that hears nobody since it began, are not passed over in silence', async () => {
      const deaf = await start('d', (line) => proxied(line, { tail: () => Promise.reject(new Error('no tail')) }));

      await expect(asking(deaf.nodes.everywhere.count())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });

    it('do once what they hear twice', async () => {
      const question = { v: 1, kind: 'question', from: 'x', question: 'q', asks: 'end', comeBack: false };
      const data = JSON.stringify({ ...question, selection: { principal: 'bob' } });
      for (const key of ['q', 'q']) {
        await shared.memory.append('$nodes/all', { name: '$node', data }, NODE_RETENTION, { idempotencyKey: key });
      }
      await pass(10);

      expect(b.table.ends).toHaveLength(1);
    });

    it('stop asking when it is too much at once', async () => {
      c.line.cut();
      const asked = Array.from({ length: 1_001 }, () => a.nodes.everywhere.count());
      const refused = asked.at(-1)!.catch((error: unknown) => error);
      await pass(3_000);

      expect(await refused).toMatchObject({ code: 'UNAVAILABLE' });
      await Promise.all(asked.slice(0, 1_000));
    });
  });

  it('leave alone what is garbage, or of a newer version', async () => {
    const a = await start('a');
    await pass(3 * LOOK_MS);
    a.table.add('a1', 'ada');
    const lease = {
      v: 1,
      kind: 'lease',
      from: 'x',
      name: 'x',
      connections: 1,
      startedAt: 1,
      draining: false,
      leaseMs: 10,
      told: 0,
      hello: false,
    };
    const end = { v: 1, kind: 'question', from: 'x', question: 'q', asks: 'end', comeBack: false, selection: {} };
    const answer = { v: 1, kind: 'answer', from: 'x', question: 'q', page: 0, last: true };
    const garbage: unknown[] = [
      null,
      7,
      'lease',
      [],
      {},
      { ...lease, v: 2 },
      { ...lease, from: 'x'.repeat(65) },
      { ...lease, leaseMs: 1e12 },
      { ...lease, leaseMs: -1 },
      { ...lease, name: {} },
      { ...lease, told: '5' },
      { ...lease, kind: 'constructor' },
      { ...lease, kind: ['lease'] },
      end,
      { ...end, selection: null },
      { ...end, selection: { principal: 7 } },
      { ...end, selection: { ID: 'a1' } },
      { ...end, selection: { id: 'a1' }, retryMs: -1 },
      { ...end, selection: { id: 'a1' }, asks: 'kill' },
      answer,
      { ...answer, connections: [null] },
      { ...answer, counts: ['short', 1] },
      { v: 1, kind: 'counts', from: 'x', told: 1, counts: ['abcdefghijkl'] },
    ];
    for (const one of garbage) {
      await shared.memory.append('$nodes/all', { name: '$node', data: JSON.stringify(one) }, NODE_RETENTION);
    }
    await shared.memory.append('$nodes/all', { name: '$node', data: '{' }, NODE_RETENTION);
    await shared.memory.append('$nodes/all', { name: 'lease', data: JSON.stringify(lease) }, NODE_RETENTION);
    await pass(3 * LOOK_MS);

    expect([namesAt(a), a.told, a.table.size]).toEqual([['a'], [], 1]);
  });

  describe('count over all nodes', () => {
    const elsewhere = ({ counts }: TestNode, principal = 'ada'): number => counts.elsewhere('principal', principal);

    it('what each of them opens and closes, known after a look', async () => {
      const [a, b, c] = [await start('a'), await start('b'), await start('c')];
      await pass(3 * LOOK_MS);
      a.table.add('a1', 'ada');
      a.table.add('a2', 'ada');
      b.table.add('b1', 'ada');
      await pass(LOOK_MS);
      const before = [a, b, c].map((node) => elsewhere(node));
      a.table.close('a1');
      b.table.close('b1');
      await pass(LOOK_MS);

      expect([before, [a, b, c].map((node) => elsewhere(node))]).toEqual([
        [1, 2, 3],
        [0, 1, 1],
      ]);
      expect(elsewhere(c, 'bob')).toBe(0);
    });

    it('in one record a look, however much it is, of 17 bytes a name', async () => {
      const [a, b] = [await start('a'), await start('b')];
      await pass(3 * LOOK_MS);
      for (let n = 0; n < 1_000; n += 1) a.table.add(`a${n}`, `somebody with a name of some length ${n}`);
      const before = (await records()).length;
      await pass(LOOK_MS);
      const said = (await records()).slice(before).filter(({ data }) => data.includes('"counts"'));

      expect([said.length, elsewhere(b, 'somebody with a name of some length 7')]).toEqual([1, 1]);
      expect(said[0]!.data.length).toBeLessThan(1_000 * 17 + 100);
      expect(said[0]!.data).not.toContain('somebody');
    });

    it('what was there before a node began, and not what a node had that is gone', async () => {
      const [a, b] = [await start('a'), await start('b')];
      for (let n = 0; n < 12_000; n += 1) a.counts.changed('principal', `user ${n}`, 1);
      b.table.add('b1', 'ada');
      await pass(70_000);
      const c = await start('c');
      await pass(3 * LOOK_MS);
      const [before, last] = [elsewhere(c), elsewhere(c, 'user 11999')];
      b.line.cut();
      await pass(LEASE_MS + LOOK_MS);

      expect([before, last, elsewhere(c), elsewhere(c, 'user 0')]).toEqual([1, 1, 0, 1]);
    });

    it('in the end what is, when a record was not kept, or too much changed to be told', async () => {
      let fails = false;
      const a = await start('a', (line) =>
        proxied(line, {
          append: (...call) =>
            fails && call[1].data.includes('"kind":"counts"')
              ? Promise.reject(new Error('not kept'))
              : line.append(...call),
        }),
      );
      const b = await start('b');
      await pass(3 * LOOK_MS);
      fails = true;
      a.table.add('a1', 'ada');
      await pass(LOOK_MS);
      fails = false;
      const lost = elsewhere(b);
      await pass(LEASE_MS / 3 + 2 * LOOK_MS);
      const after = elsewhere(b);
      for (let n = 0; n < 60_000; n += 1) a.counts.changed('principal', `user ${n}`, 2);
      await pass(LEASE_MS / 3 + 2 * LOOK_MS);

      expect([lost, after, elsewhere(b), elsewhere(b, 'user 3'), elsewhere(b, 'user 59999')]).toEqual([0, 1, 1, 2, 2]);
    });
  });

  it('whatever is lost, late, doubled or fails, count right in the end, and no ended node stays', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = randomOf(seed);
        const faults = { on: true };
        const now = (share: number): boolean => faults.on && random() < share;
        const faulty = (line: SharedMemoryNode): Backplane =>
          new FaultyBackplane(line, {
            lose: () => now(0.2),
            double: () => now(0.2),
            delayMs: () => (now(0.2) ? Math.ceil(random() * 3_000) : 0),
            failRead: () => (now(0.2) ? new Error('no read') : null),
            failAppend: () => (now(0.2) ? new Error('no append') : null),
          });
        shared = new SharedMemory();
        const running: TestNode[] = [];
        let number = 0;
        const names = ['ada', 'bob', 'cleo'];
        const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
        for (let step = 0; step < 60; step += 1) {
          const dice = random();
          number += 1;
          if (running.length < 2 || (dice < 0.06 && running.length < 5))
            running.push(await start(`n${number}`, faulty));
          else if (dice < 0.55) pick(running).table.add(`${number}`, pick(names));
          else if (dice < 0.75) {
            const { table } = pick(running);
            const [id] = table.open.keys();
            if (id !== undefined) table.close(id);
          } else if (dice < 0.8) pick(running).line.cut();
          else if (dice < 0.88) pick(running).line.mend();
          else if (dice < 0.92) {
            // Killed: it says nothing more, and is never heard of again.
            const [killed] = running.splice(Math.floor(random() * running.length), 1);
            killed!.line.cut();
            await pass(1);
          } else if (dice < 0.95) {
            const [ended] = running.splice(Math.floor(random() * running.length), 1);
            const closing = ended!.nodes.close();
            await pass(1_001);
            await closing;
          }
          await pass(random() * 4_000);
        }
        faults.on = false;
        for (const { line } of running) line.mend();
        await pass(2 * LEASE_MS + 20_000);
        for (const node of running) {
          const others = running.filter((other) => other !== node);
          expect(new Set(namesAt(node).slice(1))).toEqual(new Set(others.map((other) => namesAt(other)[0])));
          for (const principal of names) {
            const open = others.reduce((sum, { table }) => sum + table.count({ principal }), 0);
            expect([principal, node.counts.elsewhere('principal', principal)]).toEqual([principal, open]);
          }
          const all = running.reduce((sum, { table }) => sum + table.size, 0);
          expect(await asking(node.nodes.everywhere.count(), 10)).toEqual({ count: all, unanswered: [] });
        }
        for (const { nodes, line } of started.splice(0)) {
          line.cut();
          await nodes.close();
        }
      }),
      { numRuns: 40 },
    );
  }, 120_000);
});

/** The record, or where it is that page of a node's answer, garbage in its place. */
function withoutPage(record: EventRecord, from: string, page: number): EventRecord {
  const said = JSON.parse(record.data) as { from: string; page?: number };
  return said.from === from && said.page === page ? { ...record, data: '{}' } : record;
}

/** A backplane that does some things in another way. */
function proxied(line: SharedMemoryNode, other: Partial<Backplane>): Backplane {
  return new Proxy<Backplane>(line, {
    get: (target, name: keyof Backplane) => {
      const { [name]: own = target[name] } = other;
      return typeof own === 'function' ? (own as () => unknown).bind(target) : own;
    },
  });
}
