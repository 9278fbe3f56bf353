/** A pass: news of one feed on their way to those who follow it, in turns of the event loop. */
import type { Waker } from '../connection/source.js';
import type { Feed } from './feed.js';
import type { LevelReaders } from './level-readers.js';

/**
 * It goes in rounds: first those who stand level, in the topic alone or in a set of topics, with one batch for all of each; then each of
 * the others, with what there is by its turn.
 */
export class Pass {
  readonly #feed: Feed;
  /** Those who stand level whose turn it is, and those of the feed's sets who come after them. */
  #level: LevelReaders<unknown> | undefined;
  #sets: Iterator<LevelReaders<unknown>> | undefined;
  /** There may be more for some who stand level. */
  #levelAgain = false;
  #wakers: Iterator<Waker>;
  #woken = 0;
  /** The round is for so many of the others, the first ones. */
  #length = Infinity;
  /** So many of them have had their turn when the last news came. */
  #again = 0;

  constructor(feed: Feed) {
    this.#feed = feed;
    this.#wakers = feed.wakers.values();
    this.#beginLevel();
  }

  /** There is more than those know who had their turn. */
  onNews(): void {
    this.#levelAgain = true;
    this.#length = Infinity;
    this.#again = this.#woken;
  }

  /**
   * Moves some of them.
   * @returns how many; fewer than it might when it is over
   */
  move(most: number): number {
    let moved = 0;
    while (moved < most) {
      if (this.#level !== undefined) {
        moved += this.#moveLevel(this.#level, most - moved);
      } else if (!this.#wakeNext()) {
        if (this.#again === 0 && !this.#levelAgain) break;
        this.#begin();
      } else moved += 1;
    }
    return moved;
  }

  #moveLevel(level: LevelReaders<unknown>, most: number): number {
    // Those who had to leave are among the others now.
    if (level.letGoAstray()) this.#length = Infinity;
    const wereOnTheirWay = level.areOnTheirWay;
    const given = level.give(most);
    if (level.areOnTheirWay) return given;
    if ((wereOnTheirWay || given > 0) && level.areDue) this.#levelAgain = true;
    this.#level = this.#sets?.next().value;
    return given;
  }

  #wakeNext(): boolean {
    if (this.#woken >= this.#length) return false;
    const { value, done } = this.#wakers.next();
    if (done === true) return false;
    this.#woken += 1;
    value.wake();
    return true;
  }

  #begin(): void {
    this.#wakers = this.#feed.wakers.values();
    this.#length = this.#again;
    this.#again = this.#woken = 0;
    this.#beginLevel();
  }

  #beginLevel(): void {
    const { level, setsLevel } = this.#feed;
    this.#levelAgain = false;
    this.#sets = setsLevel?.values();
    this.#level = level ?? this.#sets?.next().value;
  }
}
