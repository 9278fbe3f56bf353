/** The options of these programs: numbers, words and switches, with their defaults. */
import { parseArgs } from 'node:util';

/** Each option's default; a number is given as `--name 7`, a word as `--name word`, a boolean as `--name`. */
type Defaults = Record<string, number | string | boolean>;

type Given<D extends Defaults> = {
  readonly [Name in keyof D]: D[Name] extends number ? number : D[Name] extends string ? string : boolean;
};

/** @throws Error for an option that is unknown, or no number of at least 0 */
export function readOptions<const D extends Defaults>(defaults: D, words = process.argv.slice(2)): Given<D> {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      { type: typeof value === 'boolean' ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  const { values } = parseArgs({ args: words, options });
  const given = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === 'string' && typeof defaults[name] === 'number' ? numberOf(name, value) : value,
  ]);
  return { ...defaults, ...Object.fromEntries(given) } as Given<D>;
}

function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number >= 0) return number;
  throw new Error(`--${name} needs a number of at least 0, not "${text}".`);
}
