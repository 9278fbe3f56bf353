/** The contract that every backplane keeps, as cases for any test runner: ours and strangers' pass the same ones. */
import assert from 'node:assert/strict';
import { ContinuousTail, type Backplane, type EventRecord, type Page, type ReadStart } from '@sse-channels/engine';
import {
  compareOffsets,
  FIRST_OFFSET,
  formatOffset,
  parseCursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import { eventually } from './eventually.js';

/** One case; register it with your runner: `for (const { name, run } of backplaneContract(create)) it(name, run);` */
export interface ContractCase {
  readonly name: string;
  run(): Promise<void>;
}

const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 3_600_000, maxBytes: 10_485_760 };

/**
 * The cases of the contract.
 * @param create makes a backplane with a log space of its own; called once a case, closed by the case
 */
export function backplaneContract(create: () => Backplane | Promise<Backplane>): ContractCase[] {
  const cases: ContractCase[] = [];
  const topics = topicNames();
  const contract = (name: string, test: (backplane: Backplane, topic: string) => Promise<void>): void => {
    cases.push({
      name,
      run: async () => {
        const backplane = await create();
        await backplane.ready();
        try {
          await test(backplane, topics.next().value);
        } finally {
          await backplane.close();
        }
      },
    });
  };

  contract(
    'an append resolves to a cursor of the epoch, and the record is read back as it was',
    async (backplane, topic) => {
      const given = { name: 'a.b', data: '{"text":"grüße 🎉"}', key: 'schlüssel' };
      const cursor = await backplane.append(topic, given, KEEP);
      const { records } = await backplane.read(topic, null, 10);
      assert.equal(parseCursor(cursor)?.epoch, backplane.epoch);
      assert.deepEqual(
        records.map(({ topic: of, offset, name, data, key }) => ({ of, offset, name, data, key })),
        [{ of: topic, offset: parseCursor(cursor)?.offset, ...given }],
      );
    },
  );

  contract('offsets increase strictly over all topics in the order of the appends', async (backplane, topic) => {
    const cursors: string[] = [];
    for (let n = 0; n < 200; n += 1) cursors.push(await append(backplane, `${topic}/${n % 3}`, n));
    const offsets = cursors.map((cursor) => offsetOf(cursor));
    for (let n = 1; n < offsets.length; n += 1)
      assert.ok(compareOffsets(offsets[n - 1] as Offset, offsets[n] as Offset) < 0);
  });

  contract('appends that nobody awaits keep the order of the calls', async (backplane, topic) => {
    await Promise.all(Array.from({ length: 500 }, (_, n) => append(backplane, topic, n)));
    assert.deepEqual(numbers(await readAll(backplane, topic, null)), range(0, 500));
  });

  contract('each record names the one before it in its topic, kept or not', async (backplane, topic) => {
    const keepTwo = { ...KEEP, maxEvents: 2 };
    const offsets: Offset[] = [];
    for (let n = 0; n < 5; n += 1) {
      offsets.push(offsetOf(await backplane.append(topic, draft(n), keepTwo)));
      await append(backplane, `${topic}/other`, n);
    }
    const { records } = await backplane.read(topic, null, 10);
    assert.deepEqual(
      records.map(({ prev }) => prev),
      offsets.slice(2, 4),
    );
  });

  contract(
    'a read after any offset of the log space gives exactly what follows, in pages',
    async (backplane, topic) => {
      const places: Array<{ offset: Offset; next: number }> = [];
      for (let n = 0; n < 60; n += 1) {
        places.push({ offset: offsetOf(await append(backplane, `${topic}/other`, n)), next: n });
        places.push({ offset: offsetOf(await append(backplane, topic, n)), next: n + 1 });
      }
      for (const { offset, next } of places) {
        assert.deepEqual(numbers(await readAll(backplane, topic, offset, 7)), range(next, 60));
      }
    },
  );

  contract(
    'a read that gives all says where the log space ends, and a read from there gives what comes next',
    async (backplane, topic) => {
      await append(backplane, topic, 0);
      const first = await backplane.read(topic, null, 10);
      await append(backplane, topic, 1);
      const second = await backplane.read(topic, first.head, 10);
      assert.equal(first.more, false);
      assert.deepEqual([second.intact, numbers(second.records)], [true, [1]]);
    },
  );

  contract('a topic without records reads as intact and empty', async (backplane, topic) => {
    const other = await append(backplane, `${topic}/other`, 0);
    const page = await backplane.read(topic, offsetOf(other), 10);
    assert.deepEqual([page.intact, page.more, page.records.length], [true, false, 0]);
  });

  contract('the last n records are read, oldest first, and the place before them', async (backplane, topic) => {
    for (let n = 0; n < 10; n += 1) await append(backplane, topic, n);
    const page = await backplane.read(topic, { last: 3 }, 10);
    const all = await backplane.read(topic, { last: 50 }, 100);
    assert.deepEqual([numbers(page.records), page.intact], [[7, 8, 9], true]);
    assert.deepEqual(numbers(await readAll(backplane, topic, page.from)), [7, 8, 9]);
    assert.deepEqual(numbers(all.records), range(0, 10));
  });

  contract('a log keeps no more than maxEvents, and tells who stood before', async (backplane, topic) => {
    const offsets: Offset[] = [];
    for (let n = 0; n < 10; n += 1)
      offsets.push(offsetOf(await backplane.append(topic, draft(n), { ...KEEP, maxEvents: 4 })));
    for (const [n, offset] of offsets.entries()) {
      const page = await backplane.read(topic, offset, 20);
      const whole = n >= 5;
      assert.deepEqual([page.intact, page.reason], whole ? [true, null] : [false, 'trimmed'], `from record ${n}`);
      assert.deepEqual(numbers(page.records), range(whole ? n + 1 : 6, 10));
    }
  });

  contract('after a gap, reading on from the place that was told is intact', async (backplane, topic) => {
    const first = await backplane.append(topic, draft(0), { ...KEEP, maxEvents: 3 });
    for (let n = 1; n < 10; n += 1) await backplane.append(topic, draft(n), { ...KEEP, maxEvents: 3 });
    const gap = await backplane.read(topic, offsetOf(first), 20);
    const again = await backplane.read(topic, gap.from, 20);
    assert.deepEqual([gap.intact, again.intact, numbers(again.records)], [false, true, [7, 8, 9]]);
  });

  contract('a log keeps no more than maxBytes', async (backplane, topic) => {
    for (let n = 0; n < 50; n += 1)
      await backplane.append(topic, { name: 'n', data: JSON.stringify('x'.repeat(98)) }, { ...KEEP, maxBytes: 1_000 });
    const { records, intact } = await backplane.read(topic, null, 100);
    assert.ok(records.length > 0 && records.length <= 10, `${records.length} records kept`);
    assert.equal(intact, true);
  });

  contract('a log keeps nothing older than maxAgeMs, and tells who stood before', async (backplane, topic) => {
    const short = { ...KEEP, maxAgeMs: 40 };
    const before = (await backplane.read(topic, null, 1)).head;
    const first = offsetOf(await backplane.append(topic, draft(0), short));
    await eventually(
      async () => (await backplane.read(topic, null, 10)).records.length === 0,
      'the record has expired',
    );
    const [older, at] = [await backplane.read(topic, before, 10), await backplane.read(topic, first, 10)];
    assert.deepEqual([older.intact, older.reason, at.intact], [false, 'trimmed', true]);
  });

  contract('with maxEvents 0 records are handed over live and not kept', async (backplane, topic) => {
    const tailed: EventRecord[] = [];
    const tail = await backplane.tail(topic, (record) => tailed.push(record), noLoss);
    const cursor = await backplane.append(topic, draft(0), { ...KEEP, maxEvents: 0 });
    await backplane.append(topic, draft(1), { ...KEEP, maxEvents: 0 });
    await eventually(() => tailed.length === 2, 'two live records');
    const page = await backplane.read(topic, offsetOf(cursor), 10);
    tail.end();
    assert.deepEqual([page.intact, page.records.length, numbers(tailed)], [false, 0, [0, 1]]);
  });

  contract(
    'an offset after the end of the log space is told as rewound, then all that is kept',
    async (backplane, topic) => {
      await append(backplane, topic, 0);
      const page = await backplane.read(topic, formatOffset(Number.MAX_SAFE_INTEGER, 0), 10);
      assert.deepEqual([page.intact, page.reason, numbers(page.records)], [false, 'rewound', [0]]);
    },
  );

  contract(
    'a tail hands over every record after its position, once and in order, and nothing before',
    async (backplane, topic) => {
      await append(backplane, topic, 0);
      const tailed: EventRecord[] = [];
      const tail = await backplane.tail(topic, (record) => tailed.push(record), noLoss);
      const { position } = tail;
      for (let n = 1; n <= 100; n += 1) await append(backplane, topic, n);
      await eventually(() => tailed.length === 100, 'a hundred live records');
      const head = tail.position;
      tail.end();
      await append(backplane, topic, 101);
      assert.deepEqual(numbers(tailed), range(1, 101));
      assert.ok(
        tailed.every(({ offset }) => compareOffsets(offset, position) > 0 && compareOffsets(offset, head) <= 0),
      );
    },
  );

  contract(
    'a tail of a filter takes whole segments, over topics in the order of their offsets',
    async (backplane, topic) => {
      const tailed: EventRecord[] = [];
      const tail = await backplane.tail(`${topic}/*/end`, (record) => tailed.push(record), noLoss);
      for (let n = 0; n < 20; n += 1) {
        await append(backplane, `${topic}/${n % 4}/end`, n);
        await append(backplane, `${topic}/${n}`, -1);
        await append(backplane, `${topic}/a/b/end`, -1);
      }
      await eventually(() => tailed.length >= 20, 'twenty live records');
      const page = await backplane.read(`${topic}/*/end`, null, 100);
      tail.end();
      assert.deepEqual([numbers(tailed), numbers(page.records)], [range(0, 20), range(0, 20)]);
    },
  );

  contract(
    'a follower that starts at an offset while records are appended misses and doubles nothing',
    async (backplane, topic) => {
      const start = offsetOf(await append(backplane, topic, 0));
      let last = 0;
      for (; last < 300;) await append(backplane, topic, (last += 1));
      const followed: EventRecord[] = [];
      const gaps: string[] = [];
      const follower = new ContinuousTail(backplane, topic, {
        onRecord: (record) => followed.push(record),
        onGap: (reason) => gaps.push(reason),
        onError: (error) => gaps.push(String(error)),
      });
      const opened = follower.open(start);
      for (; last < 900;) await append(backplane, topic, (last += 1));
      await opened;
      await eventually(() => followed.length >= 900, 'nine hundred records');
      follower.end();
      assert.deepEqual([numbers(followed), gaps], [range(1, 901), []]);
    },
  );

  contract('two readers of one topic do not disturb each other', async (backplane, topic) => {
    const one: EventRecord[] = [];
    const two: EventRecord[] = [];
    const first = await backplane.tail(topic, (record) => one.push(record), noLoss);
    const second = await backplane.tail(topic, (record) => two.push(record), noLoss);
    await append(backplane, topic, 0);
    await eventually(() => one.length === 1 && two.length === 1, 'both have the record');
    first.end();
    await append(backplane, topic, 1);
    await eventually(() => two.length === 2, 'the other has the next');
    second.end();
    assert.deepEqual([numbers(one), numbers(two)], [[0], [0, 1]]);
  });

  contract('a tail that is ended twice does not end another', async (backplane, topic) => {
    const first = await backplane.tail(topic, () => undefined, noLoss);
    first.end();
    const tailed: EventRecord[] = [];
    const second = await backplane.tail(topic, (record) => tailed.push(record), noLoss);
    first.end();
    await append(backplane, topic, 0);
    await eventually(() => tailed.length === 1, 'the record of the second tail');
    second.end();
  });

  contract(
    'a record that is appended while another is handed over comes after it, to every tail',
    async (backplane, topic) => {
      const tailed: EventRecord[] = [];
      const answered: Array<Promise<string>> = [];
      const answering = await backplane.tail(
        `${topic}/*`,
        (record) => {
          if (record.topic === `${topic}/a`) answered.push(append(backplane, `${topic}/b`, Number(record.data) + 1));
        },
        noLoss,
      );
      const listening = await backplane.tail(`${topic}/*`, (record) => tailed.push(record), noLoss);
      for (let n = 0; n < 10; n += 2) await append(backplane, `${topic}/a`, n);
      await eventually(() => tailed.length === 10, 'ten live records');
      await Promise.all(answered);
      answering.end();
      listening.end();
      assert.deepEqual(
        tailed.map(({ offset }) => offset),
        tailed.map(({ offset }) => offset).sort(compareOffsets),
      );
    },
  );

  contract(
    'a topic that is written again after all of it expired still tells who stood before',
    async (backplane, topic) => {
      const short = { ...KEEP, maxAgeMs: 40 };
      const before = offsetOf(await append(backplane, `${topic}/other`, 0));
      await backplane.append(topic, draft(0), short);
      await eventually(
        async () => (await backplane.read(topic, null, 10)).records.length === 0,
        'the record has expired',
      );
      await backplane.append(topic, draft(1), short);
      const page = await backplane.read(topic, before, 10);
      assert.deepEqual([page.intact, page.reason], [false, 'trimmed']);
    },
  );

  contract('hostile topic names and data are kept apart and come back as they were', async (backplane, topic) => {
    const names = ['%2A', '%3E', 'a%2Fb', '%2E%2E', '%00', 'x'.repeat(3_000)].map((name) => `${topic}/${name}`);
    for (const [n, name] of names.entries())
      await backplane.append(name, { name: 'n', data: JSON.stringify(`\u0000\r\n${n}`) }, KEEP);
    for (const [n, name] of names.entries()) {
      const { records } = await backplane.read(name, FIRST_OFFSET, 10);
      assert.deepEqual(
        records.map(({ data }) => JSON.parse(data) as unknown),
        [`\u0000\r\n${n}`],
      );
    }
  });

  cases.push({
    name: 'after close, appends and reads reject and tails are silent',
    run: async () => {
      const backplane = await create();
      await backplane.ready();
      await backplane.tail('closed', () => assert.fail('a record after close'), noLoss);
      await backplane.close();
      await assert.rejects(append(backplane, 'closed', 0));
      await assert.rejects(backplane.read('closed', null, 1));
    },
  });
  return cases;
}

function* topicNames(): Generator<string, never> {
  for (let n = 1; ; n += 1) yield `contract${n}/${process.pid}`;
}

function noLoss(): void {
  // A tail may suspect a loss at any time; these cases read what it hands over.
}

function draft(n: number): { name: string; data: string } {
  return { name: 'n', data: String(n) };
}

function append(backplane: Backplane, topic: string, n: number): Promise<string> {
  return backplane.append(topic, draft(n), KEEP);
}

function offsetOf(cursor: string): Offset {
  const parts = parseCursor(cursor);
  assert.ok(parts !== null, `${cursor} is a cursor`);
  return parts.offset;
}

function numbers(records: readonly EventRecord[]): number[] {
  return records.map(({ data }) => Number(data));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

async function readAll(backplane: Backplane, topic: string, start: ReadStart, limit = 50): Promise<EventRecord[]> {
  const records: EventRecord[] = [];
  let page: Page;
  let after = start;
  do {
    page = await backplane.read(topic, after, limit);
    assert.ok(page.intact, `intact after ${JSON.stringify(after)}`);
    assert.ok(page.records.length <= limit);
    records.push(...page.records);
    after = page.records.at(-1)?.offset ?? page.head;
  } while (page.more);
  return records;
}
