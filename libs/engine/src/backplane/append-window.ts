/** Appends to an engine that may fail at any moment: in the order of the calls, bounded, tried again without a double until a deadline. */
import { randomBytes } from 'node:crypto';
import { AppendError, type AppendOutcome } from '@sse-channels/protocol';

/** How many appends of one topic are under way at a time. */
const IN_FLIGHT_PER_TOPIC = 32;
/** How many appends of all topics may be unanswered. */
const MAX_UNANSWERED = 20_000;
/** How long an append is tried. */
const APPEND_TIMEOUT_MS = 10_000;
/** First and longest wait before what failed is tried again. */
const RETRY_MS = 10;
const MAX_RETRY_MS = 250;

/**
 * What became of one attempt:
 * - `not-executed`: surely nothing was written; it is tried again
 * - `unknown`: the answer was lost on its way; it is tried again under the same token
 * - `refused`: surely nothing was written, and trying again would not help
 * - `absent`: of an attempt with `findOnly`: the log does not hold the token
 */
export type AttemptFailure = 'not-executed' | 'unknown' | 'refused' | 'absent';

/** What a driver rejects an attempt with. */
export class AttemptError extends Error {
  override readonly name = 'AttemptError';

  constructor(
    readonly failure: AttemptFailure,
    /** A sentence; it ends the message of the AppendError that a caller may get. */
    reason: string,
    options?: { cause?: unknown },
  ) {
    super(reason, options);
  }
}

/** One attempt to write what `append` was given. */
export interface Attempt<Job> {
  readonly topic: string;
  readonly job: Job;
  /** Names the append; the engine writes at most one record under it. Letters, digits, `-` and `_`. */
  readonly token: string;
  /** An attempt before this one may have been executed: look for the token before writing. */
  readonly maybeWritten: boolean;
  /** A later append of the topic is, or may be, in the log: find the record of the token, but write none. */
  readonly findOnly: boolean;
  /** When the first attempt was made, in milliseconds since 1970; that of this one if it is the first. */
  readonly firstSentAt: number;
}

/**
 * Carries out one attempt. Of one topic, what it is given later must be executed later; of attempts that a lost connection left
 * `unknown`, those that were executed came first. Once it rejected an attempt, that one must not be executed any more after what it is
 * given from then on. It settles every attempt.
 * @throws rejects with AttemptError; anything else counts as `unknown` and is not tried again
 */
export type AppendDriver<Job, Answer> = (attempt: Attempt<Job>) => Promise<Answer>;

export interface AppendWindowOptions {
  /** How long an append is tried, in milliseconds. @default 10000 */
  readonly appendTimeoutMs?: number | undefined;
  /** How many appends of one topic are under way at a time; the others wait. @default 32 */
  readonly inFlightPerTopic?: number | undefined;
  /** How many appends may be unanswered in all, under way or waiting; more are rejected at once. @default 20000 */
  readonly maxUnanswered?: number | undefined;
}

interface Append<Job, Answer> {
  readonly topic: string;
  readonly job: Job;
  readonly token: string;
  /** Its place among the appends of its topic. */
  readonly number: number;
  readonly deadline: number;
  firstSentAt: number;
  maybeWritten: boolean;
  answered: boolean;
  /** Why the last attempt failed. */
  failure: AttemptError | undefined;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** The unanswered appends of one topic. */
interface TopicAppends<Job, Answer> {
  readonly topic: string;
  /** How many the driver holds, with those that a deadline has answered meanwhile. */
  inFlight: number;
  /** An attempt failed and none has succeeded alone since: one at a time, with a pause. */
  suspect: boolean;
  /** To be tried again, in the order of the calls. */
  readonly failed: Array<Append<Job, Answer>>;
  /** Not tried yet, in the order of the calls. */
  readonly waiting: Array<Append<Job, Answer>>;
  nextNumber: number;
  /** The largest number that is, or for ever may be, in the log. */
  written: number;
}

/**
 * The rules that keep the order:
 * 1. Of a topic, attempts go to the driver in the order of the calls, at most so many at a time.
 * 2. After a failure nothing of the topic is sent until everything under way is settled. Then what failed goes first, in its old
 *    order and under its old tokens; the first of it alone, and the others once that one is written.
 * 3. An append that a later one of its topic has overtaken is never written any more: it is answered if the log holds it, else
 *    rejected as `not-written`. Where a later one may have overtaken it, that one is looked for first.
 * 4. An append that gave up is never tried again. A driver that still holds it either executes it before what is sent later, or never:
 *    it is in the log at its place, or not at all.
 */
export class AppendWindow<Job, Answer> {
  readonly #timeoutMs: number;
  readonly #inFlightPerTopic: number;
  readonly #maxUnanswered: number;
  readonly #topics = new Map<string, TopicAppends<Job, Answer>>();
  /** In the order of the calls, which is that of the deadlines. */
  readonly #unanswered = new Set<Append<Job, Answer>>();
  readonly #suspects = new Set<TopicAppends<Job, Answer>>();
  readonly #tokenPrefix = randomBytes(6).toString('base64url');
  #tokens = 0;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryMs = RETRY_MS;
  #held: string | undefined;
  #closed: string | undefined;

