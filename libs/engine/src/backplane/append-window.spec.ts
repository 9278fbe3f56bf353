import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AppendError } from '@sse-channels/protocol';
import fc from 'fast-check';
import { AppendWindow, AttemptError, type Attempt, type AttemptFailure } from './append-window.js';

/** What happens to one attempt that reaches the engine. */
type Fate = 'written' | 'answer-lost' | 'not-executed' | 'refused' | 'cut' | 'stuck';

const FATES: readonly Fate[] = ['written', 'answer-lost', 'not-executed', 'refused', 'cut', 'stuck'];

interface Held {
  readonly attempt: Attempt<number>;
  readonly resolve: (answer: string) => void;
  readonly reject: (error: Error) => void;
}

/** An engine at the end of one ordered connection, which de-duplicates by token; the script says what becomes of each attempt. */
class ScriptedEngine {
  /** What is in the log of each topic, in its order. */
  readonly log = new Map<string, Array<{ readonly token: string; readonly job: number }>>();
  readonly link: Held[] = [];
  /** Executed; the answer is on its way. */
  readonly answering: Held[] = [];
  readonly sent: Array<Attempt<number>> = [];
  mostInFlight = 0;
  readonly #inFlight = new Map<string, number>();

  constructor(readonly fates: Fate[]) {}

