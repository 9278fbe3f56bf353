/** The contract that every backplane keeps, as cases for any test runner: ours and strangers' pass the same ones. */
import assert from 'node:assert/strict';
import {
  ContinuousTail,
  type Backplane,
  type BackplaneCapabilities,
  type EventRecord,
  type Page,
  type ReadStart,
} from '@sse-channels/engine';
import {
  compareOffsets,
  FIRST_OFFSET,
  formatOffset,
  laterOffset,
  parseCursor,
  type Offset,
  type Retention,
} from '@sse-channels/protocol';
import { eventually } from './eventually.js';
import { randomOf } from './seeded-random.js';

/** What is tried: how to make it, and what it is to declare of itself. */
export interface ContractSubject {
  /**
   * Makes a backplane on the log space of this name, not yet `ready()`. The same name again is another node of it, or, after the first
   * was closed, the process that comes after. The case closes what it made.
   * @param space letters, digits and `-`
   */
  open(space: string): Backplane | Promise<Backplane>;
  /** Where it declares that it can not do a thing, the contract holds it to that instead: nothing is left out. */
  readonly capabilities: BackplaneCapabilities;
}

/** One case; register it with your runner: `for (const { name, run } of backplaneContract(subject)) it(name, run);` */
export interface ContractCase {
  readonly name: string;
  run(): Promise<void>;
}

const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 3_600_000, maxBytes: 10_485_760 };

/** How many random interleavings are tried. */
const SEEDS = 12;

