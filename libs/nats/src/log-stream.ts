/** The JetStream stream that holds a log space: made, brought up to date and asked. */
import type { StreamConfig, StreamInfo, StreamUpdateConfig } from '@nats-io/jetstream';
import { SseChannelsError } from '@sse-channels/protocol';
import { RequestError, type NatsLink } from './nats-link.js';
import type { CheckedOptions } from './options.js';
import { readMessage, readOfLeader, readPulled, type LeaderMessage, type StoredMessage } from './record-message.js';
import type { TopicSubjects } from './topic-subjects.js';

/** The first version that tells the time of what it republishes. */
const OLDEST = [2, 10] as const;
/** The first version that gives many messages for one request. */
const BATCHES = [2, 11] as const;
/** Says in the stream's metadata that it is ours, and how it is laid out. */
const MARK = 'sse-channels';
const LAYOUT = '1';
/** A request that nobody answers is lost, as when a leader is being elected: better to ask again soon. */
const CALL_TIMEOUT_MS = 2_000;
/** A cluster makes a stream only once all of its replicas are placed. */
const MAKE_TIMEOUT_MS = 10_000;
/** How long until a replica that is behind is asked again. */
const BEHIND_MS = 20;
const STREAM_NOT_FOUND = 10_059;
const NAME_IN_USE = 10_058;
const MESSAGE_NOT_FOUND = 10_037;
const NANOSECONDS = 1_000_000;
/** The port's promise to remember an idempotency key. */
const IDEMPOTENCY_MS = 600_000;
/** A larger event needs more than the server's default of a megabyte. */
const USUAL_PAYLOAD_BYTES = 1_048_576;
/** Without a batch: so many messages are asked for one by one before a consumer is made for the others. */
const ONE_BY_ONE = 6;
/** What a batch holds at most, so that it is not cut by the server's own bounds. */
const BATCH = 1_000;

interface ApiError {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** Several messages of a subject, in the order of their sequences. */
export interface Messages {
  readonly messages: readonly StoredMessage[];
  /** Whether more follow. */
  readonly more: boolean;
}

export class LogStream {
  readonly name: string;
  readonly #api: string;
  /** The limits that the server has, which may be others than those asked for. */
  #config: StreamConfig | undefined;
  #consumers = 0;

  constructor(
    private readonly link: NatsLink,
    private readonly subjects: TopicSubjects,
    private readonly options: CheckedOptions,
  ) {
    this.name = subjects.prefix.replaceAll('.', '-');
    this.#api = options.domain === null ? '$JS.API' : `$JS.${options.domain}.API`;
  }

  /** On how many servers it is kept. */
  get replicas(): number {
    return this.#config?.num_replicas ?? this.options.replicas;
  }

  /** So many messages of a topic are kept at most, one more than are given as records. */
  get maxPerTopic(): number {
    const most = this.#config?.max_msgs_per_subject ?? -1;
    return most > 0 ? most : Number.MAX_SAFE_INTEGER;
  }

  /** In milliseconds. */
  get maxAgeMs(): number {
    const age = this.#config?.max_age ?? 0;
    return age > 0 ? age / NANOSECONDS : Number.MAX_SAFE_INTEGER;
  }

  /** @throws SseChannelsError `UNAVAILABLE` for a server that is too old */
  checkVersion(): void {
    const { version = '0.0.0', server_name: name = '' } = this.link.server ?? {};
    if (atLeast(version, OLDEST)) return;
    throw new SseChannelsError(
      'UNAVAILABLE',
      `NATS server ${name} is version ${version}; the NATS backplane needs ${OLDEST.join('.')} or later, which tells the time of a record that it republishes.`,
    );
  }

