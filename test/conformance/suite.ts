/** Tries claims against a target: each with every reader that fits, over several seeds. */
import { ALL_CLAIMS } from './claims/all-claims.js';
import type { Claim } from './claim.js';
import { Broken, LeftOut } from './finding.js';
import type { Ledger } from './ledger.js';
import { Poster } from './poster.js';
import type { Reader } from './reading.js';
import { rawTcp } from './readers/raw-tcp.js';
import { lacks, NEEDS, payloadReader, PLACEHOLDERS, type Target } from './target.js';
import { Trial, type Session } from './trial.js';

export interface SuiteOptions {
  readonly target: Target;
  readonly readers: readonly Reader[];
  /** Names of claims; all when absent. */
  readonly only?: readonly string[];
  /** The first seed; the others count on from it. */
  readonly seed: number;
  readonly seeds: number;
  readonly size: 'short' | 'full';
  /** How long a client waits for what must come. @default 10_000 */
  readonly deadlineMs?: number;
  /** The longest heartbeat interval that is waited for. @default 2_000 */
  readonly patienceMs?: number;
  /** Where an event's number is in its data, dotted. @default where it is in the body */
  readonly numberAt?: string;
}

/** How a claim broke, and with what it does so again. */
export interface Break {
  readonly reader: string;
  readonly seed: number;
  readonly finding: string;
}

/** What became of one claim. */
export interface Outcome {
  readonly claim: Claim;
  /** Trials that held, by reader. */
  readonly held: ReadonlyMap<string, number>;
  readonly breaks: readonly Break[];
  /** Why it, or a reader of it, was not tried. */
  readonly leftOut: readonly string[];
  readonly ms: number;
}

/** Runs the claims; `onOutcome` is called after each. */
export async function runSuite(options: SuiteOptions, onOutcome?: (outcome: Outcome) => void): Promise<Outcome[]> {
  const session = await beginSession(options);
  const outcomes: Outcome[] = [];
  try {
    for (const claim of chosen(options.only)) {
      const outcome = await runClaim(claim, session, options);
      outcomes.push(outcome);
      onOutcome?.(outcome);
    }
  } finally {
    session.poster.close();
  }
  return outcomes;
}

/** @throws Error for a name that is none */
export function chosen(only: readonly string[] = []): readonly Claim[] {
  for (const name of only) {
    if (!ALL_CLAIMS.some((claim) => claim.name === name)) {
      throw new Error(`There is no claim "${name}"; there are ${ALL_CLAIMS.map((claim) => claim.name).join(', ')}.`);
    }
  }
  return only.length === 0 ? ALL_CLAIMS : ALL_CLAIMS.filter(({ name }) => only.includes(name));
}

async function runClaim(claim: Claim, session: Session, { readers, seed, seeds }: SuiteOptions): Promise<Outcome> {
  const begun = performance.now();
  const held = new Map<string, number>();
  const breaks: Break[] = [];
  const leftOut = new Set<string>(
    (claim.needs ?? []).filter((need) => lacks(session.target, need)).map((need) => NEEDS[need]),
  );
  const { readers: fits } = claim;
  const fitting = readers.filter((reader) => {
    if (fits === 'raw') return reader === rawTcp;
    return fits === 'every' || fits(reader);
  });
  if (fitting.length === 0) leftOut.add('none of the chosen readers can do it');
  if (leftOut.size === 0) {
    for (const reader of fitting) {
      for (let n = 0; n < seeds; n += 1) {
        const result = await runTrial(claim, new Trial(session, reader, seed + n));
        if (result === undefined) held.set(reader.name, (held.get(reader.name) ?? 0) + 1);
        else if (result instanceof LeftOut) leftOut.add(result.message);
        else breaks.push({ reader: reader.name, seed: seed + n, finding: result.message });
        // One is enough to know, and each may cost its deadline.
        if (result !== undefined) break;
      }
    }
  }
  return { claim, held, breaks, leftOut: [...leftOut], ms: performance.now() - begun };
}

async function runTrial(claim: Claim, trial: Trial): Promise<Error | undefined> {
  try {
    await claim.prove(trial);
    return undefined;
  } catch (error) {
    if (error instanceof Broken || error instanceof LeftOut) return error;
    // A stream that cannot be asked for, a server that is gone: nothing that a client could live with either.
    const { message, cause } = error as Error;
    return new Broken(cause instanceof Error ? `${message}: ${cause.message}` : message);
  } finally {
    trial.end();
  }
}

/** Learns from one event what the application's event is called, and whether its number is found. */
async function beginSession(options: SuiteOptions): Promise<Session> {
  const { target, deadlineMs = 10_000, patienceMs = 2_000, size, numberAt } = options;
  const payloadOf = payloadReader(target.body, numberAt);
  const run = Date.now().toString(36).toUpperCase().slice(-5);
  let topics = 0;
  // On a topic that is not the run's own there may be events of an earlier run.
  let number = lacks(target, 'topics') ? Date.now() % 500_000 : 0;
  const session = {
    target,
    poster: new Poster(),
    deadlineMs,
    patienceMs,
    size,
    eventName: '',
    payloadOf,
    ledgers: new Map<string, Ledger>(),
    nextNumber: () => (number += 1),
    nextTopic: () => `C${run}${(topics += 1).toString(36).toUpperCase()}`,
  };
  const trial = new Trial(session, rawTcp, options.seed);
  try {
    const topic = trial.topic();
    const reading = await topic.ask();
    if (reading.status !== 200) throw new Error(`${target.streamUrl} answered ${reading.status}, not 200.`);
    const sent = await topic.publish('a text');
    const mine = ({ name, data }: { name: string; data: string }): boolean => {
      if (name.startsWith('$')) return false;
      try {
        return payloadOf(data).number === sent;
      } catch {
        return false;
      }
    };
    if (!(await reading.until(({ events }) => events.some(mine), deadlineMs))) {
      throw new Error(
        `The event with the number ${sent} was published, but no event with it at the place of ${PLACEHOLDERS.number} in ${target.body} came within ${deadlineMs} ms. ` +
          `Came so far:\n${reading.text.slice(-2_000)}`,
      );
    }
    session.eventName = reading.events.find(mine)?.name ?? '';
    return session;
  } finally {
    trial.end();
  }
}
