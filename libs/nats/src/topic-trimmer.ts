/** Has the stream remove what the retention of this process's topics no longer covers, now and then, so that no append pays for it. */
import type { Retention } from '@sse-channels/protocol';

/** A subject is looked at after so many appends, or an eighth of what it keeps. */
const LEAST_STEP = 64;
const STEPS = 8;
/** Of how many subjects the appends are counted; of others the stream's own limits hold. */
const MAX_SUBJECTS = 20_000;
/** How many purges are under way at a time. */
const MAX_PURGES = 2;

/** A record of this process, with what it had appended to the subject by then. */
interface Step {
  readonly sequence: number;
  readonly count: number;
  readonly bytes: number;
  readonly expiresAt: number;
}

interface Trimmed {
  /** Oldest first. */
  readonly steps: Step[];
  count: number;
  bytes: number;
  retention: Retention;
}

/** Removes a subject's messages before a sequence. */
export type Purge = (subject: string, before: number) => Promise<void>;

/**
 * A purge leaves a record that the retention has removed already, and all after it: then the record under whose retention it was
 * removed is among them, and a reader sees from what is left that something before it is gone.
 */
export class TopicTrimmer {
  /** In the order of the last appends. */
  readonly #subjects = new Map<string, Trimmed>();
  readonly #due = new Set<string>();
  #running = 0;
  #closed = false;

  constructor(
    private readonly purge: Purge,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** A record of this process was acknowledged. */
  appended(subject: string, sequence: number, bytes: number, retention: Retention): void {
    let trimmed = this.#subjects.get(subject);
    if (trimmed === undefined) {
      trimmed = { steps: [], count: 0, bytes: 0, retention };
      if (this.#subjects.size >= MAX_SUBJECTS) this.#forgetOldest();
    } else this.#subjects.delete(subject);
    this.#subjects.set(subject, trimmed);
    // The steps of other bounds tell nothing of these.
    if (!isSame(trimmed.retention, retention)) trimmed.steps.length = 0;
    trimmed.retention = retention;
    trimmed.count += 1;
    trimmed.bytes += bytes;
    const last = trimmed.steps.at(-1);
    const step = Math.max(LEAST_STEP, Math.ceil(retention.maxEvents / STEPS));
    const isStep =
      last === undefined ||
      trimmed.count - last.count >= step ||
      trimmed.bytes - last.bytes >= Math.ceil(retention.maxBytes / STEPS);
    if (!isStep) return;
    trimmed.steps.push({
      sequence,
      count: trimmed.count,
      bytes: trimmed.bytes,
      expiresAt: Date.now() + retention.maxAgeMs,
    });
    this.#due.add(subject);
    this.#run();
  }

  close(): void {
    this.#closed = true;
    this.#due.clear();
    this.#subjects.clear();
  }

  #run(): void {
    while (this.#running < MAX_PURGES) {
      const [subject] = this.#due;
      if (subject === undefined) return;
      this.#due.delete(subject);
      void this.#trim(subject);
    }
  }

  async #trim(subject: string): Promise<void> {
    const trimmed = this.#subjects.get(subject);
    if (trimmed === undefined) return;
    const { steps, count, bytes, retention } = trimmed;
    const now = Date.now();
    const removed = steps.findLastIndex(
      (step) =>
        count - step.count >= retention.maxEvents || bytes - step.bytes >= retention.maxBytes || now > step.expiresAt,
    );
    // The first step is where the last purge came to.
    if (removed < 1) return;
    steps.splice(0, removed);
    const [step] = steps;
    if (step === undefined) return;
    this.#running += 1;
    try {
      await this.purge(subject, step.sequence);
    } catch (error) {
      if (!this.#closed) this.onError(error);
    }
    this.#running -= 1;
    this.#run();
  }

  #forgetOldest(): void {
    const [oldest] = this.#subjects.keys();
    if (oldest === undefined) return;
    this.#subjects.delete(oldest);
    this.#due.delete(oldest);
  }
}

function isSame(a: Retention, b: Retention): boolean {
  return a === b || (a.maxEvents === b.maxEvents && a.maxAgeMs === b.maxAgeMs && a.maxBytes === b.maxBytes);
}
