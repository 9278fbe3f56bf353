/** The line between nodes: what this one says to all of them or to one, and what it hears, whole and in order. */
import { ContinuousTail } from '../backplane/continuous-tail.js';
import type { Backplane } from '../backplane/backplane.js';
import type { Observer } from '../observer/observer.js';
import { ALL_NODES, draftOf, NODE_RETENTION, readNodeRecord, topicOfNode, type NodeRecord } from './node-record.js';

/** What a line is made of. */
export interface NodeLineParts {
  readonly backplane: Backplane;
  readonly observer: Observer;
  /** This node's id. */
  readonly id: string;
  /** What another node said. */
  readonly onRecord: (record: NodeRecord) => void;
  /** After how many milliseconds without hearing itself it counts as deaf. */
  readonly echoMs: number;
}

export class NodeLine {
  readonly #parts: NodeLineParts;
  readonly #tails = new Set<ContinuousTail>();
  /** The tails whose log could not be read, and is still tried. */
  readonly #deaf = new Set<ContinuousTail>();
  /** Since when it has said something to all that it has not heard itself, by the clock that is never set. */
  #unheardSince: number | undefined;
  /** Whether what was said last was kept: that it is not is told once, and not at every look. */
  #spoke = true;
  #attaching = false;
  #attached = false;
  #closed = false;

  constructor(parts: NodeLineParts) {
    this.#parts = parts;
  }

  /** Whether it is known to hear what others say: of a link that is dead without a word the backplane may not know yet. */
  get hearing(): boolean {
    const { backplane, echoMs } = this.#parts;
    if (!this.#attached || this.#deaf.size > 0 || backplane.state !== 'live') return false;
    return this.#unheardSince === undefined || performance.now() - this.#unheardSince < echoMs;
  }

  /** Begins to hear. Where that fails, it is told, and for the caller to try again. */
  async attach(): Promise<void> {
    if (this.#attached || this.#attaching || this.#closed) return;
    this.#attaching = true;
    try {
      await Promise.all([ALL_NODES, topicOfNode(this.#parts.id)].map((topic) => this.#follow(topic)));
      this.#attached = true;
    } catch (error) {
      this.#end();
      this.#failed(error, 'following what other nodes say');
    } finally {
      this.#attaching = false;
    }
  }

  /**
   * Says something, to all nodes or to one.
   * @param key names it where it may be said twice, but not heard
   * @returns whether it was kept; that it was not is told to the observer, once until something is kept again
   */
  async say(record: NodeRecord, to: string = ALL_NODES, key?: string): Promise<boolean> {
    if (this.#closed) return false;
    if (to === ALL_NODES) this.#unheardSince ??= performance.now();
    try {
      await this.#parts.backplane.append(to, draftOf(record), NODE_RETENTION, { idempotencyKey: key });
      this.#spoke = true;
      return true;
    } catch (error) {
      // Nothing will be heard of it; who cannot speak may hear all the same.
      if (to === ALL_NODES) this.#unheardSince = undefined;
      if (this.#spoke) this.#failed(error, `telling other nodes (${record.kind})`);
      this.#spoke = false;
      return false;
    }
  }

  close(): void {
    this.#closed = true;
    this.#attached = false;
    this.#end();
  }

  async #follow(topic: string): Promise<void> {
    const { backplane, id, onRecord } = this.#parts;
    const tail: ContinuousTail = new ContinuousTail(backplane, topic, {
      onRecord: (appended) => {
        const record = readNodeRecord(appended);
        if (record === null) return;
        if (record.from === id) {
          this.#unheardSince = undefined;
          return;
        }
        try {
          onRecord(record);
        } catch (error) {
          this.#failed(error, `doing what another node says (${record.kind})`);
        }
      },
      // Who missed a lease hears the next, who missed counts sees it by their number, who missed a question is missed in the answer.
      onGap: () => undefined,
      onError: (error) => {
        if (!this.#deaf.has(tail)) this.#failed(error, 'reading what other nodes say');
        this.#deaf.add(tail);
      },
      onLive: () => void this.#deaf.delete(tail),
    });
    this.#tails.add(tail);
    await tail.open();
  }

  #end(): void {
    for (const tail of this.#tails) tail.end();
    this.#tails.clear();
    this.#deaf.clear();
  }

  #failed(error: unknown, context: string): void {
    if (!this.#closed) this.#parts.observer.failed?.(error, context);
  }
}
