/** The command line of the bench. */
import { parseArgs } from 'node:util';
import { ALL_SERVERS, HUB, SCENARIOS, STREAM } from './scenario.js';

export interface CommandLine {
  readonly quick: boolean;
  readonly json: boolean;
  readonly write: boolean;
  readonly profile: boolean;
  /** Scenarios to run; all when empty. */
  readonly only: readonly string[];
  /** Servers to run; those that a scenario names when empty. */
  readonly servers: readonly string[];
}

export const USAGE = `npm run bench -- [options]
  --quick            a short run, under two minutes: fewer scenarios, servers, rounds and connections
  --only a,b         scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --servers a,b      servers: ${ALL_SERVERS.join(', ')}
  --json             ends with one line of JSON
  --write            writes bench/RESULTS.md and bench/results.svg
  --profile          one round each, with a CPU profile of the server while it is measured
  --help`;

/** @throws Error for what it does not know */
export function parseCommandLine(words: string[]): CommandLine | 'help' {
  const { values } = parseArgs({
    args: words,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      servers: { type: 'string', default: '' },
    },
  });
  if (values.help) return 'help';
  const known = SCENARIOS.map(({ name }) => name);
  return {
    ...values,
    only: listed(values.only, known, 'scenario'),
    servers: listed(values.servers, [...ALL_SERVERS, HUB, STREAM, 'validator'], 'server'),
  };
}

function listed(text: string, known: readonly string[], what: string): string[] {
  const names = text.split(',').filter(Boolean);
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`There is no ${what} "${name}"; there are ${known.join(', ')}.`);
  }
  return names;
}
