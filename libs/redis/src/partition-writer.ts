/** Appends to one partition: each attempt is one script, and what a lost connection left unknown is looked up in the index. */
import { AppendWindow, AttemptError, type Attempt } from '@sse-channels/engine';
import type { Retention } from '@sse-channels/protocol';
import type { Link } from './link.js';
import type { Partition } from './partition.js';
import { failureOf, hasMoved, lacksScript, reasonOf } from './redis-failure.js';
import { APPEND, APPEND_ONCE, LOST } from './scripts.js';

/** How many entries of the index are looked through by one command. */
const SCAN_PAGE = 1_000;

/** What an append carries to its attempts. */
interface Job {
  readonly payload: string;
  readonly retention: Retention;
  readonly idempotencyKey: string | undefined;
  /** The last id that was known when it was first sent, so that its record comes after it. */
  sentAfter: string | undefined;
}

/** What was written after an id, by token. */
interface Written {
  readonly after: string;
  /** The index still reaches back that far. */
  readonly whole: boolean;
  readonly ids: ReadonlyMap<string, string>;
}

export interface WriterOptions {
  readonly appendTimeoutMs: number;
  readonly maxUnanswered: number;
  readonly indexEvents: number;
  readonly headTtlMs: number;
  readonly publishCommand: string;
}

/** What a writer needs to know of the backplane. */
export interface WriterSource {
  /** The connection for commands; undefined while there is none. */
  command(): Link | undefined;
  epoch(): string;
  /** The last id that is known here. */
  lastId(): string;
  saw(id: string): void;
  /** With several partitions, the least id that comes after all that is known of the others; empty with one. */
  idAfterOthers(): string;
  /** The index is gone. */
  reopen(): void;
  /** The server does not hold the partition any more. */
  moved(): void;
  /** The server has lost the scripts. */
  reload(link: Link): void;
}

export class PartitionWriter {
  readonly #window: AppendWindow<Job, string>;
  readonly #fixed: { readonly indexEvents: string; readonly headTtlMs: number };
  /** Made anew on each connection that needs it. */
  #written: Written | undefined;
  #scan: Promise<Written> | undefined;
  /** Where the oldest attempt that a lost connection left unknown was sent. */
  #doubtAfter: string | undefined;

