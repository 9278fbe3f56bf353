/** A journal: what is appended to the logs of one process, on its disk, so that the process that comes after goes on with them. */
import { randomBytes } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { resolve as resolvePath } from 'node:path';
import { AppendError, FIRST_OFFSET, SseChannelsError, type AppendOutcome, type Offset } from '@sse-channels/protocol';
import type { BackplaneListener, BackplaneState } from '../backplane.js';
import { formatBlock } from './block.js';
import { bootOf, DirectoryLock } from './directory-lock.js';
import { SYSTEM_DISK, type Disk, type DiskFile } from './disk.js';
import { formatEntry, JOURNAL_VERSION } from './entry.js';
import { appendEntry, estimateBytes, snapshotOf, type LogSpace, type PlacedDraft } from './log-space.js';
import { recover, segmentAt, truncate, type Segment } from './segments.js';

/** The most that one commit takes, unless a single entry is larger. */
const MAX_COMMIT_BYTES = 4_194_304;
/** What a snapshot adds to each commit: small enough that the appends in it do not wait long. */
const SNAPSHOT_STEP_BYTES = 262_144;
/** The most that may wait for a commit. */
const MAX_WAITING_BYTES = 67_108_864;
/** How long a commit may take before appends are refused. */
const COMMIT_MS = 10_000;
/** How long after a failure writing is tried again. */
const RETRY_MS = 1_000;
/** A snapshot is made when the files hold so many times what it would have, and one segment more. */
const SNAPSHOT_FACTOR = 3;
/** Or when there are so many files more than their bytes explain: each start begins a new one. */
const MAX_SMALL_SEGMENTS = 64;

/** How to keep a journal. */
export interface JournalOptions {
  /** Where its files are: a directory of its own, on a local disk. It is made for its owner alone when it does not exist. */
  readonly directory: string;
  /**
   * Whether an append waits until the disk has it. Without, it waits for the operating system alone: what was acknowledged survives
   * the process, but not the machine; after its crash readers are told `reset`.
   * @default true
   */
  readonly fsync?: boolean;
  /** The size of one file in bytes, from 65,536 on. All files together have about this, and three times what the logs keep. @default 33_554_432 */
  readonly segmentBytes?: number;
  /**
   * How long `ready()` waits for another process to let go of the directory, in milliseconds: for deployments that start the new
   * process before the old one has ended. 0 refuses at once.
   * @default 0
   */
  readonly waitMs?: number;
}

interface Waiting {
  readonly entry: string;
  /** What an error names. */
  readonly topic: string;
  /** Called when it is committed, in the order of the entries. */
  readonly commit: () => void;
  readonly reject: (error: AppendError) => void;
}

/** A segment that is being written. */
interface OpenSegment extends Segment {
  readonly file: DiskFile;
}

/** A snapshot that is being made. */
interface Snapshot {
  /** About how many bytes it was to have. */
  readonly estimate: number;
  /** The segment that it begins in. */
  first: number;
  /** Those to come; undefined before it begins, null after the last. */
  entries: Iterator<string, void> | undefined | null;
  bytes: number;
}

/** Appends to segments, one commit after another, and begins a new one where something went wrong. */
export class Journal {
  readonly directory: string;
  readonly #fsync: boolean;
  readonly #segmentBytes: number;
  readonly #waitMs: number;

  #state: BackplaneState = 'down';
  #reason = 'the journal has not been read yet; await ready() first';
  #listener: BackplaneListener = {};
  #epoch = '';
  #last: Offset = FIRST_OFFSET;
  #lock: DirectoryLock | undefined;
  #boot: string | null = null;

  /** Oldest first; the last is being written. */
  #segments: Segment[] = [];
  #segment: OpenSegment | undefined;
  #next = 1;
  /** Bytes at the end of a segment of which nobody knows whether the disk has them: cut off before anything else is written. */
  #doubtful: { readonly path: string; readonly length: number } | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** How much could not be written when it failed: so much is tried before it counts as working again. */
  #failedBytes = 0;

  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** What uses the files. */
  #using: Promise<void> | undefined;
  #closing = false;
  /** It is not ours any more. */
  #stopped = false;