  /**
   * Makes the stream, or brings its limits up to date.
   * @param warn told what may break a promise, and the way out
   * @returns the stream as it is, and whether older records may have been removed by a limit that it no longer has
   * @throws rejects with SseChannelsError `UNAVAILABLE`
   */
  async ensure(warn: (message: string) => void): Promise<{ readonly info: StreamInfo; readonly raised: boolean }> {
    const wanted = this.#wanted();
    let info = (await this.#find()) ?? (await this.#make(wanted));
    const { config: before } = info;
    if (before.metadata?.[MARK] !== LAYOUT) {
      throw new SseChannelsError(
        'UNAVAILABLE',
        `The JetStream stream "${this.name}" was not made by the NATS backplane; use another "prefix", or remove that stream.`,
      );
    }
    let raised = false;
    const differing = (Object.keys(wanted) as Array<keyof typeof wanted>).filter(
      (name) => !isSame(wanted[name], before[name]),
    );
    if (differing.length > 0) {
      const changes = differing
        .map((name) => `${name} ${JSON.stringify(before[name])} to ${JSON.stringify(wanted[name])}`)
        .join(', ');
      try {
        info = await this.#call<StreamInfo>(`STREAM.UPDATE.${this.name}`, { ...before, ...wanted }, MAKE_TIMEOUT_MS);
        raised = before.max_msgs_per_subject > 0 && before.max_msgs_per_subject < wanted.max_msgs_per_subject;
        warn(
          `The JetStream stream "${this.name}" had other settings than this process asks for; they were changed: ${changes}. Give all processes of one prefix the same options.`,
        );
      } catch (error) {
        if (differing.includes('republish') || differing.includes('allow_direct') || differing.includes('subjects')) {
          throw this.#cannot(`be changed (${changes})`, error);
        }
        warn(
          `The JetStream stream "${this.name}" has other settings than this process asks for, and they cannot be changed (${changes}): ${messageOf(error)}. They stay as they are.`,
        );
      }
    }
    this.#config = info.config;
    this.#warnOfSettings(info, warn);
    return { info, raised };
  }

  /**
   * The stream as its leader knows it; null where there is none.
   * @throws rejects with RequestError
   */
  async info(): Promise<StreamInfo | null> {
    const info = await this.#find();
    if (info !== null) this.#config = info.config;
    return info;
  }

  /** The message of a sequence; null where there is none, or no more. */
  async get(sequence: number): Promise<StoredMessage | null> {
    return this.#direct({ seq: sequence });
  }

  /** The first message of a subject from a sequence on. */
  async next(subject: string, sequence: number): Promise<StoredMessage | null> {
    return this.#direct({ seq: Math.max(1, sequence), next_by_subj: subject });
  }

  /** The newest message of a subject as any server knows it. */
  async last(subject: string): Promise<StoredMessage | null> {
    return this.#direct({ last_by_subj: subject });
  }

  /** The newest message of a subject as the leader knows it: what was acknowledged before is in sight. */
  async lastOfLeader(subject: string): Promise<StoredMessage | null> {
    return this.replicas === 1 ? this.last(subject) : this.#ofLeader({ last_by_subj: subject });
  }

  /** The place of a sequence's message as the leader knows it. */
  async getOfLeader(sequence: number): Promise<StoredMessage | null> {
    return this.replicas === 1 ? this.get(sequence) : this.#ofLeader({ seq: sequence });
  }

  /** At most `limit` messages of a subject from a sequence on, with all that were acknowledged before this was called. */
  async page(subject: string, sequence: number, limit: number): Promise<Messages> {
    const page = await this.#pageOfAny(subject, sequence, limit);
    if (page.more || this.replicas === 1) return page;
    // Any replica may have answered, one that is far behind as well. The leader has everything.
    const last = (await this.lastOfLeader(subject))?.sequence ?? 0;
    const messages = [...page.messages];
    let from = (messages.at(-1)?.sequence ?? sequence - 1) + 1;
    while (from <= last) {
      if (messages.length === limit) return { messages, more: true };
      const message = await this.#ofLeader({ seq: from, next_by_subj: subject });
      if (message === null) break;
      messages.push(message);
      from = message.sequence + 1;
    }
    return { messages, more: false };
  }

  async #pageOfAny(subject: string, sequence: number, limit: number): Promise<Messages> {
    const found: StoredMessage[] = [];
    let from = Math.max(1, sequence);
    while (found.length < limit) {
      const wanted = Math.min(limit - found.length, BATCH);
      const { messages, more } = this.batches
        ? await this.#batch(subject, from, wanted)
        : found.length < ONE_BY_ONE
          ? await this.#oneByOne(subject, from, Math.min(wanted, ONE_BY_ONE))
          : await this.#consumeOrNot(subject, from, wanted);
      found.push(...messages);
      if (!more) return { messages: found, more: false };
      const last = found.at(-1);
      if (last === undefined) return { messages: found, more: false };
      from = last.sequence + 1;
    }
    return { messages: found, more: true };
  }

