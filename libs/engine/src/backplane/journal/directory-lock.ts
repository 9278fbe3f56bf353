/** A lock on a directory: one process at a time, without a native module, and never held by one that died. */
import { access, open, readdir, readFile, readlink, stat, unlink, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { SseChannelsError } from '@sse-channels/protocol';
import { codeOf, isMissing } from './disk.js';

/** How often a holder shows that it is alive. */
const BEAT_MS = 2_000;
/** A holder of which nothing else can be known has died when it has not shown itself for so long. */
const LEASE_MS = 10_000;
/** How often a holder that may be alive is looked at. */
const LOOK_MS = 100;
const RELEASED = 'released\n';
const NAME = /^lock-(\d{1,15})$/;

/** Who holds it, as its file says. */
interface Holder {
  readonly pid: number;
  /** When the process was started, by the operating system's own count, so that a pid that is used again is told apart; null where that is not known. */
  readonly started: string | null;
  /** Where a pid means the same: this run of the operating system and its namespace of processes, or the machine's name. */
  readonly place: string;
}

export interface DirectoryLockOptions {
  /** How long to wait for a holder that is alive to let go, in milliseconds. */
  readonly waitMs: number;
  /** @default 10_000 */
  readonly leaseMs?: number;
  /** It is no longer ours: files were removed by hand, or this process was not seen for longer than the lease. */
  readonly onLost: (reason: string) => void;
}

/**
 * The lock is the file `lock-<n>` with the highest number. Who finds its holder dead, or released, makes the next one, which the
 * file system grants to one alone; who finds a still higher one afterwards was too late. No number is used twice, so nobody can
 * take away what another has just taken over.
 */
export class DirectoryLock {
  #timer: NodeJS.Timeout | undefined;
  #beatenAt = performance.now();
  #lost = false;

  private constructor(
    private readonly directory: string,
    private readonly number: number,
    private readonly leaseMs: number,
    private readonly onLost: (reason: string) => void,
  ) {
    this.#timer = setInterval(() => void this.#beat(), Math.min(BEAT_MS, leaseMs / 5));
    this.#timer.unref();
  }

  /** @throws rejects with SseChannelsError `UNAVAILABLE` when another process, or this one, holds it */
  static async acquire(
    directory: string,
    { waitMs, leaseMs = LEASE_MS, onLost }: DirectoryLockOptions,
  ): Promise<DirectoryLock> {
    const deadline = performance.now() + waitMs;
    const own: Holder = {
      pid: process.pid,
      started: (await lookUp(process.pid))?.started ?? null,
      place: await place(),
    };
    for (;;) {
      const newest = await newestLock(directory);
      const holder = newest === 0 ? null : await livingHolder(pathOf(directory, newest), own.place, leaseMs);
      if (holder === null) {
        if (await take(directory, newest + 1, own)) return new DirectoryLock(directory, newest + 1, leaseMs, onLost);
      } else if (performance.now() >= deadline) {
        throw new SseChannelsError(
          'UNAVAILABLE',
          `The journal in "${directory}" is in use by ${describe(holder, own)}; end that first, or give each process a directory of its own.`,
        );
      }
      await pause(LOOK_MS);
    }
  }

  /** Resolves to whether it is still ours; asked before each commit, it is nearly always known without a look. */
  async isHeld(): Promise<boolean> {
    // A process that was stopped for long goes on where it was, and its timers come later.
    if (!this.#lost && performance.now() - this.#beatenAt > this.leaseMs / 2) await this.#beat();
    return !this.#lost;
  }

  /** Lets others have it. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#lost) return;
    // The file stays, so that its number is not used again.
    const file = await open(pathOf(this.directory, this.number), 'r+');
    try {
      await file.write(RELEASED, 0);
      await file.truncate(RELEASED.length);
    } finally {
      await file.close();
    }
  }

  /** Shows nothing any more, and lets nobody have it before the lease ends. */
  abandon(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    const now = new Date();
    try {
      await utimes(pathOf(this.directory, this.number), now, now);
      await access(pathOf(this.directory, this.number + 1)).then(
        () => this.#lose('another process took it over, since this one had not been seen for long'),
        (error: unknown) => {
          if (!isMissing(error)) throw error;
        },
      );
      this.#beatenAt = performance.now();
    } catch (error) {
      // Any other failure is the disk's, which the next commit will meet.
      if (isMissing(error)) this.#lose('its lock file was removed');
    }
  }

  #lose(reason: string): void {
    if (this.#lost) return;
    this.#lost = true;
    clearInterval(this.#timer);
    this.onLost(reason);
  }
}

/** The highest number of a lock; 0 when there is none. */
async function newestLock(directory: string): Promise<number> {
  const numbers = (await readdir(directory)).map((name) => Number(NAME.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

/** Makes a lock with this number ours; false when another was faster. */
async function take(directory: string, number: number, own: Holder): Promise<boolean> {
  const path = pathOf(directory, number);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(`${JSON.stringify(own)}\n`);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
  if ((await newestLock(directory)) > number) {
    await unlink(path);
    return false;
  }
  for (const name of await readdir(directory)) {
    // The one before stays, so that there is a highest one at any time.
    if (Number(NAME.exec(name)?.[1] ?? number) < number - 1) await unlink(join(directory, name)).catch(() => undefined);
  }
  return true;
}

/** Who holds a lock; null when nobody does. Where a look does not tell, it waits for as long as a lease. */
async function livingHolder(path: string, here: string, leaseMs: number): Promise<Holder | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  if (text.startsWith(RELEASED)) return null;
  const holder = parseHolder(text);
  if (holder?.place === here) {
    if (!isRunning(holder.pid)) return null;
    const running = await lookUp(holder.pid);
    if (running?.ended === true) return null;
    if (running !== null && holder.started !== null) return running.started === holder.started ? holder : null;
  }
  // A process of another container or machine, or one of which only the pid is known.
  const before = await beatOf(path);
  const deadline = performance.now() + leaseMs;
  while (performance.now() < deadline) {
    await pause(LOOK_MS);
    const beat = await beatOf(path);
    if (beat === null) return null;
    if (beat !== before) return holder ?? { pid: 0, started: null, place: '' };
  }
  return null;
}

async function beatOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function parseHolder(text: string): Holder | null {
  try {
    const { pid, started, place: where } = JSON.parse(text) as Holder;
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, started, place: where } : null;
  } catch {
    return null;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/** What `/proc` tells of a process; null where it tells nothing. */
async function lookUp(pid: number): Promise<{ readonly started: string | null; readonly ended: boolean } | null> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, and may hold both blanks and parentheses.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // It was killed, but the process that started it has not looked yet: Z, or X.
    return { started: fields[19] ?? null, ended: fields[0] === 'Z' || fields[0] === 'X' };
  } catch {
    return null;
  }
}

async function place(): Promise<string> {
  const boot = await bootOf();
  if (boot === null) return hostname();
  return `${boot} ${await readlink('/proc/self/ns/pid').catch(() => hostname())}`;
}

/** Identifies the run of the operating system; null where it does not tell. */
export async function bootOf(): Promise<string | null> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    return null;
  }
}

function describe({ pid, place: where }: Holder, own: Holder): string {
  if (pid === 0) return 'another process';
  if (where !== own.place) return `process ${pid} of another container or machine`;
  return pid === own.pid ? `this process (${pid})` : `process ${pid}`;
}

function pathOf(directory: string, number: number): string {
  return join(directory, `lock-${number}`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
