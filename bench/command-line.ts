/** The command lines of the benches: what to run, and what to do with what it comes to. */
import { parseArgs } from 'node:util';

export interface CommandLine {
  readonly quick: boolean;
  readonly json: boolean;
  readonly write: boolean;
  readonly profile: boolean;
  /** Scenarios to run; all when empty. */
  readonly only: readonly string[];
  /** Contenders to run; those that a scenario names when empty. */
  readonly contenders: readonly string[];
  /** As it was typed. */
  readonly command: string;
}

/** What a bench has to choose from. */
export interface Choices {
  /** `npm run bench` */
  readonly program: string;
  readonly scenarios: readonly string[];
  /** What contenders are called: `servers` gives the option `--servers`. */
  readonly kind: string;
  readonly contenders: readonly string[];
  /** Contenders that the help does not name. */
  readonly others?: readonly string[];
  /** The files that `--write` writes. */
  readonly files: string;
}

/** Reads this process's command line; ends the process where that asks for help, or for what there is not. */
export function readCommandLine(choices: Choices): CommandLine {
  try {
    const read = parse(process.argv.slice(2), choices);
    if (read !== 'help') return read;
    console.log(usage(choices));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage(choices)}`);
    process.exitCode = 1;
  }
  return process.exit();
}

function usage({ program, scenarios, kind, contenders, files }: Choices): string {
  const named = `--${kind} a,b`;
  return `${program} -- [options]
  --quick            a short run, under two minutes: fewer scenarios, ${kind} and rounds
  --only a,b         scenarios: ${scenarios.join(', ')}
  ${named.padEnd(18)} ${kind}: ${contenders.join(', ')}
  --json             ends with one line of JSON
  --write            writes ${files}
  --profile          one round each, with a CPU profile while it is measured
  --help`;
}

function parse(words: string[], choices: Choices): CommandLine | 'help' {
  const { program, scenarios, kind, contenders, others = [] } = choices;
  const { values } = parseArgs({
    args: words,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      [kind]: { type: 'string', default: '' },
    },
  });
  if (values['help']) return 'help';
  const flag = (name: string): boolean => values[name] === true;
  const names = (name: string, known: readonly string[], what: string): string[] =>
    listed(String(values[name]), known, what);
  return {
    quick: flag('quick'),
    json: flag('json'),
    write: flag('write'),
    profile: flag('profile'),
    only: names('only', scenarios, 'scenario'),
    contenders: names(kind, [...contenders, ...others], kind.replace(/s$/, '')),
    command: [program, ...(words.length > 0 ? ['--', ...words] : [])].join(' '),
  };
}

function listed(text: string, known: readonly string[], what: string): string[] {
  const names = text.split(',').filter(Boolean);
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`There is no ${what} "${name}"; there are ${known.join(', ')}.`);
  }
  return names;
}
