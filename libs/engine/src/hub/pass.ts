/** A pass: news of one feed on their way to those who follow it, in turns of the event loop. */
import type { Waker } from '../connection/source.js';
import type { Feed } from './feed.js';

/** It goes in rounds: first those who stand level, with one batch for all; then each of the others, with what there is by its turn. */
export class Pass {
  readonly #feed: Feed;
  #levelHadTurn = false;
  #wakers: Iterator<Waker>;
  #woken = 0;
  /** The round is for so many of them, the first ones. */
  #length = Infinity;
  /** So many have had their turn when the last news came. */
  #again = 0;

  constructor(feed: Feed) {
    this.#feed = feed;
    this.#wakers = feed.wakers.values();
  }

  /** There is more than those know who had their turn. */
  onNews(): void {
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
      if (!this.#levelHadTurn) {
        moved += this.#moveLevel(most - moved);
      } else if (!this.#wakeNext()) {
        if (this.#again === 0 && this.#feed.level?.areDue !== true) break;
        this.#begin();
      } else moved += 1;
    }
    return moved;
  }

  #moveLevel(most: number): number {
    const { level } = this.#feed;
    this.#levelHadTurn = true;
    if (level === undefined || !level.areDue) return 0;
    const given = level.give(most);
    if (level.isGiving) this.#levelHadTurn = false;
    // Those who had to leave are among the others now.
    else if (given === 0) this.#length = Infinity;
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
    this.#levelHadTurn = false;
    this.#wakers = this.#feed.wakers.values();
    this.#length = this.#again;
    this.#again = this.#woken = 0;
  }
}
