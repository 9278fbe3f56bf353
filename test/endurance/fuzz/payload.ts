/** Payloads, each with what JSON makes of it by its definition: what a reader must get, or that it has none and must be refused. */
import type { Dice } from './dice.js';
import { hostileText } from './hostile-text.js';

/** What has no JSON: at the top it is refused, in an object left out, in a list null. */
export const NOTHING = Symbol('nothing');
/** What makes the whole payload impossible. */
export const IMPOSSIBLE = Symbol('impossible');

export interface Payload {
  readonly value: unknown;
  readonly expected: unknown;
}

const DEEPEST = 200;

const NUMBERS = [
  0, -0, 1, -1, 0.1, 1e21, 1e-7, 2 ** 53, 2 ** 53 + 2, -(2 ** 53), Number.MAX_VALUE, Number.MIN_VALUE, Number.EPSILON,
  2 ** 31, 2 ** 32, 4_294_967_295, 1.7976931348623157e308, 5e-324, 123_456_789_012_345_680_000,
]; // prettier-ignore

/** What `toJSON` and getters throw: not only errors. */
const THROWN: ReadonlyArray<() => unknown> = [
  () => new Error('no'),
  () => null,
  () => undefined,
  () => 'text',
  () => Symbol('thrown'),
  () => Object.create(null),
  () => ({
    toString() {
      throw new Error('not even a text');
    },
  }),
];

export function payload(dice: Dice): Payload {
  switch (dice.below(40)) {
    case 0:
      return { value: undefined, expected: NOTHING };
    case 1:
      return { value: cycle(dice), expected: IMPOSSIBLE };
    case 2:
      return nested(dice);
    default:
      return value(dice, 3);
  }
}

/** An object without a prototype of its own: what a class's event is made from. */
export function objectPayload(dice: Dice): Payload {
  return record(dice, 2, false);
}

function value(dice: Dice, depth: number): Payload {
  const kind = dice.below(depth > 0 ? 26 : 16);
  if (kind >= 21) return record(dice, depth - 1, true);
  if (kind >= 16) return list(dice, depth - 1);
  switch (kind) {
    case 0:
      return plain(null);
    case 1:
      return plain(dice.oneIn(2));
    case 2:
    case 3:
      return number(dice.pick(NUMBERS));
    case 4:
      return number((dice.below(2 ** 31) - 2 ** 30) / (1 + dice.below(1_000)));
    case 5:
      return { value: dice.pick([NaN, Infinity, -Infinity]), expected: null };
    case 6:
      return dice.oneIn(4) ? { value: BigInt(dice.below(1_000)), expected: IMPOSSIBLE } : plain(1);
    case 7:
      return { value: dice.pick([undefined, () => 1, Symbol('s')]), expected: NOTHING };
    case 8:
      return withToJson(dice, depth);
    case 9:
      return boxed(dice);
    default:
      return plain(hostileText(dice));
  }
}

function plain(same: unknown): Payload {
  return { value: same, expected: same };
}

/** JSON has no negative zero. */
function number(same: number): Payload {
  return { value: same, expected: same === 0 ? 0 : same };
}

function list(dice: Dice, depth: number): Payload {
  const parts = Array.from({ length: dice.below(5) }, () => value(dice, depth));
  const impossible = parts.some(({ expected }) => expected === IMPOSSIBLE);
  return {
    value: parts.map((part) => part.value),
    expected: impossible ? IMPOSSIBLE : parts.map(({ expected }) => (expected === NOTHING ? null : expected)),
  };
}

function record(dice: Dice, depth: number, traps: boolean): Payload {
  const object = {};
  const expected = {};
  let impossible = false;
  for (let properties = dice.below(5); properties > 0; properties -= 1) {
    const name = hostileText(dice);
    if (Object.hasOwn(object, name)) continue;
    const part = value(dice, depth);
    define(object, name, part.value);
    if (part.expected === IMPOSSIBLE) impossible = true;
    else if (part.expected !== NOTHING) define(expected, name, part.expected);
  }
  if (traps && dice.oneIn(200)) {
    const thrown = dice.pick(THROWN);
    impossible = true;
    const name = dice.oneIn(2) ? dice.pick(['then', 'toJSON', 'constructor', '0']) : hostileText(dice);
    Object.defineProperty(object, name, { get: throwing(thrown), enumerable: true, configurable: true });
  }
  return { value: object, expected: impossible ? IMPOSSIBLE : expected };
}

/** As a parser of JSON does it: an assignment to `__proto__` would set the prototype. */
function define(object: object, name: string, property: unknown): void {
  // `toJSON` that is a function is a case of its own, and a function `then` makes any value a promise.
  const tame = (name === 'toJSON' || name === 'then') && typeof property === 'function' ? undefined : property;
  Object.defineProperty(object, name, { value: tame, enumerable: true, writable: true, configurable: true });
}

function withToJson(dice: Dice, depth: number): Payload {
  if (dice.oneIn(4)) return { value: { toJSON: throwing(dice.pick(THROWN)) }, expected: IMPOSSIBLE };
  const inner = value(dice, Math.min(depth, 1));
  // What `toJSON` gives is not asked for a `toJSON` of its own.
  if (typeof inner.value === 'object' && inner.value !== null && 'toJSON' in inner.value) return plain('asked once');
  return { value: { hidden: 1, toJSON: () => inner.value }, expected: inner.expected };
}

function boxed(dice: Dice): Payload {
  return dice.pick<() => Payload>([
    () => dateAt(86_400_000 * dice.below(20_000)),
    () => ({ value: new Date(NaN), expected: null }),
    () => ({ value: new Map([[1, 2]]), expected: {} }),
    () => ({ value: new Set([1]), expected: {} }),
    () => ({ value: Object('boxed'), expected: 'boxed' }),
    () => ({ value: Object(7), expected: 7 }),
    () => ({ value: Object.create({ inherited: 1 }), expected: {} }),
    () => ({ value: new Uint8Array([1, 2]), expected: { 0: 1, 1: 2 } }),
    () => ({ value: /x/, expected: {} }),
    () => ({ value: Object.assign(Object.create(null), { bare: 1 }), expected: { bare: 1 } }),
  ])();
}

function dateAt(ms: number): Payload {
  const date = new Date(ms);
  return { value: date, expected: date.toISOString() };
}

function cycle(dice: Dice): unknown {
  const object: Record<string, unknown> = { list: [] };
  if (dice.oneIn(2)) object['self'] = object;
  else (object['list'] as unknown[]).push({ deep: [object] });
  return object;
}

function nested(dice: Dice): Payload {
  const inner = value(dice, 0);
  const core = inner.expected === NOTHING ? plain('core') : inner;
  let { value: outer, expected } = core;
  const impossible = expected === IMPOSSIBLE;
  for (let depth = 0; depth < DEEPEST; depth += 1) {
    const key = dice.oneIn(2) ? null : dice.pick(['__proto__', 'a', '']);
    outer = wrap(outer, key);
    expected = impossible ? IMPOSSIBLE : wrap(expected, key);
  }
  return { value: outer, expected };
}

function wrap(inner: unknown, key: string | null): unknown {
  if (key === null) return [inner];
  const object = {};
  define(object, key, inner);
  return object;
}

function throwing(thrown: () => unknown): () => never {
  return () => {
    throw thrown();
  };
}
