/** A client that reads all events of a topic over connections that are cut one after the other, at any byte and in any way. */
import { setTimeout as pause } from 'node:timers/promises';
import { eventually } from '@sse-channels/testing';
import type { Dice } from './fuzz/dice.js';
import { SequenceTally } from './sequence-tally.js';
import { NumberedReader } from './numbered-reader.js';
import type { Cut } from './stream-reader.js';

export interface KilledClientOptions {
  readonly port: number;
  readonly topic: string;
  /** How many will be published. */
  readonly events: number;
  readonly kills: number;
  /** When to give up; what has not come by then is lost. In milliseconds since 1970. */
  readonly deadline: number;
}

const CUTS: readonly Cut[] = ['close', 'reset', 'half-close'];
/** About what an event takes on the wire. */
const EVENT_BYTES = 230;
/** One in so many kills comes after a moment, whatever has come until then: before the head, before the request was handled. */
const IMPATIENT_ONE_IN = 4;
const MAX_PATIENCE_MS = 20;
const MAX_PAUSE_MS = 40;

export class KilledClient {
  readonly tally = new SequenceTally();
  kills = 0;
  gaps = 0;
  #cursor = '';
  #reader: NumberedReader | undefined;

  constructor(
    private readonly options: KilledClientOptions,
    private readonly dice: Dice,
  ) {}

  /** Stands at the topic's beginning: from now on it owes every event. */
  async begin(): Promise<void> {
    const reader = this.#connect({});
    await reader.opened;
    this.#reader = reader;
  }

  async run(): Promise<void> {
    const { events: all, kills } = this.options;
    if (kills > 0) await this.#kill(this.#reader);
    while (this.kills < kills) {
      const left = all - this.tally.last;
      const share = (left * EVENT_BYTES) / (kills - this.kills + 1);
      const impatient = left === 0 || this.dice.oneIn(IMPATIENT_ONE_IN);
      const cutAfterBytes = impatient ? undefined : 1 + this.dice.below(2 * share);
      const reader = this.#connect({ cutAfterBytes, cut: this.dice.pick(CUTS) });
      if (impatient) {
        if (!this.dice.oneIn(4)) await pause(this.dice.below(MAX_PATIENCE_MS));
        reader.cut();
      }
      // The last event may have come before the bytes that it is cut after.
      else await this.#until(reader, () => this.tally.last === all);
      await this.#kill(reader);
      await pause(this.dice.below(MAX_PAUSE_MS));
    }
    const last = this.#connect({});
    await this.#until(last, () => this.tally.last >= all);
    last.cut();
    await last.closed;
  }

  #connect({ cutAfterBytes, cut }: { cutAfterBytes?: number | undefined; cut?: Cut }): NumberedReader {
    return new NumberedReader({
      port: this.options.port,
      topic: this.options.topic,
      ...(this.#cursor === '' ? {} : { cursor: this.#cursor }),
      ...(cutAfterBytes === undefined ? {} : { cutAfterBytes }),
      ...(cut === undefined ? {} : { cut }),
      onEvent: (sequence) => this.tally.take(sequence),
      onGap: () => {
        this.gaps += 1;
      },
    });
  }

  async #kill(reader: NumberedReader | undefined): Promise<void> {
    reader?.cut();
    await reader?.closed;
    this.kills += 1;
    // One that was cut before its first block told no cursor.
    if (reader !== undefined && reader.cursor !== '') this.#cursor = reader.cursor;
  }

  /** Waits until the reader is closed, or it has had what it waits for. */
  async #until(reader: NumberedReader, done: () => boolean): Promise<void> {
    let closed = false;
    void reader.closed.then(() => {
      closed = true;
    });
    const left = this.options.deadline - Date.now();
    await eventually(() => closed || done(), 'what the reader waits for', left).catch(() => reader.cut());
  }
}
