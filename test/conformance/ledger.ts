/** Judges what a client received against what was published: lost, doubled, reordered, never published, gaps told falsely. */

/** What a client received, in order: the number of an event, or the word that there is a gap. */
export type Received = number | 'gap';

/**
 * What is wrong with what a client received; empty when nothing is.
 * @param expected every event after the client's cursor, in the order of publishing
 * @param gaps whether the log could vouch for all of them, so that a gap would be told falsely
 */
export function judge(expected: readonly number[], received: readonly Received[], gaps: 'none' | 'may be'): string[] {
  const places = new Map(expected.map((number, place) => [number, place]));
  const given = new Set<number>();
  const doubled: number[] = [];
  const reordered: number[] = [];
  const unknown: number[] = [];
  /** Of the places that a gap stands for: after the first, before the second. */
  const holes: Array<{ readonly after: number; before: number }> = [];
  let last = -1;
  let told = 0;
  for (const item of received) {
    if (item === 'gap') {
      told += 1;
      holes.push({ after: last, before: expected.length });
      continue;
    }
    const place = places.get(item);
    if (place === undefined) {
      unknown.push(item);
    } else if (given.has(item)) {
      doubled.push(item);
    } else {
      if (place < last) reordered.push(item);
      for (const hole of holes) if (hole.before === expected.length && place > hole.after) hole.before = place;
      given.add(item);
      last = Math.max(last, place);
    }
  }
  const lost = expected.filter(
    (number, place) => !given.has(number) && !holes.some(({ after, before }) => place > after && place < before),
  );
  return [
    ...found('lost', lost),
    ...found('doubled', doubled),
    ...found('out of order', reordered),
    ...found('not to be expected', unknown),
    ...(gaps === 'none' && told > 0 ? [`${told} gap${told === 1 ? '' : 's'} told falsely`] : []),
  ];
}

/** One event on its way: when it was sent and acknowledged, by the ledger's count of such moments. */
interface Entry {
  readonly sent: number;
  acknowledged: number;
}

/** Keeps when each event was sent and acknowledged: one that was acknowledged before another was sent comes before it. */
export class Ledger {
  readonly #entries = new Map<number, Entry>();
  #moments = 0;

  send(number: number): void {
    this.#moments += 1;
    this.#entries.set(number, { sent: this.#moments, acknowledged: Infinity });
  }

  acknowledge(number: number): void {
    const entry = this.#entries.get(number);
    this.#moments += 1;
    if (entry !== undefined) entry.acknowledged = this.#moments;
  }

  /** The acknowledged events, as they were sent. */
  get acknowledged(): number[] {
    return [...this.#entries].filter(([, { acknowledged }]) => acknowledged < Infinity).map(([number]) => number);
  }

  /** Those that came although one that was acknowledged later than they were sent had come before: never so in one order. */
  outOfOrder(received: readonly number[]): number[] {
    let latestSent = 0;
    return received.filter((number) => {
      const { sent, acknowledged } = this.#entries.get(number) ?? { sent: 0, acknowledged: Infinity };
      const late = acknowledged < latestSent;
      latestSent = Math.max(latestSent, sent);
      return late;
    });
  }
}

const SHOWN = 8;

function found(what: string, numbers: readonly number[]): string[] {
  if (numbers.length === 0) return [];
  const more = numbers.length > SHOWN ? ` and ${numbers.length - SHOWN} more` : '';
  return [`${what}: ${numbers.slice(0, SHOWN).join(', ')}${more}`];
}
