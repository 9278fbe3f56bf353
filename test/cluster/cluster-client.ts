/** A reader of one or several topics that comes back with its cursor, and notes everything that it was given. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseCursor, type GapReason, type Offset } from '@sse-channels/protocol';
import type { Dice } from '../endurance/fuzz/dice.js';
import { StreamReader, type Cut } from '../endurance/stream-reader.js';

/** What a client was given: the number of an event, or the word that events of a topic are missing. */
export type Given = GivenEvent | { readonly topic: string; readonly gap: GapReason };

export interface GivenEvent {
  readonly topic: string;
  readonly number: number;
  /** Where it lies in the log: what the engine has lost may be written again, at another place. */
  readonly offset?: Offset | undefined;
}

export interface ClusterClientSettings {
  /** Of the balancer. */
  readonly port: number;
  readonly topics: readonly string[];
  /** Where to begin; from now on when absent. */
  readonly cursor?: string;
  /** The longest silence before the connection is given up, in milliseconds. */
  readonly silenceMs: number;
}

const CUTS: readonly Cut[] = ['close', 'reset', 'half-close'];
const RETRY_MS = 60;

export class ClusterClient {
  readonly given: Given[] = [];
  /** The last number of each topic. */
  readonly reached = new Map<string, number>();
  /** The longest cursor that it was given, in bytes. */
  longestCursor = 0;
  /** How often its connection was closed. */
  closes = 0;
  /** Statuses of the responses that were no stream, but for 503. */
  readonly refusals: number[] = [];
  readonly #path: string;
  #cursor: string;
  #reader: StreamReader | undefined;
  #ended = false;
  #running: Promise<void> | undefined;

  constructor(
    readonly settings: ClusterClientSettings,
    private readonly dice: Dice,
  ) {
    const { topics, cursor } = settings;
    this.#cursor = cursor ?? '';
    this.#path = topics.length === 1 ? `/topics/${topics[0]}/events` : `/events?topics=${topics.join(',')}`;
  }

  /** The last cursor. */
  get cursor(): string {
    return this.#cursor;
  }

  /** Opens its first stream: from there on it owes every event. */
  async begin(): Promise<void> {
    const first = this.#connect();
    await first.opened;
    this.#running = this.#run(first);
  }

  /** Cuts its connection, in any way. */
  cut(): void {
    this.#reader?.cut(this.dice.pick(CUTS));
  }

  async end(): Promise<void> {
    this.#ended = true;
    this.#reader?.cut('close');
    await this.#running;
  }

  async #run(first: StreamReader): Promise<void> {
    for (let reader = first; ; reader = this.#connect()) {
      await reader.closed;
      if (this.#ended) return;
      this.closes += 1;
      if (![0, 200, 503].includes(reader.status)) this.refusals.push(reader.status);
      await pause(RETRY_MS / 2 + this.dice.below(RETRY_MS));
      if (this.#ended) return;
    }
  }

  #connect(): StreamReader {
    const reader: StreamReader = new StreamReader({
      port: this.settings.port,
      path: this.#path,
      ...(this.#cursor === '' ? {} : { cursor: this.#cursor }),
      onEvent: (_, data) => {
        const { topic, number } = JSON.parse(data) as { topic: string; number: number };
        this.given.push({ topic, number, offset: parseCursor(reader.cursor)?.offset });
        this.reached.set(topic, number);
        this.#stand(reader);
      },
      onGap: ({ topic, reason }) => {
        this.given.push({ topic: topic.replace(/^topics\//, ''), gap: reason });
        this.#stand(reader);
      },
      onClose: () => this.#stand(reader),
    });
    this.#reader = reader;
    reader.socket.setTimeout(this.settings.silenceMs, () => reader.cut('close'));
    return reader;
  }

  /** One that was cut before its first block told no cursor. */
  #stand({ cursor }: StreamReader): void {
    if (cursor === '') return;
    this.#cursor = cursor;
    this.longestCursor = Math.max(this.longestCursor, cursor.length);
  }
}
