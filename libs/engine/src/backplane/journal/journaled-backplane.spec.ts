import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { compareOffsets, FIRST_OFFSET, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { backplaneContract, eventually } from '@sse-channels/testing';
import fc from 'fast-check';
import type { EventRecord, Page } from '../backplane.js';
import { MemoryBackplane } from '../memory-backplane.js';
import { SYSTEM_DISK, type Disk, type DiskFile } from './disk.js';
import type { JournalOptions } from './journal.js';

const root = mkdtempSync(join(tmpdir(), 'journal-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

for (const fsync of [true, false]) {
  describe(`MemoryBackplane with a journal keeps the contract, fsync ${fsync}`, () => {
    const capabilities = { durable: true, sharedAcrossNodes: false, order: 'space' } as const;
    const open = (space: string): MemoryBackplane =>
      new MemoryBackplane({ journal: { directory: join(root, `${fsync}`, space), fsync } });
    for (const { name, run } of backplaneContract({ open, capabilities })) it(name, run);
  });
}

const NOW = 1_700_000_000_000;
const KEEP: Retention = { maxEvents: 1_000, maxAgeMs: 60_000, maxBytes: 1_048_576 };

describe('MemoryBackplane with a journal', () => {
  let directory: string;
  let directories = 0;
  let told: string[];
  let opened: MemoryBackplane[];

  beforeEach(() => {
    directory = join(root, `case-${(directories += 1)}`);
    told = [];
    opened = [];
  });

  afterEach(async () => {
    jest.useRealTimers();
    await Promise.all(opened.map((backplane) => backplane.close()));
  });

  async function open(options: Partial<JournalOptions> = {}, disk?: Disk): Promise<MemoryBackplane> {
    const backplane = new MemoryBackplane({ journal: { directory, ...options } }, disk);
    await backplane.ready({
      onState: (state, reason) => told.push(`${state}: ${reason}`),
      onWarning: (message) => told.push(message),
    });
    opened.push(backplane);
    return backplane;
  }

  async function append(
    backplane: MemoryBackplane,
    topic: string,
    data: string | number = 0,
    retention = KEEP,
  ): Promise<Offset> {
    const cursor = await backplane.append(topic, { name: 'n', data: String(data) }, retention);
    return parseCursor(cursor)?.offset as Offset;
  }

  const segments = (): string[] => readdirSync(directory).filter((name) => name.endsWith('.journal'));
  const bytes = (): number =>
    segments().reduce((sum, name) => {
      try {
        return sum + statSync(join(directory, name)).size;
      } catch {
        return sum;
      }
    }, 0);

  it('hands over and shows a record when it is on the disk, and not before', async () => {
    const disk = new FaultyDisk();
    const backplane = await open({}, disk);
    const tailed: string[] = [];
    await backplane.tail('log/1', ({ data }) => tailed.push(data));
    const synced = disk.holdSync();
    const appended = append(backplane, 'log/1', '1');
    await synced.asked;
    const before = await backplane.read('log/1', null, 10);
    const tailedBefore = [...tailed];
    synced.release();
    const offset = await appended;
    const after = await backplane.read('log/1', null, 10);
    expect([before.records, tailedBefore]).toEqual([[], []]);
    expect(compareOffsets(before.head, offset)).toBeLessThan(0);
    expect([after.records.map(({ data }) => data), tailed]).toEqual([['1'], ['1']]);
  });

  it('writes what is appended during a commit with the next one', async () => {
    const disk = new FaultyDisk();
    const backplane = await open({}, disk);
    const before = disk.syncs;
    const first = append(backplane, 'log/1', 0);
    await eventually(() => disk.syncs > before || disk.writes > 0, 'the first commit is under way');
    const many = Array.from({ length: 500 }, (_, n) => append(backplane, 'log/1', n + 1));
    await Promise.all([first, ...many]);
    expect(disk.syncs - before).toBeLessThanOrEqual(3);
  });

  it('gives the next process exactly the answers of the one before, whatever was appended, trimmed and forgotten', async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          append: fc.integer({ min: 0, max: 5 }),
          bytes: fc.integer({ min: 1, max: 40 }),
          key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ waitMs: fc.integer({ min: 0, max: 700 }) }) },
      { weight: 1, arbitrary: fc.constant({ waitMs: 3_000 }) },
      { weight: 1, arbitrary: fc.record({ clockMs: fc.integer({ min: -5_000, max: 100 }) }) },
      { weight: 2, arbitrary: fc.constantFrom({ restart: 'close' }, { restart: 'kill' }) },
      { weight: 1, arbitrary: fc.constant({ snapshot: true }) },
    );
    const retentions = fc.array(
      fc.record({
        maxEvents: fc.integer({ min: 0, max: 8 }),
        maxAgeMs: fc.constantFrom(1, 500, 1_500, 60_000),
        maxBytes: fc.constantFrom(0, 50, 200, 10_000),
      }),
      { minLength: 6, maxLength: 6 },
    );
    type Step = {
      append?: number;
      bytes?: number;
      key?: string;
      waitMs?: number;
      clockMs?: number;
      restart?: string;
      snapshot?: boolean;
    };
    let run = 0;
    await fc.assert(
      fc.asyncProperty(retentions, fc.array(step as fc.Arbitrary<Step>, { maxLength: 40 }), async (bounds, steps) => {
        jest.useFakeTimers({ now: NOW, doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance'] });
        directory = join(root, `restarts-${(run += 1)}`);
        // Two topics of each first segment.
        const names = bounds.map((_, n) => `log${n >> 1}/${n}`);
        const filters = [...names, 'log0/*', 'log1/*', '*/1', 'log9/x'];
        const places: Offset[] = [FIRST_OFFSET];
        const appended = new Map(names.map((name) => [name, [] as Offset[]]));
        let backplane = await open({ segmentBytes: 65_536 });
        let setBack = false;
        try {
          for (const { append: to, bytes: length = 0, key, waitMs, clockMs, restart, snapshot } of steps) {
            if (waitMs !== undefined) {
              await jest.advanceTimersByTimeAsync(waitMs);
              // What was forgotten meanwhile is committed before this is.
              places.push(await append(backplane, 'other', 0));
            }
            if (clockMs !== undefined) jest.setSystemTime(Date.now() + clockMs);
            setBack ||= (clockMs ?? 0) < 0;
            const name = to === undefined ? undefined : names[to];
            if (name !== undefined) {
              const cursor = await backplane.append(
                name,
                { name: 'n', data: '1'.repeat(length) },
                bounds[to ?? 0] as Retention,
                { idempotencyKey: key },
              );
              const { offset } = parseCursor(cursor) as { offset: Offset };
              if (compareOffsets(offset, places.at(-1) as Offset) > 0) {
                appended.get(name)?.push(offset);
                places.push(offset);
              } else expect(key === undefined ? 'an old offset' : places).toContain(offset);
            }
            if (snapshot === true) {
              await fillSegment(backplane);
              places.push((await backplane.read('filler', null, 1_000)).head);
            }
            const answers = await answersOf(backplane, filters, places);
            if (restart !== undefined) {
              const { epoch } = backplane;
              if (restart === 'kill') await abandon(backplane);
              else await backplane.close();
              backplane = await open({ segmentBytes: 65_536 });
              expect(backplane.epoch).toBe(epoch);
              // After a clock was set back, what is old by the log space's own is trimmed earlier: told, as below.
              if (!setBack) expect(await answersOf(backplane, filters, places)).toEqual(answers);
            }
            for (const topic of names) {
              const all = appended.get(topic) as Offset[];
              for (const place of places) {
                const page = await backplane.read(topic, place, 1_000);
                const from = page.intact ? place : page.from;
                expect(page.records.map(({ offset }) => offset)).toEqual(
                  all.filter((offset) => compareOffsets(offset, from) > 0),
                );
              }
            }
          }
          expect(told.filter((message) => !message.includes('was not finished'))).toEqual([]);
        } finally {
          await backplane.close();
          jest.useRealTimers();
        }
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  /** Appends until a snapshot has been made. */
  async function fillSegment(backplane: MemoryBackplane): Promise<void> {
    const oldest = segments()[0];
    const data = '1'.repeat(20_000);
    for (let n = 0; n < 40 && segments()[0] === oldest; n += 1)
      await append(backplane, 'filler', data, { maxEvents: 0, maxAgeMs: 60_000, maxBytes: 0 });
    expect(segments()[0]).not.toBe(oldest);
  }

  async function answersOf(
    backplane: MemoryBackplane,
    filters: readonly string[],
    places: readonly Offset[],
  ): Promise<Array<Omit<Page, 'head'>>> {
    const answers: Array<Omit<Page, 'head'>> = [];
    for (const filter of filters) {
      for (const place of [null, ...places, { last: 3 }]) {
        const { head: _, ...page } = await backplane.read(filter, place, 1_000);
        answers.push(page);
      }
    }
    return answers;
  }

  /** What a kill leaves: files as they are, and a lock of which the process is gone. */
  async function abandon(backplane: MemoryBackplane): Promise<void> {
    const copy = `${directory}-killed`;
    await copyKilled(directory, copy);
    await backplane.close();
    directory = copy;
  }

  it('gives offsets after all that were ever given, also when the clock was set back between two processes', async () => {
    jest.useFakeTimers({ now: NOW, doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance'] });
    const before = await open();
    const last = await append(before, 'log/1', 0);
    const { head } = await before.read('log/1', null, 10);
    await before.close();
    jest.setSystemTime(NOW - 3_600_000);
    const after = await open();
    const next = await append(after, 'log/1', 1);
    const { records } = await after.read('log/1', head, 10);
    expect(compareOffsets(last, next)).toBeLessThan(0);
    expect(records.map(({ data, prev }) => [data, prev])).toEqual([['1', last]]);
  });

  it('answers an idempotency key as the process before did', async () => {
    const before = await open();
    const keyed = { idempotencyKey: 'once' };
    const together = [1, 2].map((n) => before.append('log/1', { name: 'n', data: String(n) }, KEEP, keyed));
    const [first, second] = await Promise.all(together);
    await before.close();
    const after = await open();
    const third = await after.append('log/1', { name: 'n', data: '3' }, KEEP, keyed);
    expect([second, third]).toEqual([first, first]);
    expect((await after.read('log/1', null, 10)).records.length).toBe(1);
  });

  it('holds no more on the disk than a few times what the logs keep and a few segments, and loses nothing by that', async () => {
    const sizes = fc.record({
      quiet: fc.integer({ min: 0, max: 200 }),
      busy: fc.integer({ min: 1, max: 4 }),
      kept: fc.integer({ min: 0, max: 30 }),
      appends: fc.integer({ min: 500, max: 3_000 }),
      bytes: fc.integer({ min: 20, max: 1_000 }),
    });
    const segmentBytes = 65_536;
    let run = 0;
    await fc.assert(
      fc.asyncProperty(sizes, async ({ quiet, busy, kept, appends, bytes: length }) => {
        directory = join(root, `disk-${(run += 1)}`);
        const backplane = await open({ segmentBytes, fsync: false });
        const data = '1'.repeat(length);
        for (let n = 0; n < quiet; n += 1) await append(backplane, `quiet/${n}`, n);
        let most = 0;
        for (let n = 0; n < appends; n += 50) {
          const some = Array.from({ length: 50 }, (_, m) =>
            append(backplane, `busy/${(n + m) % busy}`, data, { ...KEEP, maxEvents: kept }),
          );
          await Promise.all(some);
          most = Math.max(most, bytes());
        }
        const live = (quiet + busy * kept) * 160 + busy * kept * length;
        expect(most).toBeLessThan(5 * live + 4 * segmentBytes);
        const answers = await answersOf(backplane, ['quiet/*', 'busy/*', 'quiet/0'], [FIRST_OFFSET]);
        await backplane.close();
        const next = await open({ segmentBytes });
        expect(await answersOf(next, ['quiet/*', 'busy/*', 'quiet/0'], [FIRST_OFFSET])).toEqual(answers);
        await next.close();
      }),
      { numRuns: 15 },
    );
  }, 120_000);

  it('lets go of the disk when everything has expired, without anybody publishing', async () => {
    const backplane = await open({ segmentBytes: 65_536 });
    for (let n = 0; n < 400; n += 1)
      void append(backplane, `log/${n % 7}`, '1'.repeat(1_000), { ...KEEP, maxAgeMs: 300 });
    await append(backplane, 'log/1', 0, { ...KEEP, maxAgeMs: 300 });
    const full = bytes();
    await eventually(() => backplane.topics === 0 && bytes() < 65_536, 'the files are small again', 10_000);
    expect(full).toBeGreaterThan(400_000);
  }, 15_000);

  it('does not gather files when processes begin again and again', async () => {
    for (let n = 0; n < 150; n += 1) {
      const backplane = await open({ fsync: false });
      await append(backplane, 'log/1', n);
      await backplane.close();
    }
    const last = await open();
    expect(segments().length).toBeLessThan(80);
    expect((await last.read('log/1', null, 1_000)).records.map(({ data }) => Number(data))).toEqual(
      Array.from({ length: 150 }, (_, n) => n),
    );
  }, 30_000);

  it.each([
    ['write', Infinity],
    ['sync', 1],
  ] as const)(
    'when a %s fails, refuses what was appended, says that it is down, cuts the rest off and goes on in a new file',
    async (failing, times) => {
      const disk = new FaultyDisk();
      const backplane = await open({}, disk);
      await append(backplane, 'log/1', 0);
      disk.failing.set(failing, times);
      const failed = [1, 2].map((n) => append(backplane, 'log/1', n));
      const results = await Promise.allSettled(failed);
      await expect(append(backplane, 'log/1', 3)).rejects.toMatchObject({
        code: 'APPEND_FAILED',
        outcome: 'not-written',
      });
      expect(
        results.map((result) => result.status === 'rejected' && (result.reason as { outcome: string }).outcome),
      ).toEqual(['not-written', 'not-written']);
      expect([backplane.state, told]).toEqual([
        'down',
        [`down: the journal in "${directory}" cannot be written: Error: ENOSPC: no space left on device, ${failing}`],
      ]);
      expect((await backplane.read('log/1', null, 10)).records.map(({ data }) => data)).toEqual(['0']);
      disk.failing.clear();
      await eventually(() => backplane.state === 'live', 'it is live again');
      await append(backplane, 'log/1', 4);
      const answers = await answersOf(backplane, ['log/1'], [FIRST_OFFSET]);
      const { epoch } = backplane;
      await backplane.close();
      const next = await open();
      expect(next.epoch).toBe(epoch);
      expect(await answersOf(next, ['log/1'], [FIRST_OFFSET])).toEqual(answers);
      expect(answers[0]?.records.map(({ data }) => data)).toEqual(['0', '4']);
    },
  );

  it('does not claim to know what became of an append when not even cutting it off works', async () => {
    const disk = new FaultyDisk();
    const backplane = await open({}, disk);
    disk.failing.set('sync', 1).set('open', Infinity);
    await expect(append(backplane, 'log/1', 1)).rejects.toMatchObject({ outcome: 'unknown' });
    disk.failing.clear();
    await eventually(() => backplane.state === 'live', 'it is live again');
    await append(backplane, 'log/1', 2);
    await backplane.close();
    const next = await open();
    expect((await next.read('log/1', null, 10)).records.map(({ data }) => data)).toEqual(['2']);
  });

  it('stays down while there is no room, gathers no files meanwhile, and is live when there is', async () => {
    const disk = new FaultyDisk();
    const backplane = await open({}, disk);
    await append(backplane, 'log/1', 0);
    disk.failing.set('write', Infinity);
    await expect(append(backplane, 'log/1', 1)).rejects.toMatchObject({ outcome: 'not-written' });
    const failures = disk.failures;
    await eventually(() => disk.failures > failures + 1, 'it was tried twice more');
    await eventually(() => segments().length === 1, 'what was tried is removed');
    expect(backplane.state).toBe('down');
    disk.failing.clear();
    await eventually(() => backplane.state === 'live', 'it is live again');
    await append(backplane, 'log/1', 2);
  });

  it('leaves nobody waiting for a disk that does not answer, and counts what it writes in the end', async () => {
    const disk = new FaultyDisk();
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance', 'Date'] });
    const backplane = await open({}, disk);
    const tailed: EventRecord[] = [];
    await backplane.tail('log/1', (record) => tailed.push(record));
    const synced = disk.holdSync();
    const first = append(backplane, 'log/1', 1).catch((error: unknown) => error);
    await synced.asked;
    const second = append(backplane, 'log/1', 2).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(10_000);
    expect([await first, await second]).toMatchObject([{ outcome: 'unknown' }, { outcome: 'not-written' }]);
    expect([backplane.state, tailed.length]).toEqual(['down', 0]);
    synced.release();
    jest.useRealTimers();
    await eventually(() => backplane.state === 'live', 'it is live again');
    await append(backplane, 'log/1', 3);
    expect(tailed.map(({ data }) => data)).toEqual(['1', '3']);
  });

  it('refuses a second backplane on its directory with the directory and the process that has it', async () => {
    await open();
    const second = new MemoryBackplane({ journal: { directory } });
    await expect(second.ready()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: `The journal in "${directory}" is in use by this process (${process.pid}); end that first, or give each process a directory of its own.`,
    });
    await expect(append(second, 'log/1')).rejects.toMatchObject({ outcome: 'not-written' });
    await second.close();
  });

  it('waits for the process before to let go, where asked', async () => {
    const before = await open();
    await append(before, 'log/1', 0);
    const after = open({ waitMs: 5_000 });
    await before.close();
    expect((await (await after).read('log/1', null, 10)).records.length).toBe(1);
  });

  it('commits at the end what was accepted, and rejects what comes later', async () => {
    const before = await open();
    const accepted = Array.from({ length: 50 }, (_, n) => append(before, 'log/1', n));
    await before.close();
    await Promise.all(accepted);
    await expect(append(before, 'log/1', 50)).rejects.toMatchObject({ code: 'CLOSED' });
    const after = await open();
    expect((await after.read('log/1', null, 100)).records.length).toBe(50);
  });

  it('keeps its files for their owner alone, and says so where others can look into the directory', async () => {
    const backplane = await open();
    await append(backplane, 'log/1', 0);
    const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777);
    expect([statSync(directory).mode & 0o777, ...new Set(modes)]).toEqual([0o700, 0o600]);
    expect(told).toEqual([]);
    await backplane.close();
    directory = `${directory}-open`;
    await mkdir(directory);
    await chmod(directory, 0o755);
    await open();
    expect(told).toEqual([
      `The directory of the journal, "${directory}", is open to other users of this machine (mode 755); events lie in it as they were published. Give it mode 700.`,
    ]);
  });

  it.each([
    [{ directory: '' }, '"journal.directory" is ""; give the path of a directory.'],
    [{ directory: 'a\0b' }, '"journal.directory" is "a\\u0000b"; give the path of a directory.'],
    [{ directory: 'x', fsync: 1 }, '"journal.fsync" is 1; give true or false.'],
    [{ directory: 'x', segmentBytes: 1_000 }, '"journal.segmentBytes" is 1000; give a whole number of at least 65536.'],
    [{ directory: 'x', waitMs: -1 }, '"journal.waitMs" is -1; give a whole number of at least 0.'],
  ])('refuses the options %j', (options, message) => {
    expect(() => new MemoryBackplane({ journal: options as JournalOptions })).toThrow(message);
  });
});

/** Copies what a kill leaves: files as they are at one time, and no lock. Older ones may go while it copies; then it begins again. */
async function copyKilled(from: string, to: string): Promise<void> {
  await eventually(async () => {
    rmSync(to, { recursive: true, force: true });
    await mkdir(to, { recursive: true, mode: 0o700 });
    try {
      for (const name of readdirSync(from).filter((one) => one.endsWith('.journal')))
        await copyFile(join(from, name), join(to, name));
      return true;
    } catch {
      return false;
    }
  }, 'the files stay as they are while they are copied');
}

type Call = 'write' | 'sync' | 'open';

/** This machine's disk, of which calls can be made to fail. */
class FaultyDisk implements Disk {
  /** Which calls fail, and how often. */
  readonly failing = new Map<Call, number>();
  failures = 0;
  syncs = 0;
  writes = 0;
  #held: { asked(): void; readonly released: Promise<void> } | undefined;

  /** The next sync waits. */
  holdSync(): { readonly asked: Promise<void>; release(): void } {
    let release = (): void => undefined;
    let asked = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const wasAsked = new Promise<void>((resolve) => (asked = resolve));
    this.#held = { asked, released };
    return { asked: wasAsked, release };
  }

  async create(path: string): Promise<DiskFile> {
    return this.#wrap(await SYSTEM_DISK.create(path));
  }

  async open(path: string): Promise<DiskFile> {
    this.#mayFail('open');
    return this.#wrap(await SYSTEM_DISK.open(path));
  }

  remove(path: string): Promise<void> {
    return SYSTEM_DISK.remove(path);
  }

  syncDirectory(path: string): Promise<void> {
    return SYSTEM_DISK.syncDirectory(path);
  }

  #mayFail(call: Call): void {
    const times = this.failing.get(call) ?? 0;
    if (times === 0) return;
    this.failing.set(call, times - 1);
    this.failures += 1;
    throw Object.assign(new Error(`ENOSPC: no space left on device, ${call}`), { code: 'ENOSPC' });
  }

  #wrap(file: DiskFile): DiskFile {
    return {
      write: async (written, position) => {
        this.writes += 1;
        // As a disk that is full does: a part of it is there.
        if ((this.failing.get('write') ?? 0) > 0) await file.write(written.subarray(0, written.length >> 1), position);
        this.#mayFail('write');
        await file.write(written, position);
      },
      sync: async () => {
        this.syncs += 1;
        const held = this.#held;
        this.#held = undefined;
        held?.asked();
        await held?.released;
        this.#mayFail('sync');
        await file.sync();
      },
      truncate: (length) => file.truncate(length),
      close: () => file.close(),
    };
  }
}
