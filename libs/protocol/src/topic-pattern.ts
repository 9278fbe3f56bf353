/** Topic patterns, `orders/:orderId`: how a channel's parameters become a topic's name, and back. */
import { SseChannelsError } from './errors.js';

/** The parameters that a pattern names: `ParamsOf<'orders/:orderId'>` is `{ orderId: string | number }`. */
export type ParamsOf<Pattern extends string> = { [Name in ParamNames<Pattern>]: string | number };

type ParamNames<Pattern extends string> = string extends Pattern
  ? string
  : Pattern extends `${infer Segment}/${infer Rest}`
    ? ParamName<Segment> | ParamNames<Rest>
    : ParamName<Pattern>;
type ParamName<Segment extends string> = Segment extends `:${infer Name}` ? Name : never;

/** The largest parameter, in bytes of UTF-8. */
export const MAX_PARAMETER_BYTES = 4096;

type Segment = { readonly literal: string } | { readonly param: string };

const LITERAL = /^[A-Za-z0-9_-]+$/;
const PARAM = /^:[A-Za-z_][A-Za-z0-9_]*$/;
const encoder = /* @__PURE__ */ new TextEncoder();

/** A parsed pattern. */
export class TopicPattern {
  /** The pattern as a topic filter: `*` stands for each parameter. Names never hold a `*`, so it cannot be forged. */
  readonly filter: string;
  readonly #segments: readonly Segment[];
  readonly #params = new Set<string>();

  /** @throws SseChannelsError `INVALID_CHANNEL` */
  constructor(readonly source: string) {
    if (typeof source !== 'string' || source === '') {
      throw new SseChannelsError('INVALID_CHANNEL', 'A channel needs a pattern such as "orders/:orderId".');
    }
    this.#segments = source.split('/').map((segment) => {
      if (LITERAL.test(segment)) return { literal: segment };
      if (!PARAM.test(segment)) {
        throw new SseChannelsError(
          'INVALID_CHANNEL',
          `Channel pattern ${JSON.stringify(source)} has the segment ${JSON.stringify(segment)}; a segment is either letters, digits, "-" and "_", or a parameter such as ":orderId".`,
        );
      }
      const param = segment.slice(1);
      if (this.#params.has(param)) {
        throw new SseChannelsError(
          'INVALID_CHANNEL',
          `Channel pattern "${source}" names the parameter "${param}" twice; give each a name of its own.`,
        );
      }
      this.#params.add(param);
      return { param };
    });
    this.filter = this.#segments.map((segment) => ('literal' in segment ? segment.literal : '*')).join('/');
  }

  /**
   * The topic's name: parameters are data, so everything but ASCII letters, digits, `-` and `_` is percent-encoded.
   * @throws SseChannelsError `INVALID_TOPIC_PARAMETER` for one that is missing, unknown, empty, too large, or not a string
   * or safe integer
   */
  format(params: Readonly<Record<string, string | number>>): string {
    let name = '';
    for (const segment of this.#segments) {
      const part =
        'literal' in segment
          ? segment.literal
          : this.#encode(segment.param, Object.hasOwn(params, segment.param) ? params[segment.param] : undefined);
      name = name === '' ? part : `${name}/${part}`;
    }
    const given = Object.keys(params);
    // All of the pattern are there.
    if (given.length > this.#params.size) {
      const unknown = given.find((param) => !this.#params.has(param)) ?? '';
      throw this.#refuse(unknown, 'is not in the pattern; remove it or correct its name.');
    }
    return name;
  }

  /** The parameters in a topic's name; null when `format` of this pattern never gives that name. */
  parse(name: string): Record<string, string> | null {
    const parts = name.split('/');
    if (parts.length !== this.#segments.length) return null;
    const params: Record<string, string> = Object.create(null) as Record<string, string>;
    for (const [index, segment] of this.#segments.entries()) {
      const part = parts[index] ?? '';
      if ('literal' in segment) {
        if (segment.literal !== part) return null;
      } else {
        const value = decodeParam(part);
        if (value === null) return null;
        params[segment.param] = value;
      }
    }
    return params;
  }

  /** Whether some topic could belong to both patterns. */
  overlaps(other: TopicPattern): boolean {
    if (this.#segments.length !== other.#segments.length) return false;
    return this.#segments.every((mine, index) => {
      const theirs = other.#segments[index];
      return theirs === undefined || !('literal' in mine) || !('literal' in theirs) || mine.literal === theirs.literal;
    });
  }

  #encode(param: string, value: unknown): string {
    if (value === undefined) throw this.#refuse(param, 'is missing; pass it to topic({ … }).');
    const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
    if (typeof text !== 'string') {
      throw this.#refuse(param, `must be a string or a safe integer, not ${describe(value)}.`);
    }
    // Most identifiers stand in a name as they are.
    if (text.length <= MAX_PARAMETER_BYTES && LITERAL.test(text)) return text;
    if (text === '') throw this.#refuse(param, 'is empty; a topic needs a value for each parameter.');
    if (!text.isWellFormed()) {
      throw this.#refuse(
        param,
        'has a lone surrogate, which UTF-8 cannot carry; pass well-formed text, see toWellFormed().',
      );
    }
    if (isTooLarge(text)) {
      throw this.#refuse(param, `is larger than ${MAX_PARAMETER_BYTES} bytes; use an identifier.`);
    }
    return encodeParam(text);
  }

  #refuse(param: string, why: string): SseChannelsError {
    return new SseChannelsError('INVALID_TOPIC_PARAMETER', `Parameter "${param}" of channel "${this.source}" ${why}`);
  }
}

/** A parameter as it stands in a topic's name. */
export function encodeParam(text: string): string {
  // encodeURIComponent leaves !'()*.~ alone; some of them mean something to a broker, so they are data too.
  return encodeURIComponent(text).replace(/[!'()*.~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Reads a parameter back; null for a spelling that `format` never gives, so that a topic has one name and a `*` is in none. */
function decodeParam(part: string): string | null {
  try {
    const text = decodeURIComponent(part);
    return text === '' || isTooLarge(text) || encodeParam(text) !== part ? null : text;
  } catch {
    return null;
  }
}

function isTooLarge(text: string): boolean {
  return text.length * 3 > MAX_PARAMETER_BYTES && encoder.encode(text).length > MAX_PARAMETER_BYTES;
}

/** Whether a topic's name passes a filter, in which `*` stands for one whole segment. */
export function matchesFilter(filter: string, name: string): boolean {
  if (!filter.includes('*')) return filter === name;
  const wanted = filter.split('/');
  const parts = name.split('/');
  return (
    wanted.length === parts.length && wanted.every((segment, index) => segment === '*' || segment === parts[index])
  );
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value === 'number' ? String(value) : `a value of type ${typeof value}`;
}
