/** One try of one claim with one reader and one seed: topics, publishing, and clients that are gone when it is over. */
import { randomOf, eventually } from '@sse-channels/testing';
import { Broken, demand } from './finding.js';
import { judge, Ledger, type Received } from './ledger.js';
import type { Answer, Poster } from './poster.js';
import type { Reader, Reading, SeenEvent } from './reading.js';
import type { RawRequest } from './readers/raw-tcp.js';
import { fill, PLACEHOLDERS, type Payload, type Target } from './target.js';

/** What all trials of a run have in common. */
export interface Session {
  readonly target: Target;
  readonly poster: Poster;
  /** How long a client waits for what must come. */
  readonly deadlineMs: number;
  /** The longest heartbeat interval that is waited for. */
  readonly patienceMs: number;
  /** Few rounds and clients, or many. */
  readonly size: 'short' | 'full';
  /** The name of the application's event, as the stream says it. */
  readonly eventName: string;
  readonly payloadOf: (data: string) => Payload;
  /** Of every topic that was published on. */
  readonly ledgers: Map<string, Ledger>;
  nextNumber(): number;
  nextTopic(): string;
}

/** Where a client begins. */
export interface Beginning extends Pick<RawRequest, 'header' | 'query' | 'stopAtByte'> {
  /** Sent in the header where the reader can, else in the query. */
  readonly cursor?: string | undefined;
  /** @default the trial's own */
  readonly reader?: Reader;
  /** Another way to the target, such as through a proxy. */
  readonly origin?: string;
}

/** The events that the protocol itself sends. */
const CONTROL_EVENTS = ['$open', '$gap', '$error', '$closing'];
/** How many events a log keeps where nobody said: what a claim publishes, so that it causes no gap. */
const ASSUMED_RETAINED = 250;

export class Trial {
  readonly #random: () => number;
  readonly #readings: Reading[] = [];

  constructor(
    readonly session: Session,
    readonly reader: Reader,
    readonly seed: number,
  ) {
    this.#random = randomOf(seed);
  }

  /** A whole number, both ends included. */
  int(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)] as T;
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  /** The first in a short run, the second in a full one. */
  size(short: number, full: number): number {
    return this.session.size === 'short' ? short : full;
  }

  /** So many events can be published, and as many again, with none of them leaving the log. */
  atMost(events: number): number {
    return Math.min(events, Math.floor((this.session.target.retainedEvents ?? ASSUMED_RETAINED) / 2));
  }

  /** A topic of its own, or the only one where the target has no more. */
  topic(name = this.session.nextTopic()): TrialTopic {
    return new TrialTopic(this, name);
  }

  /** Waits for what must come to hold. @throws Broken */
  async eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    await eventually(condition, what, this.session.deadlineMs).catch((error: unknown) => {
      throw new Broken((error as Error).message);
    });
  }

  keep(reading: Reading): void {
    this.#readings.push(reading);
  }

  /** Nothing of it stays open. */
  end(): void {
    for (const reading of this.#readings.splice(0)) reading.leave();
  }
}

export class TrialTopic {
  readonly ledger: Ledger;
  readonly #streamUrl: string;
  readonly #publishUrl: string;
  /** What was looked at of a reading already: it is asked anew with every event. */
  readonly #looked = new WeakMap<Reading, { upTo: number; readonly numbers: Set<number> }>();