  constructor(
    private readonly partition: Partition,
    private readonly source: WriterSource,
    private readonly options: WriterOptions,
  ) {
    const { appendTimeoutMs, maxUnanswered } = options;
    this.#window = new AppendWindow((attempt: Attempt<Job>) => this.#attempt(attempt), {
      appendTimeoutMs,
      maxUnanswered,
    });
    this.#fixed = { indexEvents: String(options.indexEvents), headTtlMs: options.headTtlMs };
  }

  /** @returns the record's id */
  append(topic: string, payload: string, retention: Retention, idempotencyKey: string | undefined): Promise<string> {
    return this.#window.append(topic, { payload, retention, idempotencyKey, sentAfter: undefined });
  }

  hold(reason: string): void {
    this.#window.hold(reason);
    this.#written = undefined;
    this.#scan = undefined;
  }

  resume(): void {
    this.#window.resume();
  }

  close(reason: string): void {
    this.#window.close(reason);
  }

  #attempt(attempt: Attempt<Job>): Promise<string> {
    const link = this.source.command();
    if (link === undefined) return Promise.reject(new AttemptError('not-executed', 'Redis cannot be reached.'));
    if (!attempt.maybeWritten) {
      attempt.job.sentAfter ??= this.source.lastId();
      return this.#write(link, attempt);
    }
    const after = attempt.job.sentAfter ?? this.source.lastId();
    const written = this.#written;
    // Where it is known by now, it must not wait: what is sent after it would come before it.
    if (written !== undefined && !isBefore(after, written.after)) return this.#settle(link, attempt, written);
    return this.#lookUp(link, attempt, after);
  }

  async #lookUp(link: Link, attempt: Attempt<Job>, after: string): Promise<string> {
    try {
      this.#scan ??= this.#scanIndex(link, earlier(after, this.#doubtAfter));
      this.#written = await this.#scan;
    } catch (error) {
      throw this.#attemptError(error, link);
    } finally {
      this.#scan = undefined;
    }
    return this.#settle(link, attempt, this.#written);
  }

  #settle(link: Link, attempt: Attempt<Job>, { ids, whole }: Written): Promise<string> {
    const id = ids.get(attempt.token);
    if (id !== undefined) return Promise.resolve(id);
    if (!whole) {
      const reason =
        'What was written before the connection was lost is no longer in the index; a larger "indexEvents" keeps it longer.';
      return Promise.reject(new AttemptError('refused', reason));
    }
    if (attempt.findOnly)
      return Promise.reject(new AttemptError('absent', 'The connection was lost before it was written.'));
    return this.#write(link, attempt);
  }

  async #write(link: Link, attempt: Attempt<Job>): Promise<string> {
    const { topic, token, job } = attempt;
    const { maxEvents, maxAgeMs, maxBytes } = job.retention;
    const { partition } = this;
    const keys = [partition.index(this.source.epoch()), partition.head(topic), partition.log(topic)];
    if (job.idempotencyKey !== undefined) keys.push(partition.once(topic, job.idempotencyKey));
    let id: string;
    try {
      id = await link.runInOrder<string>(job.idempotencyKey === undefined ? APPEND : APPEND_ONCE, keys, [
        topic,
        token,
        job.payload,
        partition.channel(topic),
        partition.filterChannel,
        this.options.publishCommand,
        this.#fixed.indexEvents,
        // The head outlives what it is the head of.
        String(this.#fixed.headTtlMs + Math.min(maxAgeMs, 4_000_000_000_000)),
        String(maxEvents),
        String(maxAgeMs),
        String(maxBytes),
        this.source.idAfterOthers(),
      ]);
    } catch (error) {
      throw this.#attemptError(error, link, job.sentAfter);
    }
    if (id === LOST) {
      this.source.reopen();
      throw new AttemptError('not-executed', 'The logs were removed from Redis; they are begun anew.');
    }
    this.source.saw(id);
    return id;
  }

  #attemptError(error: unknown, link: Link, sentAfter?: string): AttemptError {
    const failure = failureOf(error);
    if (failure === 'unknown' && sentAfter !== undefined) this.#doubtAfter = earlier(sentAfter, this.#doubtAfter);
    if (hasMoved(error)) this.source.moved();
    if (lacksScript(error)) this.source.reload(link);
    return new AttemptError(failure, reasonOf(error), { cause: error });
  }

  /** Nothing that an earlier connection sent is executed any more, so what is not there now never will be. */
  async #scanIndex(link: Link, after: string): Promise<Written> {
    const index = this.partition.index(this.source.epoch());
    const ids = new Map<string, string>();
    const [oldest] = await link.send<Array<[string, string[]]>>(['XRANGE', index, '-', '+', 'COUNT', '1']);
    const whole = oldest !== undefined && !isBefore(after, oldest[0]);
    for (let from = after; ;) {
      const entries = await link.send<Array<[string, string[]]>>([
        'XRANGE',
        index,
        `(${from}`,
        '+',
        'COUNT',
        String(SCAN_PAGE),
      ]);
      for (const [id, fields] of entries) {
        const token = fields[3] ?? '';
        if (this.#window.owns(token)) ids.set(token, id);
      }
      const last = entries.at(-1);
      if (last === undefined || entries.length < SCAN_PAGE) break;
      from = last[0];
    }
    this.#doubtAfter = undefined;
    return { after, whole, ids };
  }
}

function earlier(a: string, b: string | undefined): string {
  return b === undefined || isBefore(a, b) ? a : b;
}

/** Whether an id of Redis comes before another. */
export function isBefore(a: string, b: string): boolean {
  const [dashA, dashB] = [a.indexOf('-'), b.indexOf('-')];
  const ms = Number(a.slice(0, dashA)) - Number(b.slice(0, dashB));
  return ms === 0 ? Number(a.slice(dashA + 1)) < Number(b.slice(dashB + 1)) : ms < 0;
}
