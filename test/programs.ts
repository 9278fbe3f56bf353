/** Finds what a test needs from outside, and says in one line what is left out without it. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The path of a program: the environment variable's, or the first of these names on the PATH.
 * @returns null where it is missing, after saying what is left out
 * @throws where it is missing and `SSE_CHANNELS_REQUIRE_SERVERS` is set, as in CI
 */
export function findProgram(what: string, variable: string, names: readonly string[]): string | null {
  const named = process.env[variable];
  if (named !== undefined && named !== '') return named;
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of names) {
      const path = join(directory, name);
      if (isExecutable(path)) return path;
    }
  }
  leaveOut(`${what} not found: set ${variable}, or put ${names.join(' or ')} on the PATH.`);
  return null;
}

/**
 * Says in one line why tests are left out.
 * @throws where `SSE_CHANNELS_REQUIRE_SERVERS` is set, as in CI
 */
export function leaveOut(why: string): void {
  if ((process.env['SSE_CHANNELS_REQUIRE_SERVERS'] ?? '') !== '') throw new Error(why);
  process.stderr.write(`Left out: ${why}\n`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
