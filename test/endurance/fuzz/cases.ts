/** The cases: hostile values on their way to the wire, and what must become of each, known without asking the code under test. */
import { isDeepStrictEqual } from 'node:util';
import { EventCodec, uncheckedClassValidator, type Draft } from '@sse-channels/engine';
import {
  defineEvent,
  encodeFrame,
  formatCursor,
  parseCursor,
  SseChannelsError,
  SseEvent,
  type EventDefinition,
  type EventType,
  type Frame,
  type SseChannelsErrorCode,
} from '@sse-channels/protocol';
import type { Dice } from './dice.js';
import { hostileText, tameText } from './hostile-text.js';
import { IMPOSSIBLE, NOTHING, objectPayload, payload } from './payload.js';

/** A frame that went out, and what a reader must make of it. */
export interface Sent {
  readonly bytes: Buffer;
  readonly comments: readonly string[];
  readonly retryMs: number | null;
  readonly event: { readonly name: string; readonly data: string } | null;
  /** The id that its block sets; null where it leaves the one before. */
  readonly id: string | null;
}

/** What became of a case. */
export type Outcome =
  | { readonly kind: 'sent'; readonly sent: Sent }
  /** It has no wire to go through, and came out as it should. */
  | { readonly kind: 'same' }
  | { readonly kind: 'refused'; readonly code: SseChannelsErrorCode }
  | { readonly kind: 'wrong'; readonly why: string };

const codec = new EventCodec(uncheckedClassValidator);
/** A schema that lets everything through, so that what JSON cannot carry reaches the codec. */
const anything = {
  '~standard': { version: 1 as const, vendor: 'fuzz', validate: (value: unknown) => ({ value }) },
};

@SseEvent('fuzz.class')
class FuzzedClass {}

export function play(dice: Dice): Outcome {
  switch (dice.below(10)) {
    case 0:
    case 1:
    case 2:
      return frameCase(dice);
    case 3:
      return cursorCase(dice);
    default:
      return eventCase(dice);
  }
}

/** A frame of any fields goes through, or is refused for an id, a name or text that the format cannot carry. */
function frameCase(dice: Dice): Outcome {
  const text = dice.oneIn(4) ? hostileText : tameText;
  const frame: { -readonly [Field in keyof Frame]: Frame[Field] } = {};
  if (dice.oneIn(2)) frame.id = text(dice);
  if (dice.oneIn(2)) frame.event = text(dice);
  if (!dice.oneIn(4)) frame.data = dice.oneIn(2) ? hostileText(dice).toWellFormed() : text(dice);
  if (dice.oneIn(8)) frame.retry = dice.pick([0, 1, 3_000, 2 ** 53 - 1, 2 ** 53, -1, 0.5, NaN, Infinity, -0]);
  if (dice.oneIn(8)) frame.comment = hostileText(dice).toWellFormed();
  const refused =
    [frame.id, frame.event].some((field) => field !== undefined && !carried(field)) ||
    (frame.data !== undefined && !frame.data.isWellFormed()) ||
    (frame.retry !== undefined && !(Number.isSafeInteger(frame.retry) && frame.retry >= 0));
  const names = [frame.id, frame.event].filter((field) => field !== undefined).map((field) => JSON.stringify(field));
  return attempt(refused ? { code: 'INVALID_FRAME', names: [...names, 'data', 'retry'] } : null, () => sentAs(frame));
}

/** What is no cursor is null, however hostile; what is one comes back as it was. */
function cursorCase(dice: Dice): Outcome {
  const epoch = () =>
    Array.from({ length: 1 + dice.below(70) }, () => dice.pick(['0', 'z', 'A', '_', '-', '9'])).join('');
  const number = () => (dice.oneIn(4) ? '0' : dice.below(2 ** 31).toString(36));
  const made = `${epoch()}~${number()}-${number()}`;
  const text: unknown = dice.pick<() => unknown>([
    () => made,
    () => made,
    () => made.slice(0, dice.below(made.length)) + hostileText(dice) + made.slice(dice.below(made.length)),
    () => hostileText(dice),
    () => `${made} `,
    () => made.toUpperCase(),
    () => `${epoch()}~0${number()}-0${number()}`,
    () => `${epoch()}~${'z'.repeat(dice.below(20))}-1`,
    () => dice.pick([null, undefined, 7, [made], { toString: () => made }]),
  ])();
  return attempt(null, (): Outcome => {
    const parts = parseCursor(text as string);
    if (isCursor(text) !== (parts !== null)) return wrong(`parseCursor(${print(text)}) is ${print(parts)}`);
    if (parts === null) return { kind: 'same' };
    if (formatCursor(parts.epoch, parts.offset) !== text) return wrong(`${print(text)} came back as ${print(parts)}`);
    return sentAs({ id: text, data: 'x' });
  });
}