  /**
   * How many messages a subject has from a sequence on.
   * @returns null where the server cannot say
   */
  async count(
    subject: string,
    sequence: number,
  ): Promise<{ readonly first: StoredMessage | null; readonly count: number } | null> {
    if (!this.batches) return null;
    const { messages, pending } = await this.#directBatch({
      seq: Math.max(1, sequence),
      next_by_subj: subject,
      batch: 1,
    });
    if (pending === null) return null;
    const [first = null] = messages;
    return { first, count: first === null ? 0 : pending + 1 };
  }

  /**
   * The newest messages of many subjects; those without any are left out.
   * @throws rejects with RequestError; `late` also where the server that answers has not caught up with the leader
   */
  async heads(subjects: readonly string[]): Promise<StoredMessage[]> {
    const found: StoredMessage[] = [];
    if (subjects.length === 0) return found;
    await this.#caughtUp();
    if (!this.batches) {
      for (let start = 0; start < subjects.length; start += BATCH) {
        const some = await Promise.all(subjects.slice(start, start + BATCH).map((subject) => this.last(subject)));
        found.push(...some.filter((one) => one !== null));
      }
      return found;
    }
    let chunk: string[] = [];
    let length = 0;
    const ask = async (): Promise<void> => {
      if (chunk.length === 0) return;
      const { messages } = await this.#directBatch({ multi_last: chunk, batch: chunk.length });
      found.push(...messages);
      chunk = [];
      length = 0;
    };
    for (const subject of subjects) {
      // The request itself must fit a message.
      if (chunk.length >= BATCH || length + subject.length > 200_000) await ask();
      chunk.push(subject);
      length += subject.length;
    }
    await ask();
    return found;
  }

  /** Removes a subject's messages before a sequence. */
  async purge(subject: string, before: number): Promise<void> {
    await this.#call(`STREAM.PURGE.${this.name}`, { filter: subject, seq: before });
  }

  /** Whether one request may answer many messages. */
  get batches(): boolean {
    return atLeast(this.link.server?.version ?? '', BATCHES);
  }

  async #make(wanted: Partial<StreamConfig>): Promise<StreamInfo> {
    try {
      return await this.#call<StreamInfo>(
        `STREAM.CREATE.${this.name}`,
        { ...wanted, ...this.#fixed() },
        MAKE_TIMEOUT_MS,
      );
    } catch (error) {
      // Another node was faster.
      const made = error instanceof RequestError && error.code === NAME_IN_USE ? await this.#find() : null;
      if (made === null) throw this.#cannot('be made', error);
      return made;
    }
  }

  #wanted(): Pick<
    StreamUpdateConfig,
    | 'subjects'
    | 'max_msgs_per_subject'
    | 'max_age'
    | 'max_bytes'
    | 'duplicate_window'
    | 'allow_direct'
    | 'republish'
    | 'num_replicas'
  > {
    const { maxAgeMs, maxBytes, maxEventsPerTopic, duplicateWindowMs, replicas } = this.options;
    return {
      subjects: [`${this.subjects.log}>`, `${this.subjects.marks}.*`],
      // The record before those that are given stays: it tells who stood before.
      max_msgs_per_subject: maxEventsPerTopic + 1,
      max_age: maxAgeMs * NANOSECONDS,
      max_bytes: maxBytes ?? -1,
      duplicate_window: Math.min(duplicateWindowMs, maxAgeMs) * NANOSECONDS,
      allow_direct: true,
      republish: { src: `${this.subjects.log}>`, dest: `${this.subjects.live}>` },
      num_replicas: replicas,
    };
  }

  #fixed(): Partial<StreamConfig> {
    return {
      name: this.name,
      description: 'The event logs of SSE Channels',
      retention: 'limits',
      storage: this.options.storage,
      discard: 'old',
      max_msgs: -1,
      max_consumers: -1,
      max_msg_size: -1,
      metadata: { [MARK]: LAYOUT },
    };
  }

  #warnOfSettings({ config }: StreamInfo, warn: (message: string) => void): void {
    if (config.storage !== this.options.storage) {
      warn(
        `The JetStream stream "${this.name}" is kept in ${config.storage}, not in ${this.options.storage} as asked; that cannot be changed: remove the stream to have it made anew.`,
      );
    } else if (config.storage === 'memory') {
      warn(
        `The JetStream stream "${this.name}" is kept in memory: its events are lost when its servers stop. Use storage "file".`,
      );
    }
    if (config.num_replicas === 1) {
      warn(
        `The JetStream stream "${this.name}" is kept on one server: events cannot be published or replayed while it is away, and are lost with its disk. NATS does not tell a client its "sync_interval"; unless the server has sync_interval: always, acknowledged events of the last two minutes can be lost when its machine fails. Use 3 replicas in a cluster, or sync_interval: always.`,
      );
    }
    if (config.duplicate_window < IDEMPOTENCY_MS * NANOSECONDS) {
      warn(
        `JetStream remembers appends of "${this.name}" for ${config.duplicate_window / NANOSECONDS} ms: an idempotencyKey works no longer than that, ten minutes are promised. Raise duplicateWindowMs, and maxAgeMs with it.`,
      );
    }
    const payload = this.link.server?.max_payload ?? USUAL_PAYLOAD_BYTES;
    if (payload < USUAL_PAYLOAD_BYTES) {
      warn(
        `The NATS server takes messages of ${payload} bytes at most: larger events are refused. Raise its max_payload, or lower limits.eventBytes.`,
      );
    }
  }

  async #find(): Promise<StreamInfo | null> {
    try {
      return await this.#call<StreamInfo>(`STREAM.INFO.${this.name}`, undefined);
    } catch (error) {
      if (error instanceof RequestError && error.code === STREAM_NOT_FOUND) return null;
      if (error instanceof RequestError && error.failure === 'nobody') {
        throw new RequestError(
          'nobody',
          'No server answers for JetStream: it is not enabled (start nats-server with -js), has no leader now, or is in another domain.',
        );
      }
      throw error;
    }
  }

  async #call<Answer>(what: string, body: object | undefined, timeoutMs = CALL_TIMEOUT_MS): Promise<Answer> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const message = await this.link.request(`${this.#api}.${what}`, payload, timeoutMs);
    const answer = JSON.parse(Buffer.from(message.data).toString()) as Answer & { readonly error?: ApiError };
    if (answer.error !== undefined) throw new RequestError('refused', answer.error.description, answer.error.err_code);
    return answer;
  }

  async #ofLeader(query: object): Promise<StoredMessage | null> {
    try {
      const { message } = await this.#call<{ message: LeaderMessage }>(`STREAM.MSG.GET.${this.name}`, query);
      return readOfLeader(message);
    } catch (error) {
      if (error instanceof RequestError && error.code === MESSAGE_NOT_FOUND) return null;
      throw error;
    }
  }

  #cannot(what: string, error: unknown): SseChannelsError {
    return new SseChannelsError(
      'UNAVAILABLE',
      `The JetStream stream "${this.name}" cannot ${what}: ${messageOf(error)}.`,
      {
        cause: error,
      },
    );
  }

  async #direct(query: object): Promise<StoredMessage | null> {
    const message = await this.link.request(
      `${this.#api}.DIRECT.GET.${this.name}`,
      JSON.stringify(query),
      this.#timeoutMs,
    );
    const code = message.headers?.code ?? 0;
    if (code === 404) return null;
    if (code !== 0) throw new RequestError('refused', `${code} ${message.headers?.description ?? ''}`);
    return readMessage(message);
  }

  /** A consumer needs the leader of the whole cluster, which may be away while the messages can be read. */
  async #consumeOrNot(subject: string, from: number, wanted: number): ReturnType<LogStream['page']> {
    try {
      return await this.#consume(subject, from, wanted);
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      return this.#oneByOne(subject, from, wanted);
    }
  }

  /** Any replica answers direct gets, one that has just come back too: resolves when one has what the leader had when this was called. */
  async #caughtUp(): Promise<void> {
    if (this.replicas === 1) return;
    const newest = await this.#ofLeader({ last_by_subj: '>' });
    const deadline = performance.now() + CALL_TIMEOUT_MS;
    if (newest === null) return;
    for (;;) {
      const here = await this.last('>');
      if (here !== null && here.sequence >= newest.sequence) return;
      if (performance.now() > deadline) throw new RequestError('late', 'The server that answers is behind the leader.');
      await new Promise((resolve) => setTimeout(resolve, BEHIND_MS).unref());
    }
  }

  /** Of a request that is answered by many. */
  async #directBatch(query: object): Promise<{ readonly messages: StoredMessage[]; readonly pending: number | null }> {
    const { messages, status } = await this.link.collect(
      `${this.#api}.DIRECT.GET.${this.name}`,
      JSON.stringify(query),
      this.#timeoutMs,
      // A server of the cluster that is too old for batches answers with one message, and no end.
      (message) => message.headers?.has('Nats-Num-Pending') !== true,
    );
    if (status !== undefined && status.code !== 204 && status.code !== 404)
      throw new RequestError('refused', `${status.code} ${status.description}`);
    const pending = status?.code === 204 ? Number(status.get('Nats-Num-Pending')) : status === undefined ? null : 0;
    return { messages: messages.map(readMessage).filter((one) => one !== null), pending };
  }

  async #batch(subject: string, sequence: number, batch: number): Promise<Messages> {
    const { messages, pending } = await this.#directBatch({ seq: sequence, next_by_subj: subject, batch });
    return { messages, more: pending === null || pending > 0 };
  }

  async #oneByOne(subject: string, sequence: number, count: number): Promise<Messages> {
    const messages: StoredMessage[] = [];
    let from = sequence;
    while (messages.length < count) {
      const message = await this.next(subject, from);
      if (message === null) return { messages, more: false };
      messages.push(message);
      from = message.sequence + 1;
    }
    return { messages, more: true };
  }

  async #consume(subject: string, sequence: number, count: number): Promise<Messages> {
    const name = `${this.name}-${process.pid}-${(this.#consumers++).toString(36)}-${Math.random().toString(36).slice(2)}`;
    const { num_pending: pending } = await this.#call<{ num_pending: number }>(`CONSUMER.CREATE.${this.name}.${name}`, {
      stream_name: this.name,
      config: {
        name,
        deliver_policy: 'by_start_sequence',
        opt_start_seq: sequence,
        filter_subject: subject,
        ack_policy: 'none',
        replay_policy: 'instant',
        mem_storage: true,
        num_replicas: 1,
        // A process that is killed leaves none behind.
        inactive_threshold: 5_000 * NANOSECONDS,
      },
    });
    try {
      if (pending === 0) return { messages: [], more: false };
      const batch = Math.min(pending, count);
      const raw = await this.link.pull(
        `${this.#api}.CONSUMER.MSG.NEXT.${this.name}.${name}`,
        JSON.stringify({ batch, no_wait: true }),
        this.#timeoutMs,
        batch,
      );
      const messages = raw.map(readPulled).filter((one) => one !== null);
      // What was removed meanwhile is missing from the batch.
      return { messages, more: messages.length < batch ? messages.length > 0 : pending > batch };
    } finally {
      this.link.publish(`${this.#api}.CONSUMER.DELETE.${this.name}.${name}`, '');
    }
  }

  get #timeoutMs(): number {
    return Math.min(CALL_TIMEOUT_MS, this.options.readTimeoutMs);
  }
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, its = '0', itsMinor = '0'] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(its) > major || (Number(its) === major && Number(itsMinor) >= minor);
}

function isUnanswered(error: unknown): boolean {
  return error instanceof RequestError && (error.failure === 'late' || error.failure === 'nobody');
}

function isSame(wanted: unknown, actual: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return wanted === actual;
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(wanted).every(([name, value]) => isSame(value, (actual as Record<string, unknown>)[name]));
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
}
