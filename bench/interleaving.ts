/** Rounds of contenders in turns, A B C A B C: what disturbs the machine disturbs everyone. */

/** Who takes part in a scenario. */
export interface Contender {
  readonly name: string;
  /** Why it takes part no longer; undefined while it does. */
  readonly failure: string | undefined;
  /** Plays one round; a failure is noted, not thrown. */
  play(): Promise<void>;
  /** Ends what it started. */
  leave(): Promise<void>;
}

export async function playRounds(contenders: readonly Contender[], rounds: number): Promise<void> {
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of contenders.filter(({ failure }) => failure === undefined)) {
      progress(`  round ${round} of ${rounds}: ${contender.name}`);
      await contender.play();
    }
  }
  progress('');
  await Promise.all(contenders.map((contender) => contender.leave()));
}

/** What those that failed said. */
export function failuresOf(contenders: readonly Contender[]): Record<string, string> {
  return Object.fromEntries(
    contenders.flatMap(({ name, failure }) => (failure === undefined ? [] : [[name, failure] as const])),
  );
}

/** What an error says, in a line. */
export function lineOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n', 1)[0] as string) : String(error);
}

/** One line that is written over; for people only. */
function progress(line: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K${line}`);
}