  readonly drive = (attempt: Attempt<number>): Promise<string> =>
    new Promise<string>((resolve, reject) => {
      this.sent.push(attempt);
      const count = (this.#inFlight.get(attempt.topic) ?? 0) + 1;
      this.#inFlight.set(attempt.topic, count);
      this.mostInFlight = Math.max(this.mostInFlight, count);
      const settle = (): void =>
        void this.#inFlight.set(attempt.topic, (this.#inFlight.get(attempt.topic) as number) - 1);
      this.link.push({
        attempt,
        resolve: (answer) => (settle(), resolve(answer)),
        reject: (error) => (settle(), reject(error)),
      });
    });

  /** Executes one attempt; after the script's end all are written. */
  step(): void {
    const held = this.link[0];
    if (held === undefined) return;
    const fate = this.fates.shift() ?? 'written';
    if (fate === 'stuck') return;
    if (fate === 'cut') return this.cut();
    this.link.shift();
    if (fate === 'not-executed' || fate === 'refused') return held.reject(new AttemptError(fate, `is ${fate}.`));
    const { topic, token, job, findOnly } = held.attempt;
    const log = this.log.get(topic) ?? [];
    this.log.set(topic, log);
    const found = log.some((record) => record.token === token);
    if (findOnly && !found) return held.reject(new AttemptError('absent', 'is not there.'));
    if (!found) log.push({ token, job });
    if (fate === 'answer-lost') this.answering.push(held);
    else if (this.answering.length === 0) held.resolve(token);
    // Answers come in order: behind a lost one none comes before the cut.
    else this.answering.push(held);
    if (this.answering.length > 2) this.cut();
  }

  cut(): void {
    for (const held of [...this.answering.splice(0), ...this.link.splice(0)])
      held.reject(new AttemptError('unknown', 'The connection was lost.'));
  }
}

type Outcome = 'written' | 'not-written' | 'unknown' | undefined;

function watch(promise: Promise<unknown>): { outcome: Outcome } {
  const watched: { outcome: Outcome } = { outcome: undefined };
  promise.then(
    () => (watched.outcome = 'written'),
    (error: unknown) => (watched.outcome = (error as AppendError).outcome),
  );
  return watched;
}

describe('AppendWindow', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('keeps the order of the calls, writes once and settles all, whatever the engine does', async () => {
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.record({ append: fc.integer({ min: 0, max: 1 }) }) },
      { weight: 6, arbitrary: fc.constant({ step: true }) },
      { weight: 2, arbitrary: fc.record({ waitMs: fc.constantFrom(1, 10, 300) }) },
      { weight: 1, arbitrary: fc.constant({ cut: true }) },
      { weight: 1, arbitrary: fc.record({ hold: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 80 }),
        fc.array(fc.constantFrom(...FATES), { maxLength: 60 }),
        async (actions, fates) => {
          const engine = new ScriptedEngine([...fates]);
          const window = new AppendWindow(engine.drive, {
            appendTimeoutMs: 500,
            inFlightPerTopic: 4,
            maxUnanswered: 20,
          });
          const called: Array<{ topic: string; job: number; watched: { outcome: Outcome } }> = [];
          for (const one of actions as Array<Record<string, unknown>>) {
            if (one['append'] !== undefined) {
              const topic = `t/${one['append'] as number}`;
              called.push({ topic, job: called.length, watched: watch(window.append(topic, called.length)) });
            } else if (one['cut'] === true) engine.cut();
            else if (one['hold'] === true) window.hold('The engine is away.');
            else if (one['hold'] === false) window.resume();
            else if (one['step'] === true) engine.step();
            await jest.advanceTimersByTimeAsync((one['waitMs'] as number | undefined) ?? 0);
            expect(window.unanswered).toBeLessThanOrEqual(20);
          }
          window.resume();
          for (let n = 0; n < 200 && window.unanswered > 0; n += 1) {
            engine.step();
            await jest.advanceTimersByTimeAsync(10);
          }
          engine.cut();
          await jest.advanceTimersByTimeAsync(1_000);
          expect(engine.mostInFlight).toBeLessThanOrEqual(4);
          expect(called.filter(({ watched }) => watched.outcome === undefined)).toEqual([]);
          for (const topic of ['t/0', 't/1']) {
            const log = (engine.log.get(topic) ?? []).map(({ job }) => job);
            expect(log).toEqual([...new Set(log)].sort((a, b) => a - b));
            for (const { topic: of, job, watched } of called) {
              if (of !== topic || watched.outcome === 'unknown') continue;
              expect([job, log.includes(job)]).toEqual([job, watched.outcome === 'written']);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  }, 60_000);

  it('sends 32 appends of a topic at once and the others as answers come, and other topics beside them', async () => {
    const engine = new ScriptedEngine([]);
    const window = new AppendWindow(engine.drive);
    const appends = Array.from({ length: 40 }, (_, n) => window.append('a', n));
    appends.push(window.append('b', 40));
    expect(engine.link).toHaveLength(33);
    engine.step();
    await jest.advanceTimersByTimeAsync(0);
    expect(engine.link).toHaveLength(33);
    while (engine.link.length > 0) {
      engine.step();
      await jest.advanceTimersByTimeAsync(0);
    }
    await Promise.all(appends);
    expect(engine.log.get('a')?.map(({ job }) => job)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  });

  it('tries what a lost connection left unknown again under its token, before anything newer', async () => {
    const engine = new ScriptedEngine([]);
    const window = new AppendWindow(engine.drive, { inFlightPerTopic: 2 });
    const appends = [0, 1, 2].map((n) => window.append('a', n));
    engine.cut();
    await jest.advanceTimersByTimeAsync(50);
    while (engine.link.length > 0) {
      engine.step();
      await jest.advanceTimersByTimeAsync(50);
    }
    await Promise.all(appends);
    expect(engine.sent.map(({ job, maybeWritten }) => [job, maybeWritten])).toEqual([
      [0, false],
      [1, false],
      [0, true],
      [1, true],
      [2, false],
    ]);
    expect(engine.sent[2]?.token).toBe(engine.sent[0]?.token);
  });

  it('rejects at its deadline with what is known of the outcome', async () => {
    const engine = new ScriptedEngine([]);
    const window = new AppendWindow(engine.drive, { appendTimeoutMs: 1_000 });
    const [sent, denied] = [watch(window.append('sent', 0)), watch(window.append('denied', 0))];
    engine.link[1]?.reject(new AttemptError('not-executed', 'The engine is loading.'));
    await jest.advanceTimersByTimeAsync(0);
    window.hold('The engine is away.');
    const never = window.append('never', 0);
    const neverWatched = watch(never);
    await jest.advanceTimersByTimeAsync(1_001);
    expect([sent.outcome, denied.outcome, neverWatched.outcome]).toEqual(['unknown', 'not-written', 'not-written']);
    await expect(never).rejects.toThrow(/1000 ms have passed: The engine is away\./);
  });

  it('does not write what a later append has overtaken: it is found, or rejected as not written', async () => {
    for (const first of ['answer-lost', 'not-executed'] as const) {
      const held: Array<{ attempt: Attempt<number>; settle: (failure: AttemptFailure | null) => void }> = [];
      const window = new AppendWindow<number, string>(
        (attempt) =>
          new Promise((resolve, reject) => {
            held.push({
              attempt,
              settle: (failure) => (failure === null ? resolve('') : reject(new AttemptError(failure, 'scripted.'))),
            });
          }),
      );
      const [one, two] = [watch(window.append('a', 1)), watch(window.append('a', 2))];
      held[0]?.settle(first === 'answer-lost' ? 'unknown' : 'not-executed');
      held[1]?.settle(null);
      await jest.advanceTimersByTimeAsync(20);
      if (first === 'answer-lost') {
        expect(held[2]?.attempt).toMatchObject({ job: 1, findOnly: true });
        held[2]?.settle('absent');
        await jest.advanceTimersByTimeAsync(0);
      }
      expect([one.outcome, two.outcome, held.length]).toEqual([
        'not-written',
        'written',
        first === 'answer-lost' ? 3 : 2,
      ]);
    }
  });

  it('rejects at once what is refused, and what is beyond its bound', async () => {
    const engine = new ScriptedEngine(['refused']);
    const window = new AppendWindow(engine.drive, { maxUnanswered: 2 });
    const refused = window.append('a', 0);
    void window.append('a', 1);
    await expect(window.append('b', 2)).rejects.toThrow(/2 events wait for the log/);
    engine.step();
    await expect(refused).rejects.toMatchObject({ outcome: 'not-written', message: expect.stringMatching(/refused/) });
    engine.step();
  });

  it('rejects what waits when it is closed, and lets what is under way be answered', async () => {
    const engine = new ScriptedEngine([]);
    const window = new AppendWindow(engine.drive, { inFlightPerTopic: 1 });
    const [first, second] = [watch(window.append('a', 0)), watch(window.append('a', 1))];
    window.close('The backplane is closed.');
    const third = watch(window.append('a', 2));
    engine.step();
    await jest.advanceTimersByTimeAsync(0);
    expect([first.outcome, second.outcome, third.outcome]).toEqual(['written', 'not-written', 'not-written']);
  });
});
