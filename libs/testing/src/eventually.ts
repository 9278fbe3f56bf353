/** Waits for conditions, in place of sleeping. */

/** How long a wait may take before it fails, in milliseconds. */
const DEADLINE_MS = 5_000;
const LOOK_MS = 2;

/**
 * Looks again and again until a condition holds.
 * @param what the condition in words, for the message; its source when absent
 * @throws rejects when it does not hold within `deadlineMs`
 */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what = condition.toString(),
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