/** The cases of the contract; each has a log space of its own. */
export function backplaneContract(subject: ContractSubject): ContractCase[] {
  const cases: ContractCase[] = [];
  const { capabilities } = subject;
  /** A case of several backplanes; `open` makes one more of the case's log space. */
  const nodes = (name: string, test: (open: () => Promise<Backplane>, topic: string) => Promise<void>): void => {
    const number = cases.length + 1;
    const space = `contract-${process.pid}-${number}`;
    cases.push({
      name,
      run: async () => {
        const opened: Backplane[] = [];
        const open = async (): Promise<Backplane> => {
          const backplane = await subject.open(space);
          opened.push(backplane);
          await backplane.ready();
          return backplane;
        };
        try {
          await test(open, `contract${number}/${process.pid}`);
        } finally {
          await Promise.all(opened.map((backplane) => backplane.close()));
        }
      },
    });
  };
  const contract = (name: string, test: (backplane: Backplane, topic: string) => Promise<void>): void =>
    nodes(name, async (open, topic) => test(await open(), topic));

  contract(
    'it declares what it is tried for, and is live when it is ready',
    async ({ capabilities: declared, state }) => {
      assert.deepEqual([declared, state], [capabilities, 'live']);
    },
  );

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

  contract('a log soon keeps no more than maxEvents, and tells who stood before', async (backplane, topic) => {
    const offsets: Offset[] = [];
    for (let n = 0; n < 10; n += 1)
      offsets.push(offsetOf(await backplane.append(topic, draft(n), { ...KEEP, maxEvents: 4 })));
    await keeps(backplane, topic, 4);
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
    await keeps(backplane, topic, 3);
    const gap = await backplane.read(topic, offsetOf(first), 20);
    const again = await backplane.read(topic, gap.from, 20);
    assert.deepEqual([gap.intact, again.intact, numbers(again.records)], [false, true, [7, 8, 9]]);
  });

  contract('a log soon keeps no more than maxBytes', async (backplane, topic) => {
    for (let n = 0; n < 50; n += 1)
      await backplane.append(topic, { name: 'n', data: JSON.stringify('x'.repeat(98)) }, { ...KEEP, maxBytes: 1_000 });
    await eventually(
      async () => (await backplane.read(topic, null, 100)).records.length <= 10,
      'at most ten records of a hundred bytes are kept',
    );
    const { records, intact } = await backplane.read(topic, null, 100);
    assert.ok(records.length > 0, 'some are kept');
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
    await keeps(backplane, topic, 0);
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
    // What nodes say to each other lies under a first segment that begins so.
    names.push(`$${topic}/all`);
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

  contract('a page with the last n records of many is whole and ends at the head', async (backplane, topic) => {
    await Promise.all(Array.from({ length: 900 }, (_, n) => append(backplane, topic, n)));
    const page = await backplane.read(topic, { last: 600 }, 600);
    assert.deepEqual([numbers(page.records), page.more], [range(300, 900), false]);
  });

  contract(
    'of appends with one idempotencyKey only the first is kept, and all answer its cursor',
    async (backplane, topic) => {
      const keyed = (n: number, idempotencyKey: string, of = topic): Promise<string> =>
        backplane.append(of, draft(n), KEEP, { idempotencyKey });
      const together = await Promise.all([keyed(0, 'ä key/1'), keyed(1, 'ä key/1'), keyed(2, 'other')]);
      const later = await keyed(3, 'ä key/1');
      const elsewhere = await keyed(4, 'ä key/1', `${topic}/other`);
      assert.deepEqual([together[1], later], [together[0], together[0]]);
      assert.notEqual(elsewhere, later);
      assert.deepEqual(numbers(await readAll(backplane, topic, null)), [0, 2]);
    },
  );

  contract('a follower reaches every place of the log space, whatever its own topic does', async (backplane, topic) => {
    const reached: string[] = [];
    const follower = new ContinuousTail(backplane, topic, {
      onRecord: ({ data }) => reached.push(data),
      onGap: (reason) => reached.push(reason),
      onError: (error) => reached.push(String(error)),
    });
    await follower.open();
    const elsewhere = offsetOf(await append(backplane, `${topic}/other`, 0));
    follower.reach(elsewhere);
    await eventually(() => compareOffsets(follower.position, elsewhere) >= 0, 'the follower is as far');
    follower.end();
    assert.deepEqual(reached, []);
  });

  contract(
    capabilities.order === 'space'
      ? "a tail's position follows the records of other topics that are tailed here"
      : "a tail's position follows its own records alone",
    async (backplane, topic) => {
      const quiet = await backplane.tail(topic, () => assert.fail('a record of another topic'), noLoss);
      const tailed: EventRecord[] = [];
      const other = await backplane.tail(`${topic}/other`, (record) => tailed.push(record), noLoss);
      const last = offsetOf(await append(backplane, `${topic}/other`, 0));
      await eventually(() => tailed.length === 1, 'the live record of the other topic');
      const follows = compareOffsets(quiet.position, last) >= 0;
      quiet.end();
      other.end();
      assert.equal(follows, capabilities.order === 'space');
    },
  );

  for (let seed = 1; seed <= SEEDS; seed += 1) {
    contract(
      `in any interleaving of appends, trims, reads and followers, all is whole, in order and given once: seed ${seed}`,
      (backplane, topic) => interleave(backplane, topic, randomOf(seed)),
    );
  }

  nodes(
    capabilities.durable
      ? 'what was acknowledged is there for the next process, and its records follow: the same epoch, later offsets'
      : 'the next process has another epoch, so that no old cursor is taken for one of its own',
    async (open, topic) => {
      const before = await open();
      const cursors: string[] = [];
      for (let n = 0; n < 20; n += 1) cursors.push(await append(before, topic, n));
      const { epoch } = before;
      await before.close();
      const after = await open();
      if (!capabilities.durable) return assert.notEqual(after.epoch, epoch);
      assert.equal(after.epoch, epoch);
      const next = await append(after, topic, 20);
      assert.ok(compareOffsets(offsetOf(cursors[19] as string), offsetOf(next)) < 0, 'offsets go on');
      const records = await readAll(after, topic, offsetOf(cursors[4] as string));
      assert.deepEqual(numbers(records), range(5, 21));
      assert.equal(records.at(-1)?.prev, offsetOf(cursors[19] as string));
    },
  );

  nodes(
    capabilities.sharedAcrossNodes
      ? 'two nodes have the same logs: each follows, reads and continues what the other appends'
      : 'a second node has nothing in common with the first, or is refused',
    async (open, topic) => {
      const one = await open();
      if (!capabilities.sharedAcrossNodes) {
        const other = await open().catch(() => null);
        return assert.notEqual(other?.epoch, one.epoch);
      }
      const two = await open();
      const tailed: EventRecord[] = [];
      const tail = await two.tail(topic, (record) => tailed.push(record), noLoss);
      const cursors: string[] = [];
      for (let n = 0; n < 40; n += 1) cursors.push(await append(n % 2 === 0 ? one : two, topic, n));
      await eventually(() => tailed.length === 40, 'forty live records');
      tail.end();
      assert.equal(one.epoch, two.epoch);
      assert.deepEqual(numbers(tailed), range(0, 40));
      assert.deepEqual(
        cursors.map((cursor) => offsetOf(cursor)),
        tailed.map(({ offset }) => offset),
      );
      const keyed = { idempotencyKey: 'once' };
      const [first, second] = [
        await one.append(topic, draft(40), KEEP, keyed),
        await two.append(topic, draft(41), KEEP, keyed),
      ];
      assert.equal(second, first);
      assert.deepEqual(numbers(await readAll(two, topic, offsetOf(cursors[9] as string))), range(10, 41));
    },
  );

  contract('after close, appends and reads reject and tails are silent', async (backplane, topic) => {
    await backplane.tail(topic, () => assert.fail('a record after close'), noLoss);
    await backplane.close();
    await assert.rejects(append(backplane, topic, 0));
    await assert.rejects(backplane.read(topic, null, 1));
  });
  return cases;
}

/** What one follower was told. */
interface Followed {
  readonly tail: ContinuousTail;
  readonly topic: string;
  /** Offsets of records, and the places that gaps named, in the order in which they were told. */
  readonly told: Array<{ readonly offset: Offset; readonly gap: boolean }>;
  readonly start: Offset;
}

/** Does things at random, several at a time, and compares everything that was read or told with what was appended. */
async function interleave(backplane: Backplane, topic: string, random: () => number): Promise<void> {
  const names = [`${topic}/a`, `${topic}/b`, `${topic}/c`];
  const kept = new Map(names.map((name) => [name, [] as Offset[]]));
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const known: Offset[] = [(await backplane.read(topic, null, 1)).head];
  const appending = new Set<Promise<void>>();
  const followers: Followed[] = [];
  const errors: unknown[] = [];
  let number = 0;

  const appendOne = (): void => {
    const name = pick(names);
    const retention = { ...KEEP, maxEvents: random() < 0.2 ? 3 : 50 };
    const one = backplane.append(name, draft((number += 1)), retention).then(
      (cursor) => {
        kept.get(name)?.push(offsetOf(cursor));
        known.push(offsetOf(cursor));
        appending.delete(one);
      },
      (error: unknown) => void errors.push(error),
    );
    appending.add(one);
  };
  const follow = async (name: string, start: Offset): Promise<void> => {
    const told: Followed['told'] = [];
    const tail = new ContinuousTail(backplane, name, {
      onRecord: ({ offset }) => told.push({ offset, gap: false }),
      onGap: (_, offset) => told.push({ offset, gap: true }),
      onError: (error) => errors.push(error),
    });
    followers.push({ tail, topic: name, told, start });
    await tail.open(start);
  };
  const pages: Array<{ readonly name: string; readonly start: Offset; readonly page: Page }> = [];

  for (let step = 0; step < 150; step += 1) {
    const dice = random();
    if (dice < 0.6) appendOne();
    else if (dice < 0.75) await Promise.all(appending);
    else if (dice < 0.88) {
      const [name, start] = [pick(names), pick(known)];
      pages.push({ name, start, page: await backplane.read(name, start, 1 + Math.floor(random() * 20)) });
    } else if (dice < 0.96) await follow(pick(names), pick(known));
    else if (followers.length > 0) {
      const { tail, topic: name } = pick(followers);
      tail.end();
      await follow(name, laterOffset(tail.position, FIRST_OFFSET));
    }
  }
  await Promise.all(appending);
  for (const offsets of kept.values()) offsets.sort(compareOffsets);
  const ended = followers.filter(({ tail }) => tail.position === '');
  assert.deepEqual([errors, ended], [[], []]);
  const running = followers.filter(({ tail }) => !tail.ended);
  for (const { tail, topic: name } of running) {
    const last = kept.get(name)?.at(-1) ?? FIRST_OFFSET;
    await eventually(() => compareOffsets(tail.position, last) >= 0, `a follower of ${name} is at the head`);
    tail.end();
  }
  for (const { name, start, page } of pages) {
    const from = page.intact ? start : page.from;
    const after = (kept.get(name) ?? []).filter((offset) => compareOffsets(offset, from) > 0);
    const given = page.records.map(({ offset }) => offset);
    assert.deepEqual(given, after.slice(0, given.length), 'a page is whole from where it begins');
  }
  for (const { topic: name, told, start } of followers) {
    const all = kept.get(name) ?? [];
    let after = start;
    let next = all.findIndex((offset) => compareOffsets(offset, start) > 0);
    for (const { offset, gap } of told) {
      assert.ok(compareOffsets(offset, after) >= (gap ? 0 : 1), 'nothing is given twice, or out of order');
      if (gap) {
        while (next >= 0 && next < all.length && compareOffsets(all[next] as Offset, offset) <= 0) next += 1;
      } else {
        assert.equal(all[next], offset, 'nothing is left out');
        next += 1;
      }
      after = offset;
    }
  }
}

function noLoss(): void {
  // A tail may suspect a loss at any time; these cases read what it hands over.
}

/** Waits until a log has trimmed all but so many records. */
function keeps(backplane: Backplane, topic: string, count: number): Promise<void> {
  return eventually(
    async () => (await backplane.read(topic, null, 100)).records.length === count,
    `${count} records are kept`,
  );
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
