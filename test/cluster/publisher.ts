/** Publishes the numbers of one topic over HTTP, one request after the other, and knows which of them were acknowledged. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Dice } from '../endurance/fuzz/dice.js';
import type { PublishAnswer, PublishRequest } from './app-node.js';
import { post } from './post.js';

/**
 * `keyed`: one number at a time, sent again under its key, to whichever node, until it is acknowledged. `burst`: several that nobody
 * awaits, never sent again.
 */
export type PublisherKind = 'keyed' | 'burst';

export interface PublisherSettings {
  /** Of the balancer. */
  readonly port: number;
  readonly topic: string;
  readonly kind: PublisherKind;
  /** How many numbers a second, on average. */
  readonly perSecond: number;
  /** The most of a burst. */
  readonly maxBurst: number;
  /** Called with each acknowledgement. */
  readonly onAcknowledged: (node: string) => void;
}

/** When a keyed request counts as lost, in milliseconds: a node may be frozen. */
const REQUEST_MS = 2_500;
const RETRY_MS = 100;

export class Publisher {
  /** The cursors that were answered. */
  readonly acknowledged = new Map<number, string>();
  /** What is said not to be in the log. */
  readonly notWritten = new Set<number>();
  /** What may be in the log. */
  readonly unknown = new Set<number>();
  /** Errors that are no AppendError, and answers that are none. */
  readonly failures: string[] = [];
  /** The last number that was sent. */
  last = 0;
  /** The longest time that an append took until it was settled, in milliseconds. */
  slowestMs = 0;
  readonly #over = new AbortController();
  #abandoned = false;

  constructor(
    readonly settings: PublisherSettings,
    private readonly dice: Dice,
  ) {}

  /** Publishes until `stop`; resolves when the last request is settled. */
  async run(): Promise<void> {
    const { kind, perSecond, maxBurst } = this.settings;
    while (!this.#over.signal.aborted) {
      const count = kind === 'keyed' ? 1 : 1 + this.dice.below(maxBurst);
      const everyMs = (1_000 * count) / perSecond;
      await pause(everyMs * (0.5 + this.dice.below(1_000) / 1_000), undefined, { signal: this.#over.signal }).catch(
        () => undefined,
      );
      if (!this.#over.signal.aborted) await this.publish(count);
    }
  }

  /** Publishes the next so many numbers now; those of a keyed publisher until they are acknowledged. */
  async publish(count: number): Promise<void> {
    const from = this.last + 1;
    this.last += count;
    const keyed = this.settings.kind === 'keyed';
    for (let number = from; number <= this.last; number += 1) this.unknown.add(number);
    do {
      const answered = await this.#send({ from, count, keyed });
      if (!keyed || this.acknowledged.has(this.last)) return;
      if (answered || !this.#abandoned) await pause(RETRY_MS / 2 + this.dice.below(RETRY_MS));
    } while (!this.#abandoned);
  }

  stop(): void {
    this.#over.abort();
  }

  /** Gives up what is not acknowledged yet. */
  abandon(): void {
    this.#abandoned = true;
  }

  async #send(request: PublishRequest): Promise<boolean> {
    const { port, topic, onAcknowledged } = this.settings;
    // A burst waits for its node, however long that is frozen: whatever comes later must not be published before.
    const posted = await post(port, `/topics/${topic}`, request, request.keyed ? REQUEST_MS : null).catch(() => null);
    if (posted === null) return false;
    if (posted.status !== 201) {
      this.failures.push(`answered ${posted.status}: ${JSON.stringify(posted.body)}`);
      return false;
    }
    const { node, outcomes } = posted.body as PublishAnswer;
    for (const { number, outcome, cursor, reason, ms } of outcomes) {
      this.slowestMs = Math.max(this.slowestMs, ms);
      if (outcome === 'written') {
        this.acknowledged.set(number, cursor ?? '');
        onAcknowledged(node);
      }
      // An earlier attempt of a keyed one may have been written by a node that could not say so.
      if (outcome === 'written' || (outcome === 'not-written' && !request.keyed)) this.unknown.delete(number);
      if (outcome === 'not-written' && !request.keyed) this.notWritten.add(number);
      if (outcome === 'failed') this.failures.push(reason ?? '');
    }
    return true;
  }
}
