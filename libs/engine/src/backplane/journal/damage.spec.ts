import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { copyFile, cp, mkdir, open as openFile, readFile, rm, truncate, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FIRST_OFFSET, parseCursor, type Offset, type Retention } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import fc from 'fast-check';
import { MemoryBackplane } from '../memory-backplane.js';

const KEEP: Retention = { maxEvents: 100_000, maxAgeMs: 3_600_000, maxBytes: 100_000_000 };
const FEW: Retention = { ...KEEP, maxEvents: 20 };
const SEGMENT_BYTES = 65_536;
const TOPICS = 5;
/** What is appended to a journal that was harmed. */
const AFTER = 5_000;

type Harm =
  | { readonly kind: 'truncate' | 'zero'; readonly share: number }
  | { readonly kind: 'flip'; readonly file: number; readonly share: number; readonly bit: number }
  | { readonly kind: 'junk'; readonly bytes: number[] }
  | { readonly kind: 'remove'; readonly file: number };

const share = fc.double({ min: 0, max: 0.999_999, noNaN: true });
const file = fc.nat(100);
const harms: fc.Arbitrary<Harm> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('truncate' as const), share }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('zero' as const), share }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('flip' as const), file, share, bit: fc.nat(7) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('junk' as const),
      bytes: fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 16, maxLength: 100 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), file }) },
);