  constructor(
    private readonly driver: AppendDriver<Job, Answer>,
    options: AppendWindowOptions = {},
  ) {
    this.#timeoutMs = options.appendTimeoutMs ?? APPEND_TIMEOUT_MS;
    this.#inFlightPerTopic = options.inFlightPerTopic ?? IN_FLIGHT_PER_TOPIC;
    this.#maxUnanswered = options.maxUnanswered ?? MAX_UNANSWERED;
  }

  /** Whether a token was given by this window. */
  owns(token: string): boolean {
    return token.startsWith(this.#tokenPrefix);
  }

  /** How many appends are unanswered. */
  get unanswered(): number {
    return this.#unanswered.size;
  }

  /**
   * @returns what the driver answered
   * @throws rejects with AppendError
   */
  append(topic: string, job: Job): Promise<Answer> {
    if (this.#closed !== undefined) return Promise.reject(new AppendError(topic, 'not-written', this.#closed));
    if (this.#unanswered.size >= this.#maxUnanswered) {
      const reason = `${this.#unanswered.size} events wait for the log to confirm them, the most that may; publish more slowly, or await each publish().`;
      return Promise.reject(new AppendError(topic, 'not-written', reason));
    }
    let appends = this.#topics.get(topic);
    if (appends === undefined) {
      appends = { topic, inFlight: 0, suspect: false, failed: [], waiting: [], nextNumber: 0, written: -1 };
      this.#topics.set(topic, appends);
    }
    const of = appends;
    return new Promise((resolve, reject) => {
      const append: Append<Job, Answer> = {
        topic,
        job,
        token: `${this.#tokenPrefix}${(this.#tokens++).toString(36)}`,
        number: of.nextNumber++,
        deadline: performance.now() + this.#timeoutMs,
        firstSentAt: 0,
        maybeWritten: false,
        answered: false,
        failure: undefined,
        resolve,
        reject,
      };
      this.#unanswered.add(append);
      if (this.#deadlineTimer === undefined) this.#awaitDeadline(this.#timeoutMs);
      of.waiting.push(append);
      if (!of.suspect) this.#send(of);
    });
  }

  /**
   * Sends nothing more until `resume()`: the engine is known to be away. Deadlines run on.
   * @param reason a sentence, for the message of what gives up meanwhile
   */
  hold(reason: string): void {
    this.#held = reason;
  }

  /** Sends again: what failed first, then what waits. */
  resume(): void {
    this.#held = undefined;
    this.#retryMs = RETRY_MS;
    this.#suspects.clear();
    for (const appends of this.#topics.values()) if (!appends.suspect || appends.inFlight === 0) this.#send(appends);
  }

  /** Rejects what is not under way, and every later append. What is under way is answered by the driver, or by its deadline. */
  close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearTimeout(this.#retryTimer);
    for (const appends of this.#topics.values()) {
      for (const append of [...appends.failed.splice(0), ...appends.waiting.splice(0)]) this.#giveUp(append, reason);
      this.#forgetIfIdle(appends);
    }
    if (this.#unanswered.size === 0) clearTimeout(this.#deadlineTimer);
  }

  #send(appends: TopicAppends<Job, Answer>): void {
    if (this.#held !== undefined) return;
    while (appends.inFlight < (appends.suspect ? 1 : this.#inFlightPerTopic)) {
      const doubtful = takeDoubtful(appends);
      if (doubtful !== undefined) {
        appends.suspect = true;
        void this.#attempt(appends, doubtful, true);
        return;
      }
      const append = appends.failed.shift() ?? appends.waiting.shift();
      if (append === undefined) break;
      const overtaken = append.number < appends.written;
      if (overtaken && !append.maybeWritten)
        this.#giveUp(append, 'a later event of the topic was confirmed before it.');
      else void this.#attempt(appends, append, overtaken);
    }
    this.#forgetIfIdle(appends);
  }

  async #attempt(appends: TopicAppends<Job, Answer>, append: Append<Job, Answer>, findOnly: boolean): Promise<void> {
    appends.inFlight += 1;
    const { topic, job, token, maybeWritten } = append;
    if (append.firstSentAt === 0) append.firstSentAt = Date.now();
    // From here on a deadline finds it under way.
    append.maybeWritten = true;
    let failed = false;
    try {
      const { firstSentAt } = append;
      const answer = await this.driver({ topic, job, token, maybeWritten, findOnly, firstSentAt });
      appends.written = Math.max(appends.written, append.number);
      this.#retryMs = RETRY_MS;
      if (this.#answer(append)) append.resolve(answer);
    } catch (error) {
      failed = this.#failed(appends, append, error, maybeWritten);
    }
    appends.inFlight -= 1;
    if (failed) appends.suspect = true;
    else if (appends.inFlight === 0) appends.suspect = false;
    if (!appends.suspect) this.#send(appends);
    else if (appends.inFlight === 0) this.#retryLater(appends);
  }

  /** @returns whether the engine may be in trouble */
  #failed(
    appends: TopicAppends<Job, Answer>,
    append: Append<Job, Answer>,
    error: unknown,
    maybeWrittenBefore: boolean,
  ): boolean {
    const failure =
      error instanceof AttemptError
        ? error
        : new AttemptError('unknown', error instanceof Error ? error.message : String(error), { cause: error });
    append.failure = failure;
    if (failure.failure !== 'unknown') append.maybeWritten = maybeWrittenBefore && failure.failure !== 'absent';
    const overtaken = append.number < appends.written;
    const final = failure !== error || failure.failure === 'refused' || (failure.failure === 'absent' && overtaken);
    if (final) {
      // What came before it may not follow it.
      if (append.maybeWritten) appends.written = Math.max(appends.written, append.number);
      this.#giveUp(append, failure.message);
    } else if (this.#closed !== undefined) this.#giveUp(append, this.#closed);
    else if (!append.answered) {
      const later = appends.failed.findIndex(({ number }) => number > append.number);
      appends.failed.splice(later === -1 ? appends.failed.length : later, 0, append);
    }
    return !final;
  }

  #retryLater(appends: TopicAppends<Job, Answer>): void {
    if (appends.failed.length === 0 && appends.waiting.length === 0) return this.#forgetIfIdle(appends);
    this.#suspects.add(appends);
    if (this.#retryTimer !== undefined || this.#closed !== undefined) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      // Reset by the first success.
      this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
      const due = [...this.#suspects];
      this.#suspects.clear();
      for (const one of due) if (one.inFlight === 0) this.#send(one);
    }, this.#retryMs);
    this.#retryTimer.unref();
  }

  #awaitDeadline(ms: number): void {
    this.#deadlineTimer = setTimeout(() => {
      const now = performance.now();
      for (const append of this.#unanswered) {
        if (append.deadline > now) return this.#awaitDeadline(append.deadline - now);
        this.#dropFromQueue(append);
        const why = this.#held ?? append.failure?.message ?? 'the log did not answer.';
        this.#giveUp(append, `${this.#timeoutMs} ms have passed: ${why}`);
      }
      this.#deadlineTimer = undefined;
    }, Math.ceil(ms));
    this.#deadlineTimer.unref();
  }

  #dropFromQueue(append: Append<Job, Answer>): void {
    const appends = this.#topics.get(append.topic);
    if (appends === undefined) return;
    for (const queue of [appends.failed, appends.waiting]) {
      const index = queue.indexOf(append);
      if (index !== -1) queue.splice(index, 1);
    }
    this.#forgetIfIdle(appends);
  }

  #giveUp(append: Append<Job, Answer>, reason: string): void {
    if (!this.#answer(append)) return;
    const outcome: AppendOutcome = append.maybeWritten ? 'unknown' : 'not-written';
    const { failure } = append;
    append.reject(
      new AppendError(append.topic, outcome, reason, failure === undefined ? undefined : { cause: failure }),
    );
  }

  /** @returns whether it was still unanswered */
  #answer(append: Append<Job, Answer>): boolean {
    if (append.answered) return false;
    append.answered = true;
    // The timer stays, and finds nothing if nothing is left: to set and clear one for each append costs more than the append.
    this.#unanswered.delete(append);
    if (this.#closed !== undefined && this.#unanswered.size === 0) clearTimeout(this.#deadlineTimer);
    return true;
  }

  #forgetIfIdle(appends: TopicAppends<Job, Answer>): void {
    if (appends.inFlight > 0 || appends.failed.length > 0 || appends.waiting.length > 0) return;
    this.#suspects.delete(appends);
    if (this.#topics.get(appends.topic) === appends) this.#topics.delete(appends.topic);
  }
}

/** Takes out a failed append that may be in the log while an earlier one was not executed: the earlier may follow only when it is absent. */
function takeDoubtful<Job, Answer>(appends: TopicAppends<Job, Answer>): Append<Job, Answer> | undefined {
  if (appends.inFlight > 0 || appends.failed.length < 2) return undefined;
  const first = appends.failed.findIndex(({ failure }) => failure?.failure !== 'unknown');
  const last = appends.failed.findLastIndex(({ maybeWritten }) => maybeWritten);
  return first === -1 || last < first ? undefined : appends.failed.splice(last, 1)[0];
}
