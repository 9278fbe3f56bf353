/** The segments of a journal's directory: their names, and how they are read when a process begins. */
import { randomBytes } from 'node:crypto';
import { copyFile, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { SseChannelsError, type Offset } from '@sse-channels/protocol';
import { readBlock, type BlockAt } from './block.js';
import type { Disk } from './disk.js';
import { JOURNAL_VERSION, parseEntries, type SegmentOpening } from './entry.js';
import { Replay, type LogSpace } from './log-space.js';

const NAME = /^(\d{10})\.journal$/;

export interface Segment {
  readonly number: number;
  readonly path: string;
  bytes: number;
}

/** What was read. */
export interface RecoveredSpace {
  /** Null where the journal begins, or when continuity cannot be vouched for. */
  readonly epoch: string | null;
  /** The last offset that was given. */
  readonly last: Offset;
  /** Oldest first. */
  readonly segments: Segment[];
  /** The number that the next one has. */
  readonly next: number;
  /** Whether what was read may not be on the disk yet. */
  readonly unsynced: boolean;
  /** To be called when the next segment is on the disk: takes away what its epoch does not hold for. */
  settle(): Promise<void>;
}

/** From where on a journal is not taken. */
interface Cut {
  readonly index: number;
  readonly at: number;
  readonly why: string;
  /** A crash explains it. */
  readonly torn: boolean;
}

export function segmentAt(directory: string, number: number): Segment {
  return { number, path: join(directory, `${String(number).padStart(10, '0')}.journal`), bytes: 0 };
}

/**
 * Reads all segments into a space. What a crash left unfinished at the end is cut off. From damage on nothing is taken: the files
 * are kept aside, and the epoch ends.
 * @param warn is told all that was cut off, in sentences for a log
 */
export async function recover(
  directory: string,
  space: LogSpace,
  disk: Disk,
  boot: string | null,
  warn: (message: string) => void,
): Promise<RecoveredSpace> {
  const segments = await listSegments(directory);
  const next = (segments.at(-1)?.number ?? 0) + 1;
  const replay = new Replay(space);
  let opening: SegmentOpening | undefined;
  let closed = false;
  /** The segments before this one are not needed: a snapshot takes their place, or there were none. */
  let replaced = 0;
  let cut: Cut | undefined;
  for (const [index, segment] of segments.entries()) {
    const bytes = await readFile(segment.path);
    let at = 0;
    let block = readBlock(bytes, at);
    for (; block.kind === 'whole'; at = block.end, block = readBlock(bytes, at)) {
      const entries = parseEntries(block.payload);
      const [first] = entries;
      if (at === 0) {
        if (first?.[0] !== 'open') break;
        assertReadable(first[1], directory);
        if (index > 0 && first[1].previous !== segments[index - 1]?.number) break;
        // The very first, or the first of an epoch: it needs nothing from before it.
        const begins = first[1].previous === null || (opening !== undefined && opening.epoch !== first[1].epoch);
        if (begins) replaced = segment.number;
        opening = first[1];
      }
      for (const entry of entries) {
        if (entry[0] === 'snapshot-end') replaced = Math.max(replaced, entry[1]);
        closed = entry[0] === 'close';
        replay.apply(entry);
      }
    }
    segment.bytes = at;
    if (block.kind === 'end' && at > 0) continue;
    cut = { index, at, ...explain(block, segment, at, bytes.length, index === segments.length - 1) };
    break;
  }
  replay.end();

  if (cut?.torn === true) {
    const before = cut.at;
    if (before > 0) await truncate(disk, (segments[cut.index] as Segment).path, before);
    else await disk.remove((segments.pop() as Segment).path);
    warn(`The journal was cut: ${cut.why}, as a crash leaves it.`);
    cut = undefined;
  }
  const doubt =
    cut?.why ??
    (replaced < (segments[0]?.number ?? 0) ? 'its oldest segments are missing' : null) ??
    (opening !== undefined && !closed && !opening.fsync && (boot === null || boot !== opening.boot)
      ? 'it was not closed before the machine stopped, and without fsync nobody knows what had reached the disk'
      : null);
  const recovered = { last: replay.last, segments, next, unsynced: opening?.fsync === false && !closed };
  if (doubt === null) return { ...recovered, epoch: opening?.epoch ?? null, settle: () => Promise.resolve() };

  const aside = `damaged-${Date.now().toString(36)}-${randomBytes(2).toString('hex')}`;
  const from = cut?.at === 0 ? cut.index : (cut?.index ?? segments.length) + 1;
  const later = segments.splice(from);
  warn(
    `The journal in "${directory}" cannot vouch for everything that it acknowledged: ${doubt}. Readers are told "reset"; what lies before is kept.` +
      (cut === undefined ? '' : ` The rest is put aside in files *.${aside}; remove them when you need them no more.`),
  );
  return {
    ...recovered,
    epoch: null,
    settle: async () => {
      if (cut === undefined) return;
      // From the last to the first: until the damage itself is gone, whoever reads this again finds it.
      for (const { path } of later.toReversed()) await rename(path, `${path}.${aside}`);
      const damaged = cut.at === 0 ? undefined : segments[cut.index];
      if (damaged === undefined) return;
      await copyFile(damaged.path, `${damaged.path}.${aside}`);
      await truncate(disk, damaged.path, cut.at);
    },
  };
}

/** What is wrong with a segment from this byte on. */
function explain(
  { kind }: BlockAt,
  { path }: Segment,
  at: number,
  length: number,
  isLast: boolean,
): { readonly why: string; readonly torn: boolean } {
  if (kind === 'whole') return { why: `"${path}" does not follow the segment before it`, torn: false };
  if (isLast && kind !== 'damaged')
    return {
      why: `the write of the last ${length - at} bytes of "${path}", from byte ${at} on, was not finished`,
      torn: true,
    };
  return { why: `"${path}" is damaged at byte ${at} of ${length}`, torn: false };
}

async function listSegments(directory: string): Promise<Segment[]> {
  const numbers = (await readdir(directory)).flatMap((name) => {
    const number = NAME.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
  return numbers.sort((a, b) => a - b).map((number) => segmentAt(directory, number));
}

/** Cuts a file; resolves when the disk has it so. */
export async function truncate(disk: Disk, path: string, length: number): Promise<void> {
  const file = await disk.open(path);
  try {
    await file.truncate(length);
    await file.sync();
  } finally {
    await file.close();
  }
}

function assertReadable({ version }: SegmentOpening, directory: string): void {
  if (version === JOURNAL_VERSION) return;
  throw new SseChannelsError(
    'UNAVAILABLE',
    `The journal in "${directory}" has version ${version}, this code reads ${JOURNAL_VERSION}; use the release that wrote it, or a new directory.`,
  );
}