  #snapshot: Snapshot | undefined;
  /** While the files hold less, nothing is to be gained. */
  #snapshotAt = 0;
  #newestSnapshot = { estimate: 0, bytes: 0, since: 0 };

  /** @throws SseChannelsError `INVALID_OPTION` */
  constructor(
    options: JournalOptions,
    private readonly space: LogSpace,
    private readonly disk: Disk = SYSTEM_DISK,
  ) {
    const { directory, fsync = true, segmentBytes = 33_554_432, waitMs = 0 } = options;
    if (typeof directory !== 'string' || directory === '' || directory.includes('\0'))
      throw invalid('directory', directory, 'the path of a directory');
    if (typeof fsync !== 'boolean') throw invalid('fsync', fsync, 'true or false');
    if (!Number.isSafeInteger(segmentBytes) || segmentBytes < 65_536)
      throw invalid('segmentBytes', segmentBytes, 'a whole number of at least 65536');
    if (!Number.isSafeInteger(waitMs) || waitMs < 0) throw invalid('waitMs', waitMs, 'a whole number of at least 0');
    this.directory = resolvePath(directory);
    this.#fsync = fsync;
    this.#segmentBytes = segmentBytes;
    this.#waitMs = waitMs;
  }

  get state(): BackplaneState {
    return this.#state;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** The last offset that was given. */
  get last(): Offset {
    return this.#last;
  }

  /** How many bytes its files have. */
  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Takes the directory, and fills the space with what is in it.
   * @throws rejects with SseChannelsError `UNAVAILABLE`
   */
  async open(listener: BackplaneListener): Promise<void> {
    this.#listener = listener;
    try {
      await mkdir(this.directory, { recursive: true, mode: 0o700 });
      await this.#warnOfReaders();
      this.#lock = await DirectoryLock.acquire(this.directory, {
        waitMs: this.#waitMs,
        onLost: (reason) => this.#stop(reason),
      });
      await this.#recover();
    } catch (error) {
      await this.#segment?.file.close().catch(nothing);
      await this.#lock?.release();
      this.#lock = undefined;
      if (error instanceof SseChannelsError) throw error;
      throw new SseChannelsError(
        'UNAVAILABLE',
        `The journal in "${this.directory}" cannot be opened: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  /**
   * Commits a placed draft after those before it. What is told while a commit is under way goes out with the next one.
   * @param commit called when it is committed, in the order of the calls
   * @throws rejects with AppendError
   */
  append(placed: PlacedDraft, idempotencyKey: string | undefined, commit: () => void): Promise<void> {
    const { topic } = placed;
    if (this.#state === 'down') return Promise.reject(new AppendError(topic, 'not-written', this.#reason));
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      const reason = `${this.#waiting.length} others wait for the disk already; publish less at a time`;
      return Promise.reject(new AppendError(topic, 'not-written', reason));
    }
    const entry = formatEntry(appendEntry(placed, idempotencyKey));
    return new Promise((resolve, reject) =>
      this.#add({
        entry,
        topic,
        commit: () => {
          this.#last = placed.offset;
          commit();
          resolve();
        },
        reject,
      }),
    );
  }

  /**
   * Commits that an idle topic was forgotten, or does nothing: then it is idle at the next look as well.
   * @param commit called when it is committed
   */
  forget(topic: string, head: Offset, commit: () => void): void {
    if (this.#state === 'down' || this.#waitingBytes > MAX_WAITING_BYTES) return;
    this.#add({ entry: formatEntry(['forget', topic, head]), topic, commit, reject: nothing });
  }

  /** Makes room on the disk, where the logs keep much less than is there; called now and then. */
  tidy(): void {
    if (this.#snapshot !== undefined || this.#state !== 'live' || this.#closing || this.#segment === undefined) return;
    const { bytes } = this;
    const small = this.#segments.length > MAX_SMALL_SEGMENTS + (4 * bytes) / this.#segmentBytes;
    if (bytes <= this.#snapshotAt && !small) return;
    const estimate = estimateBytes(this.space);
    this.#snapshotAt = this.#segmentBytes + SNAPSHOT_FACTOR * estimate;
    if (bytes <= this.#snapshotAt && !small) return;
    // Where the estimate is far too low, one snapshot must not follow another.
    const newest = this.#newestSnapshot;
    if (newest.since < newest.bytes && estimate > newest.estimate / 2) return;
    this.#snapshot = { estimate, first: 0, entries: undefined, bytes: 0 };
    this.#write();
  }

  /** Commits what was accepted, and lets go of the directory. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#retry);
    this.#snapshot = undefined;
    let late: NodeJS.Timeout | undefined;
    const lateness = new Promise<true>((resolve) => {
      late = setTimeout(resolve, COMMIT_MS, true);
    });
    const isLate = await Promise.race([this.#idle(), lateness]);
    clearTimeout(late);
    const lock = this.#lock;
    if (lock === undefined) return;
    // A write that hangs may still come to an end: nobody else may have the directory before this process is gone.
    if (isLate) return lock.abandon();
    const segment = this.#segment;
    this.#segment = undefined;
    if (segment !== undefined && (await lock.isHeld())) {
      try {
        await segment.file.write(formatBlock([formatEntry(['close'])]), segment.bytes);
        await segment.file.sync();
      } catch (error) {
        this.#listener.onWarning?.(
          `The journal in "${this.directory}" was not closed in order, and is read as after a crash: ${String(error)}`,
        );
      }
    }
    await segment?.file.close().catch(nothing);
    await lock.release().catch(nothing);
  }

  /** Resolves to false when nothing uses the files. */
  async #idle(): Promise<false> {
    while (this.#using !== undefined) await this.#using;
    return false;
  }

  async #recover(): Promise<void> {
    this.#boot = await bootOf();
    const recovered = await recover(this.directory, this.space, this.disk, this.#boot, (message) =>
      this.#listener.onWarning?.(message),
    );
    this.#epoch = recovered.epoch ?? randomBytes(6).toString('base64url');
    this.#last = recovered.last;
    this.#segments = recovered.segments;
    this.#next = recovered.next;
    if (this.#fsync && recovered.unsynced) {
      for (const { path, bytes } of this.#segments) await truncate(this.disk, path, bytes);
    }
    await this.#begin();
    await recovered.settle();
    this.#state = 'live';
    this.tidy();
  }

  async #warnOfReaders(): Promise<void> {
    const { mode } = await stat(this.directory);
    if (process.platform === 'win32' || (mode & 0o077) === 0) return;
    this.#listener.onWarning?.(
      `The directory of the journal, "${this.directory}", is open to other users of this machine (mode ${(mode & 0o777).toString(8)}); events lie in it as they were published. Give it mode 700.`,
    );
  }

  #add(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#waitingBytes += waiting.entry.length;
    this.#write();
  }

  #write(): void {
    this.#use(async () => {
      while (this.#hasWork()) await this.#commitNext();
    });
  }

  #hasWork(): boolean {
    return this.#state === 'live' && (this.#waiting.length > 0 || this.#snapshot !== undefined);
  }

  /** Lets one thing at a time use the files. */
  #use(job: () => Promise<void>): void {
    this.#using ??= (async () => {
      // What is appended in one turn goes out together.
      await Promise.resolve();
      await job();
      this.#using = undefined;
      // Added while the last look was over already.
      if (this.#hasWork()) this.#write();
    })();
  }

  async #commitNext(): Promise<void> {
    const batch: { waiting: Waiting[] } = { waiting: [] };
    const late = setTimeout(() => this.#hold(batch.waiting), COMMIT_MS);
    late.unref();
    let snapshot: Snapshot | undefined;
    try {
      const segment = await this.#segmentWithRoom();
      snapshot = this.#snapshot;
      const entries = snapshot === undefined ? [] : stepOf(snapshot);
      batch.waiting = this.#take();
      for (const { entry } of batch.waiting) entries.push(entry);
      if (entries.length > 0) {
        const block = formatBlock(entries);
        this.#failedBytes = block.length;
        await segment.file.write(block, segment.bytes);
        if (this.#fsync) await segment.file.sync();
        segment.bytes += block.length;
        this.#newestSnapshot.since += block.length;
      }
      // A process that was stopped for long meanwhile may have lost it: who has it now may have read it before this was written.
      if (!(await this.#isHeld())) return rejectAll(batch.waiting, 'unknown', this.#reason);
    } catch (error) {
      return await this.#fail(error, batch.waiting);
    } finally {
      clearTimeout(late);
    }
    if (this.#state === 'down') this.#turn('live', `the disk of the journal in "${this.directory}" answers again`);
    for (const { commit } of batch.waiting) commit();
    if (snapshot?.entries === null && snapshot === this.#snapshot) await this.#endSnapshot(snapshot);
  }

  async #isHeld(): Promise<boolean> {
    return (await this.#lock?.isHeld()) === true;
  }

  /** What goes out with the next commit. */
  #take(): Waiting[] {
    let count = 0;
    let bytes = 0;
    for (const { entry } of this.#waiting) {
      if (count > 0 && bytes + entry.length > MAX_COMMIT_BYTES) break;
      bytes += entry.length;
      count += 1;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  /** The segment that is written, after the next was begun where it is full or a snapshot begins. */
  async #segmentWithRoom(): Promise<OpenSegment> {
    if (!(await this.#isHeld())) throw new Error('its lock was lost');
    let segment = this.#segment;
    if (segment === undefined) throw new Error('no segment is open');
    const full = segment.bytes >= this.#segmentBytes;
    if (full) this.tidy();
    const begins = this.#snapshot?.entries === undefined ? this.#snapshot : undefined;
    if (full || begins !== undefined) {
      if (!this.#fsync) await segment.file.sync();
      await segment.file.close();
      segment = await this.#begin();
      if (begins !== undefined) {
        begins.first = segment.number;
        begins.entries = snapshotOf(this.space, segment.number);
      }
    }
    return segment;
  }

  /**
   * Begins a segment.
   * @param probeBytes so much room is tried first
   */
  async #begin(probeBytes = 0): Promise<OpenSegment> {
    this.#segment = undefined;
    const segment = segmentAt(this.directory, this.#next);
    const previous = this.#segments.at(-1)?.number ?? null;
    const opening = {
      version: JOURNAL_VERSION,
      epoch: this.#epoch,
      previous,
      last: this.#last,
      fsync: this.#fsync,
      boot: this.#boot,
    };
    const file = await this.disk.create(segment.path);
    try {
      const block = formatBlock([formatEntry(['open', opening])]);
      await file.write(block, 0);
      if (probeBytes > 0) {
        // Zeros after a block are a write that was not finished, should it end here.
        await file.write(Buffer.alloc(Math.min(probeBytes, MAX_COMMIT_BYTES)), block.length);
        await file.sync();
        await file.truncate(block.length);
      }
      await file.sync();
      await this.disk.syncDirectory(this.directory);
      segment.bytes = block.length;
    } catch (error) {
      this.#doubtful = { path: segment.path, length: 0 };
      await file.close().catch(nothing);
      await this.#retreat();
      throw error;
    }
    this.#next += 1;
    this.#segments.push(segment);
    return (this.#segment = Object.assign(segment, { file }));
  }

  async #endSnapshot({ first, estimate, bytes }: Snapshot): Promise<void> {
    this.#snapshot = undefined;
    this.#newestSnapshot = { estimate, bytes, since: 0 };
    try {
      // From the oldest on, each gone for good before the next: whatever is left then follows one on the other.
      for (let [oldest] = this.#segments; oldest !== undefined && oldest.number < first; [oldest] = this.#segments) {
        await this.disk.remove(oldest.path);
        if (this.#fsync) await this.disk.syncDirectory(this.directory);
        this.#segments.shift();
      }
    } catch (error) {
      this.#listener.onWarning?.(
        `The journal in "${this.directory}" keeps more than it needs, since a file cannot be removed: ${String(error)}`,
      );
    }
  }

  /** A write failed: what it left is cut off, and all that wait are told. A sync that failed is never tried again. */
  async #fail(cause: unknown, batch: readonly Waiting[]): Promise<void> {
    const segment = this.#segment;
    this.#segment = undefined;
    this.#snapshot = undefined;
    if (!this.#stopped) this.#turn('down', `the journal in "${this.directory}" cannot be written: ${String(cause)}`);
    this.#rejectWaiting();
    if (segment !== undefined) {
      this.#doubtful = { path: segment.path, length: segment.bytes };
      await segment.file.close().catch(nothing);
    }
    rejectAll(batch, (await this.#retreat()) ? 'not-written' : 'unknown', this.#reason);
    this.#tryLater();
  }

  /** A commit takes too long: nobody is left waiting for it. When it does come to an end, it counts. */
  #hold(batch: readonly Waiting[]): void {
    this.#turn('down', `the disk of the journal in "${this.directory}" has not answered for ${COMMIT_MS} ms`);
    rejectAll(batch, 'unknown', this.#reason);
    this.#rejectWaiting();
  }

  /** Cuts off what is doubtful; false when that is not possible. */
  async #retreat(): Promise<boolean> {
    if (this.#doubtful === undefined) return true;
    // Whose directory it is now may have read it.
    if (this.#stopped) return false;
    const { path, length } = this.#doubtful;
    try {
      if (length > 0) await truncate(this.disk, path, length);
      else await this.disk.remove(path);
      this.#doubtful = undefined;
      return true;
    } catch {
      return false;
    }
  }

  #tryLater(): void {
    if (this.#stopped || this.#closing) return;
    this.#retry = setTimeout(() => this.#tryAgain(), RETRY_MS);
    this.#retry.unref();
  }

  #tryAgain(): void {
    this.#use(async () => {
      if (this.#stopped || this.#closing) return;
      try {
        if (!(await this.#retreat())) return this.#tryLater();
        await this.#begin(this.#failedBytes);
      } catch {
        return this.#tryLater();
      }
      this.#turn('live', `the journal in "${this.directory}" can be written again`);
    });
  }

  #stop(reason: string): void {
    this.#stopped = true;
    this.#turn('down', `the lock on the journal in "${this.directory}" was lost: ${reason}. Start this process again`);
    this.#rejectWaiting();
  }

  #rejectWaiting(): void {
    this.#waitingBytes = 0;
    rejectAll(this.#waiting.splice(0), 'not-written', this.#reason);
  }

  #turn(state: BackplaneState, reason: string): void {
    this.#reason = reason;
    this.#state = state;
    this.#listener.onState?.(state, reason);
  }
}

/** The next entries of a snapshot; its `entries` are null after the last. */
function stepOf(snapshot: Snapshot): string[] {
  const step: string[] = [];
  for (let bytes = 0; bytes < SNAPSHOT_STEP_BYTES;) {
    const next = snapshot.entries?.next();
    if (next === undefined || next.done === true) {
      snapshot.entries = null;
      break;
    }
    step.push(next.value);
    bytes += next.value.length;
    snapshot.bytes += next.value.length;
  }
  return step;
}

function rejectAll(waiting: readonly Waiting[], outcome: AppendOutcome, reason: string): void {
  for (const { topic, reject } of waiting) reject(new AppendError(topic, outcome, reason));
}

function nothing(): void {
  // Whoever asked has gone, or asks again.
}

function invalid(option: keyof JournalOptions, value: unknown, wanted: string): SseChannelsError {
  return new SseChannelsError('INVALID_OPTION', `"journal.${option}" is ${JSON.stringify(value)}; give ${wanted}.`);
}