  constructor(
    private readonly trial: Trial,
    readonly name: string,
  ) {
    const { target, ledgers } = trial.session;
    this.#streamUrl = target.streamUrl.replaceAll(PLACEHOLDERS.topic, () => encodeURIComponent(name));
    this.#publishUrl = target.publishUrl.replaceAll(PLACEHOLDERS.topic, () => encodeURIComponent(name));
    this.ledger = ledgers.get(this.#streamUrl) ?? new Ledger();
    ledgers.set(this.#streamUrl, this.ledger);
  }

  /** Publishes the next event; what the answer is, is the caller's to judge. */
  async tryPublish(text = ''): Promise<Answer & { readonly number: number }> {
    const { target, poster, nextNumber } = this.trial.session;
    const number = nextNumber();
    this.ledger.send(number);
    const answer = await poster.post(this.#publishUrl, fill(target.body, number, text), target.headers);
    if (answer.status >= 200 && answer.status < 300) this.ledger.acknowledge(number);
    return { ...answer, number };
  }

  /** Publishes the next event. @throws Error where the target refuses it: then the suite cannot be run against it */
  async publish(text = ''): Promise<number> {
    const { number, status, text: answer } = await this.tryPublish(text);
    if (status < 200 || status >= 300) throw new Error(`POST ${this.#publishUrl} answered ${status}: ${answer}`);
    return number;
  }

  /** Publishes so many events, in so many lanes at a time; the numbers as they were sent. */
  async publishRow(count: number, lanes = 1, textOf: () => string = () => ''): Promise<number[]> {
    const numbers: number[] = [];
    const lane = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        numbers.push(await this.publish(textOf()));
      }
    };
    let left = count;
    await Promise.all(Array.from({ length: lanes }, lane));
    return lanes === 1 ? numbers : numbers.sort((a, b) => a - b);
  }

  /** Asks for the stream, whatever is answered. */
  async ask(beginning: Beginning = {}): Promise<Reading> {
    const { session } = this.trial;
    const { reader = this.trial.reader, cursor, stopAtByte, origin } = beginning;
    const request: RawRequest = {
      url: origin === undefined ? this.#streamUrl : this.#streamUrl.replace(new URL(this.#streamUrl).origin, origin),
      headers: session.target.headers,
      header: beginning.header ?? (reader.sendsHeader ? cursor : undefined),
      query: beginning.query ?? (reader.sendsHeader ? undefined : cursor),
      ...(stopAtByte === undefined ? {} : { stopAtByte }),
    };
    const reading = await reader.open(request, [...CONTROL_EVENTS, session.eventName]);
    this.trial.keep(reading);
    return reading;
  }

  /** Opens the stream. @throws Broken unless it begins with `$open` */
  async open(beginning: Beginning = {}): Promise<Reading> {
    const reading = await this.ask(beginning);
    demand([200, null].includes(reading.status), `the stream was answered ${reading.status}, not 200`);
    const opened = await reading.until(
      ({ events, ended }) => events.length > 0 || ended,
      this.trial.session.deadlineMs,
    );
    const [block] = reading.seen;
    const first = block?.kind === 'event' ? block.name : block?.kind;
    demand(opened && first === '$open', `the stream began with ${first ?? 'nothing'}, not with $open`);
    return reading;
  }

  /** What a reading was given of the topic, as the judge takes it. */
  received({ events }: Reading): Received[] {
    return events.flatMap((event): Received[] => {
      if (event.name === '$gap') return ['gap'];
      return event.name === this.trial.session.eventName ? [this.numberOf(event)] : [];
    });
  }

  /** The application's events of a reading. */
  eventsOf({ events }: Reading): SeenEvent[] {
    return events.filter(({ name }) => name === this.trial.session.eventName);
  }

  /** @throws Broken where the event's data is no JSON */
  numberOf({ data }: SeenEvent): number {
    try {
      return Number(this.trial.session.payloadOf(data).number);
    } catch {
      throw new Broken(`an event's data did not come as JSON: ${JSON.stringify(data.slice(0, 200))}`);
    }
  }

  has(reading: Reading, number: number): boolean {
    const looked = this.#looked.get(reading) ?? { upTo: 0, numbers: new Set<number>() };
    this.#looked.set(reading, looked);
    for (; looked.upTo < reading.seen.length; looked.upTo += 1) {
      const seen = reading.seen[looked.upTo];
      if (seen?.kind === 'event' && seen.name === this.trial.session.eventName) {
        looked.numbers.add(this.numberOf(seen));
      }
    }
    return looked.numbers.has(number);
  }

  /** Waits until an event has come. @throws Broken */
  async await(reading: Reading, number: number): Promise<void> {
    const { deadlineMs } = this.trial.session;
    if (await reading.until(() => this.has(reading, number), deadlineMs)) return;
    const { length } = this.eventsOf(reading);
    throw new Broken(
      `lost: ${number} did not come within ${deadlineMs} ms; ${length} others came, the stream is ${reading.ended ? 'ended' : 'open'}`,
    );
  }

  /**
   * Waits for the last of the expected events and judges what came.
   * @param expected in the order of publishing
   * @throws Broken
   */
  async demandExactly(reading: Reading, expected: readonly number[], what: string): Promise<void> {
    const last = expected.at(-1);
    try {
      if (last !== undefined) await this.await(reading, last);
    } catch (error) {
      this.demandJudged(expected, this.received(reading), what);
      throw error;
    }
    this.demandJudged(expected, this.received(reading), what);
  }

  /** @throws Broken */
  demandJudged(
    expected: readonly number[],
    received: readonly Received[],
    what: string,
    gaps: 'none' | 'may be' = 'none',
  ): void {
    const findings = judge(expected, received, gaps);
    demand(findings.length === 0, `${what}: ${findings.join('; ')}`);
  }
}