describe('a journal whose files were harmed', () => {
  const root = mkdtempSync(join(tmpdir(), 'journal-damage-'));
  const whole = join(root, 'whole');
  const compacted = join(root, 'compacted');
  const appended = new Map<string, number[]>();
  let cases = 0;

  beforeAll(async () => {
    appended.set(whole, await write(whole, KEEP));
    appended.set(compacted, await write(compacted, FEW));
    expect([numbersOf(whole)[0], numbersOf(compacted)[0] !== 1]).toEqual([1, true]);
  }, 30_000);
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('is a whole prefix of what was appended, says what was cut off, and goes on', async () => {
    await fc.assert(
      fc.asyncProperty(harms, (harm) => recovers(whole, harm)),
      { numRuns: 150 },
    );
  }, 120_000);

  it('is a whole run of records in each topic, says what was cut off, and goes on, also after a snapshot', async () => {
    await fc.assert(
      fc.asyncProperty(harms, (harm) => recovers(compacted, harm)),
      { numRuns: 100 },
    );
  }, 120_000);

  it('is found to be harmed again when the process that looked at it was killed before it had settled that', async () => {
    const directory = join(root, 'again');
    await cp(whole, directory, { recursive: true });
    await doHarm(directory, { kind: 'flip', file: 1, share: 0.5, bit: 3 });
    // What was begun by the process that was killed: a segment with another epoch, and some files put aside.
    const first = await look(directory);
    const damaged = readdirSync(directory).filter((name) => name.includes('.damaged-'));
    for (const name of damaged) {
      await cp(join(directory, name), join(directory, name.replace(/\.damaged-.*/, '')));
      await unlink(join(directory, name));
    }
    const second = await look(directory);
    expect(damaged.length).toBeGreaterThan(1);
    expect(second.told).toEqual([expect.stringContaining('cannot vouch')]);
    expect(new Set([first.epoch, second.epoch, await epochOf(whole)]).size).toBe(3);
    expect(second.data).toEqual(first.data);
  });

  it('without fsync tells "reset" after the machine stopped, and not after the process was killed', async () => {
    const directory = join(root, 'unsynced');
    const told: string[] = [];
    const backplane = new MemoryBackplane({ journal: { directory, fsync: false } });
    await backplane.ready();
    await backplane.append('log/1', { name: 'n', data: '1' }, KEEP);
    const killed = join(root, 'unsynced-killed');
    await copyKilled(directory, killed);
    await backplane.close();
    const { epoch } = backplane;
    const stopped = join(root, 'unsynced-stopped');
    await cp(killed, stopped, { recursive: true });
    await rewriteBoot(stopped);
    for (const [copy, same] of [
      [killed, true],
      [stopped, false],
    ] as const) {
      told.length = 0;
      const after = new MemoryBackplane({ journal: { directory: copy, fsync: false } });
      await after.ready({ onWarning: (message) => told.push(message) });
      expect([after.epoch === epoch, told.length]).toEqual([same, same ? 0 : 1]);
      expect((await after.read('log/1', null, 10)).records.length).toBe(1);
      await after.close();
    }
  });

  it('is not read by a release that does not know its version', async () => {
    const directory = join(root, 'version');
    await cp(whole, directory, { recursive: true });
    const { formatBlock } = await import('./block.js');
    for (const name of readdirSync(directory)) await rm(join(directory, name));
    const opening = JSON.stringify([
      'open',
      { version: 2, epoch: 'x', previous: null, last: '0-0', fsync: true, boot: null },
    ]);
    const handle = await openFile(join(directory, '0000000001.journal'), 'w');
    await handle.write(formatBlock([opening]));
    await handle.close();
    const backplane = new MemoryBackplane({ journal: { directory } });
    await expect(backplane.ready()).rejects.toThrow(
      `The journal in "${directory}" has version 2, this code reads 1; use the release that wrote it, or a new directory.`,
    );
    await backplane.close();
  });

  async function recovers(from: string, harm: Harm): Promise<void> {
    const directory = join(root, `case-${(cases += 1)}`);
    await cp(from, directory, { recursive: true });
    const effect = await doHarm(directory, harm);
    const all = appended.get(from) as number[];
    const { epoch } = await look(from === whole ? await copyOf(whole) : await copyOf(compacted));

    const first = await look(directory, AFTER);
    const reset = first.epoch !== epoch;
    if (effect === 'nothing') expect([reset, first.told]).toEqual([false, []]);
    else if (effect === 'torn')
      expect([reset, first.told]).toEqual([false, [expect.stringContaining('was not finished')]]);
    else if (effect === 'damaged')
      expect([reset, first.told]).toEqual([true, [expect.stringContaining('cannot vouch')]]);
    const data = first.data.filter((one) => one !== AFTER);
    if (from === whole) {
      // Where the oldest segment was taken away, what is left begins later.
      const start = harm.kind === 'remove' ? Math.max(0, all.indexOf(data[0] ?? 0)) : 0;
      expect(data).toEqual(all.slice(start, start + data.length));
    }
    for (let topic = 0; topic < TOPICS; topic += 1) {
      const of = (list: readonly number[]): number[] => list.filter((n) => n % TOPICS === topic);
      const kept = of(data);
      const start = of(all).indexOf(kept[0] ?? 0);
      expect(kept).toEqual(kept.length === 0 ? [] : of(all).slice(start, start + kept.length));
    }
    expect(first.data.at(-1)).toBe(AFTER);

    const second = await look(directory);
    expect([second.epoch, second.told, second.data]).toEqual([first.epoch, [], first.data]);
    await rm(directory, { recursive: true });
  }

  async function copyOf(from: string): Promise<string> {
    const copy = `${from}-copy`;
    await rm(copy, { recursive: true, force: true });
    await cp(from, copy, { recursive: true });
    return copy;
  }

  async function epochOf(from: string): Promise<string> {
    return (await look(await copyOf(from))).epoch;
  }

  /** Opens it, reads all, and appends. */
  async function look(
    directory: string,
    append?: number,
  ): Promise<{ readonly epoch: string; readonly told: string[]; readonly data: number[] }> {
    const told: string[] = [];
    const backplane = new MemoryBackplane({ journal: { directory, segmentBytes: SEGMENT_BYTES, fsync: false } });
    await backplane.ready({ onWarning: (message) => told.push(message) });
    if (append !== undefined) await backplane.append('log/0', { name: 'n', data: `"${append}"` }, KEEP);
    const { records } = await backplane.read('log/*', null, 1_000_000);
    const { epoch } = backplane;
    await backplane.close();
    return { epoch, told, data: records.map(({ data }) => Number.parseInt(data.slice(1), 10)) };
  }

  /** Makes a journal of a few segments, not closed: what a kill leaves. */
  async function write(directory: string, retention: Retention): Promise<number[]> {
    const source = `${directory}-source`;
    const backplane = new MemoryBackplane({ journal: { directory: source, segmentBytes: SEGMENT_BYTES } });
    await backplane.ready();
    const all: number[] = [];
    const offsets: Offset[] = [FIRST_OFFSET];
    for (let n = 0; n < 1_200; n += 1) {
      const data = `"${n} ${'x'.repeat(n % 700)}"`;
      all.push(n);
      const appending = backplane.append(`log/${n % TOPICS}`, { name: 'n', data }, retention);
      if (n % 7 === 0) offsets.push(parseCursor(await appending)?.offset as Offset);
    }
    await backplane.append('log/0', { name: 'n', data: `"1200 "` }, retention);
    all.push(1_200);
    await copyKilled(source, directory);
    await backplane.close();
    return all;
  }
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

function numbersOf(directory: string): number[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.journal'))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
}

function pathsOf(directory: string): string[] {
  return numbersOf(directory).map((number) => join(directory, `${String(number).padStart(10, '0')}.journal`));
}

/** @returns what it is to be taken for; `either` where that depends on what was hit */
async function doHarm(directory: string, harm: Harm): Promise<'nothing' | 'torn' | 'damaged' | 'either'> {
  const paths = pathsOf(directory);
  const last = paths.at(-1) as string;
  const { size } = statSync(last);
  switch (harm.kind) {
    case 'truncate': {
      const length = Math.floor(harm.share * size);
      const boundaries = await boundariesOf(last);
      await truncate(last, length);
      return boundaries.includes(length) && length > 0 ? 'nothing' : 'torn';
    }
    case 'zero': {
      const length = Math.floor(harm.share * size);
      await truncate(last, length);
      await truncate(last, size);
      // Of a header only a part of which is zeros nobody can say what it was.
      const boundaries = await boundariesOf(last);
      const start = Math.max(0, ...boundaries);
      return length === start || length - start >= 16 ? 'torn' : 'either';
    }
    case 'flip': {
      const path = paths[harm.file % paths.length] as string;
      const at = Math.floor(harm.share * statSync(path).size);
      const handle = await openFile(path, 'r+');
      const byte = Buffer.alloc(1);
      await handle.read(byte, 0, 1, at);
      byte[0] = (byte[0] as number) ^ (1 << harm.bit);
      await handle.write(byte, 0, 1, at);
      await handle.close();
      return 'damaged';
    }
    case 'junk': {
      const handle = await openFile(last, 'a');
      await handle.write(Buffer.from(harm.bytes));
      await handle.close();
      return 'damaged';
    }
    default: {
      const path = paths[harm.file % paths.length] as string;
      await unlink(path);
      // Nobody can miss the last one: it looks as if the process had been killed before it began.
      return path === last ? 'nothing' : 'damaged';
    }
  }
}

/** Where blocks begin and end. */
async function boundariesOf(path: string): Promise<number[]> {
  const { readBlock } = await import('./block.js');
  const bytes = await readFile(path);
  const ends = [0];
  for (let block = readBlock(bytes, 0); block.kind === 'whole'; block = readBlock(bytes, block.end))
    ends.push(block.end);
  return ends;
}

/** Makes a journal look as if another run of the operating system had written it. */
async function rewriteBoot(directory: string): Promise<void> {
  const { formatBlock, readBlock } = await import('./block.js');
  for (const path of pathsOf(directory)) {
    const bytes = await readFile(path);
    const blocks: Buffer[] = [];
    for (let block = readBlock(bytes, 0); block.kind === 'whole'; block = readBlock(bytes, block.end))
      blocks.push(formatBlock([block.payload.slice(1, -1).replace(/"boot":"[^"]*"/, '"boot":"another"')]));
    const handle = await openFile(path, 'w');
    await handle.write(Buffer.concat(blocks));
    await handle.close();
  }
}
