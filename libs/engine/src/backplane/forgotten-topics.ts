/** What is left of idle topics whose logs were forgotten. */
import { FIRST_OFFSET, laterOffset, type Offset } from '@sse-channels/protocol';
import type { TopicFilter } from './backplane.js';

/** How many first segments are told apart among forgotten topics, so that hostile topic names cannot fill the memory. */
const MAX_FORGOTTEN_SEGMENTS = 1_000;

/**
 * What is left of idle topics: the newest record that was forgotten, told apart by the first segment, which is nearly always a
 * channel's own. Who stands before it cannot be vouched for in a topic without a log, or with one that began later: a gap too
 * many, never one too few.
 */
export class ForgottenTopics {
  readonly #newest = new Map<string, Offset>();
  #newestOfAll: Offset = FIRST_OFFSET;

  add(topic: string, head: Offset): void {
    const segment = firstSegment(topic);
    this.#newestOfAll = laterOffset(this.#newestOfAll, head);
    if (this.#newest.has(segment) || this.#newest.size < MAX_FORGOTTEN_SEGMENTS) {
      this.#newest.set(segment, laterOffset(this.#newest.get(segment) ?? FIRST_OFFSET, head));
    }
  }

  newestOf(filter: TopicFilter): Offset {
    const segment = firstSegment(filter);
    if (segment === '*' || this.#newest.size >= MAX_FORGOTTEN_SEGMENTS) return this.#newestOfAll;
    return this.#newest.get(segment) ?? FIRST_OFFSET;
  }

  /** By first segment. */
  get newest(): ReadonlyMap<string, Offset> {
    return this.#newest;
  }

  get newestOfAll(): Offset {
    return this.#newestOfAll;
  }

  /** Takes over what another run knew. */
  restore(newest: Iterable<readonly [segment: string, offset: Offset]>, newestOfAll: Offset): void {
    this.#newest.clear();
    for (const [segment, offset] of newest) this.#newest.set(segment, offset);
    this.#newestOfAll = newestOfAll;
  }
}

function firstSegment(topic: string): string {
  const end = topic.indexOf('/');
  return end === -1 ? topic : topic.slice(0, end);
}
