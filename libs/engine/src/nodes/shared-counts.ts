/** Connections counted over all nodes: what this one has, what has changed since it was told, and what the others told. */
import { hash } from 'node:crypto';
import type { CountedBy, CountsElsewhere } from '../directory/connection-directory.js';
import type { CountEntries } from './node-record.js';

/** Names in one record: 17 bytes each. */
const NAMES_PER_RECORD = 5_000;
/** More changes than this are not told one by one: the others ask for all of it. */
const MAX_CHANGES = 50_000;
/** Names of one node; what comes beyond is not counted. */
const MAX_NAMES = 1_000_000;
/** Records that wait for the counts that they follow. */
const MAX_WAITING = 64;
const HASH_LENGTH = 12;

/** Counts that changed, and their number. */
export interface Change {
  readonly told: number;
  readonly counts: CountEntries;
}

/** What another node told. */
class NodeCounts {
  /** The number of the record that the counts are as of; null before the first. */
  as: number | null = null;
  /** The latest number that is known of. */
  told: number | null = null;
  readonly counts = new Map<string, number>();
  /** Came after one that was missed. */
  waiting: Change[] = [];

  apply({ told, counts }: Change): void {
    this.as = told;
    for (const [name, count] of pairs(counts)) {
      if (count === 0) this.counts.delete(name);
      else if (this.counts.size < MAX_NAMES || this.counts.has(name)) this.counts.set(name, count);
    }
  }
}

/** Names are told as hashes: as short for all, and nobody's name is in a log. */
export class SharedCounts implements CountsElsewhere {
  readonly #here = new Map<string, number>();
  readonly #changed = new Set<string>();
  readonly #nodes = new Map<string, NodeCounts>();
  #told = 0;

  elsewhere(by: CountedBy, name: string): number {
    if (this.#nodes.size === 0) return 0;
    const hashed = hashOf(by, name);
    let count = 0;
    for (const { counts } of this.#nodes.values()) count += counts.get(hashed) ?? 0;
    return count;
  }

  changed(by: CountedBy, name: string, count: number): void {
    const hashed = hashOf(by, name);
    if (count === 0) this.#here.delete(hashed);
    else this.#here.set(hashed, count);
    this.#changed.add(hashed);
    if (this.#changed.size > MAX_CHANGES) this.#skip();
  }

  /** The number of the last record of this node. */
  get told(): number {
    return this.#told;
  }

  /** Takes what has changed since it was taken last, in parts for a record each. */
  *takeChanges(): Generator<Change> {
    let counts: Array<string | number> = [];
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const [index, name] of changed.entries()) {
      counts.push(name, this.#here.get(name) ?? 0);
      if (counts.length < NAMES_PER_RECORD * 2 && index < changed.length - 1) continue;
      this.#told += 1;
      yield { told: this.#told, counts };
      counts = [];
    }
  }

  /** All counts of this node, in parts for a record each; there is at least one. */
  *all(): Generator<CountEntries> {
    const here = [...this.#here].flat();
    for (let start = 0; start === 0 || start < here.length; start += NAMES_PER_RECORD * 2) {
      yield here.slice(start, start + NAMES_PER_RECORD * 2);
    }
  }

  /** Another node is there, and has told so many records. */
  heard(node: string, told: number): void {
    const counts = this.#of(node);
    // Who has told none has nothing to ask for.
    if (told === 0) counts.as ??= 0;
    counts.told = Math.max(counts.told ?? 0, told);
  }

  /** Another node told what has changed. */
  apply(node: string, change: Change): void {
    const counts = this.#nodes.get(node);
    // Of one whose lease was not heard nobody would notice that it is gone.
    if (counts === undefined) return;
    counts.told = Math.max(counts.told ?? 0, change.told);
    if (counts.as !== null && change.told <= counts.as) return;
    if (counts.as !== null && change.told === counts.as + 1) return counts.apply(change);
    counts.waiting.push(change);
    if (counts.waiting.length > MAX_WAITING) counts.waiting.shift();
  }

  /** Another node told all of its counts, as of a record. */
  replace(node: string, all: Change): void {
    const counts = this.#nodes.get(node);
    if (counts === undefined || (counts.as !== null && all.told < counts.as)) return;
    counts.counts.clear();
    counts.apply(all);
    counts.told = Math.max(counts.told ?? 0, all.told);
    const { waiting } = counts;
    counts.waiting = [];
    for (const change of waiting) this.apply(node, change);
  }

  /** The nodes of which something was missed: they are to be asked for all. */
  outOfStep(): string[] {
    return [...this.#nodes].filter(([, { as, told }]) => as !== told).map(([node]) => node);
  }

  /** Another node is gone. */
  forget(node: string): void {
    this.#nodes.delete(node);
  }

  #of(node: string): NodeCounts {
    let counts = this.#nodes.get(node);
    if (counts === undefined) {
      counts = new NodeCounts();
      this.#nodes.set(node, counts);
    }
    return counts;
  }

  /** Leaves out a number, so that the others ask. */
  #skip(): void {
    this.#changed.clear();
    this.#told += 1;
  }
}

function hashOf(by: CountedBy, name: string): string {
  return hash('sha256', `${by}:${name}`, 'base64url').slice(0, HASH_LENGTH);
}

function* pairs(entries: CountEntries): Generator<[string, number]> {
  for (let index = 0; index < entries.length; index += 2) {
    yield [entries[index] as string, entries[index + 1] as number];
  }
}