/** A payload under a name is written as the JSON that it stands for and read as the same, or is refused. */
function eventCase(dice: Dice): Outcome {
  const name = dice.oneIn(3) ? hostileText(dice) : dice.oneIn(2) ? tameText(dice) : 'order.shipped';
  if (!isName(name)) {
    const refusal: Refusal = { code: 'INVALID_EVENT_NAME', names: [JSON.stringify(name)] };
    return attempt(refusal, () => wrong(defineEvent(name as 'x', anything).eventName));
  }
  const ofClass = dice.oneIn(4);
  const { value, expected } = ofClass ? objectPayload(dice) : payload(dice);
  const refused = expected === NOTHING || expected === IMPOSSIBLE;
  const wireName = ofClass ? 'fuzz.class' : name;
  return attempt(refused ? { code: 'EVENT_NOT_SERIALIZABLE', names: [wireName] } : null, (): Outcome => {
    const type: EventType = ofClass ? FuzzedClass : (defineEvent(name as 'x', anything) as EventDefinition);
    const draft = codec.encode(type, value) as Draft;
    if (draft.name !== wireName) return wrong(`${print(wireName)} became ${print(draft.name)}`);
    const read = codec.decode(type, { topic: 't', offset: '0-1', prev: null, time: 0, ...draft });
    if (ofClass && !(read instanceof FuzzedClass)) return wrong('an event of a class came back as none of it');
    const same = ofClass
      ? isDeepStrictEqual(Object.entries(read as object), Object.entries(expected as object))
      : isDeepStrictEqual(read, expected);
    if (!same) return wrong(`the payload that ${print(expected)} stands for came back as ${print(read)}`);
    return sentAs({ id: 'e~1-1', event: draft.name, data: draft.data });
  });
}

/** What something must be refused with. */
interface Refusal {
  readonly code: SseChannelsErrorCode;
  /** The message names one of these. */
  readonly names: readonly string[];
}

/** @param refusal null for what must not be refused */
function attempt(refusal: Refusal | null, work: () => Outcome): Outcome {
  try {
    const outcome = work();
    return refusal === null || outcome.kind === 'wrong' ? outcome : wrong(`not refused with ${refusal.code}`);
  } catch (error) {
    if (!(error instanceof SseChannelsError)) return wrong(`threw ${print(error)}, which is no SseChannelsError`);
    const { code, message } = error;
    if (code !== refusal?.code) return wrong(`refused with ${code}, not ${refusal?.code ?? 'at all'}: ${message}`);
    if (!refusal.names.some((name) => message.includes(name)))
      return wrong(`does not name what it refuses: ${message}`);
    return { kind: 'refused', code };
  }
}

function sentAs(frame: Frame): Outcome {
  return {
    kind: 'sent',
    sent: {
      bytes: Buffer.from(encodeFrame(frame)),
      comments: frame.comment === undefined ? [] : linesOf(frame.comment),
      retryMs: frame.retry ?? null,
      event: frame.data === undefined ? null : { name: frame.event || 'message', data: linesOf(frame.data).join('\n') },
      id: frame.id ?? null,
    },
  };
}

function linesOf(text: string): string[] {
  return text.replaceAll('\r\n', '\n').replaceAll('\r', '\n').split('\n');
}

function wrong(why: string): Outcome {
  return { kind: 'wrong', why };
}

/** Whether a line can carry it, told character by character. */
function carried(text: string): boolean {
  for (const character of text) {
    const code = character.codePointAt(0) as number;
    if (code === 0 || code === 10 || code === 13 || (code >= 0xd800 && code <= 0xdfff)) return false;
  }
  return true;
}

function isName(name: string): boolean {
  return (
    carried(name) &&
    name !== '' &&
    name.length <= 256 &&
    name[0] !== '$' &&
    !['message', 'error', 'open'].includes(name)
  );
}

function isCursor(text: unknown): text is string {
  if (typeof text !== 'string' || text.length > 128) return false;
  const [epoch = '', offset = '', ...rest] = text.split('~');
  const numbers = offset.split('-');
  return (
    rest.length === 0 &&
    epoch.length >= 1 &&
    epoch.length <= 64 &&
    epoch.split('').every((character) => /[0-9A-Za-z_-]/.test(character)) &&
    numbers.length === 2 &&
    numbers.every(
      (digits) =>
        digits !== '' &&
        digits.length <= 13 &&
        digits.split('').every((digit) => '0123456789abcdefghijklmnopqrstuvwxyz'.includes(digit)) &&
        (digits === '0' || digits[0] !== '0'),
    )
  );
}

function print(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    const text = typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
    return text.slice(0, 200);
  } catch {
    return `a value of type ${typeof value}`;
  }
}
