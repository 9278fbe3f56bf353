/**
 * `npm run fuzz`: hostile names, ids and payloads go through the encoder and three parsers, and each comes back identical or is refused
 * with an error that names it.
 */
import { isDeepStrictEqual } from 'node:util';
import { SseChannelsError } from '@sse-channels/protocol';
import { readOptions } from './command-line.js';
import { play, type Sent } from './fuzz/cases.js';
import { Dice } from './fuzz/dice.js';
import { PARSERS, type Parsed, type Parser } from './fuzz/parsers.js';

/** Cases that share a stream: parsers carry state from one frame to the next. */
const BATCH = 40;
const PROGRESS_EVERY_MS = 10_000;
const MAX_SHOWN = 10;

const { cases, seed, from } = readOptions({
  /** How many. */
  cases: 1_000_000,
  /** Decides all of them. */
  seed: Math.floor(Date.now() / 1_000) % 1_000_000,
  /** The first case, to play one again: `--seed 7 --from 123 --cases 1`. */
  from: 0,
});

interface Waiting {
  readonly index: number;
  readonly sent: Sent;
}

const refused = new Map<string, number>();
let identical = 0;
let wrong = 0;

const beganAt = Date.now();
let shownAt = beganAt;
console.log(`fuzz: ${cases} cases of seed ${seed}`);
for (let index = from; index < from + cases; index += BATCH) {
  playBatch(index, Math.min(BATCH, from + cases - index));
  if (Date.now() - shownAt < PROGRESS_EVERY_MS) continue;
  shownAt = Date.now();
  console.log(`  ${index - from + BATCH} cases, ${identical} identical, ${wrong} wrong`);
}
const refusals = [...refused]
  .toSorted(([one], [other]) => (one < other ? -1 : 1))
  .map(([code, times]) => `${code} ${times}`);
const seconds = ((Date.now() - beganAt) / 1_000).toFixed(0);
console.log(
  `${cases} cases in ${seconds} s: ${identical} identical in ${PARSERS.length} parsers, ` +
    `refused: ${refusals.join(', ') || 'none'}, wrong: ${wrong}`,
);
process.exitCode = wrong === 0 ? 0 : 1;

function playBatch(first: number, count: number): void {
  const waiting: Waiting[] = [];
  for (let index = first; index < first + count; index += 1) {
    const outcome = play(Dice.ofCase(seed, index));
    if (outcome.kind === 'sent') waiting.push({ index, sent: outcome.sent });
    else if (outcome.kind === 'same') identical += 1;
    else if (outcome.kind === 'refused') refused.set(outcome.code, (refused.get(outcome.code) ?? 0) + 1);
    else tellWrong(index, outcome.why);
  }
  if (differences(waiting, first).length === 0) {
    identical += waiting.length;
    return;
  }
  // One at a time, to find which it was; where that shows none, it was how they follow each other.
  const guilty = waiting.filter((one) => differences([one], first).length > 0);
  identical += waiting.length - Math.max(1, guilty.length);
  for (const one of guilty) tellWrong(one.index, differences([one], first).join('; '));
  if (guilty.length === 0)
    tellWrong(first, `together with the ${count - 1} after it: ${differences(waiting, first)[0]}`);
}

function tellWrong(index: number, why: string): void {
  wrong += 1;
  if (wrong <= MAX_SHOWN) console.error(`WRONG, --seed ${seed} --from ${index} --cases 1: ${why}`);
}

/** How the parsers read frames otherwise than they were meant, when these come one after the other in random chunks. */
function differences(waiting: readonly Waiting[], first: number): string[] {
  const dice = Dice.ofCase(~seed, first);
  const stream = Buffer.concat(waiting.map(({ sent }) => sent.bytes));
  return PARSERS.flatMap((parser) => {
    const expected = expectedOf(waiting, parser);
    let parsed: Parsed[];
    try {
      parsed = parser.parse(cut(stream, dice));
    } catch (error) {
      return [`${parser.name} threw ${error instanceof SseChannelsError ? error.code : String(error)}`];
    }
    if (isDeepStrictEqual(parsed, expected)) return [];
    const at = expected.findIndex((one, index) => !isDeepStrictEqual(one, parsed[index]));
    return [`${parser.name} read ${print(parsed[at])} for ${print(expected[at])}`];
  });
}

function expectedOf(waiting: readonly Waiting[], parser: Parser): Parsed[] {
  const expected: Parsed[] = [];
  let lastEventId = '';
  for (const { sent } of waiting) {
    if (parser.tellsComments) {
      for (const text of sent.comments)
        expected.push({ kind: 'comment', text: parser.stripsCommentSpace ? text : ` ${text}` });
    }
    // Our writer has no other way to write a number: 0 for -0.
    if (sent.retryMs !== null) expected.push({ kind: 'retry', retryMs: sent.retryMs + 0 });
    lastEventId = sent.id ?? lastEventId;
    if (sent.event !== null) {
      expected.push({ kind: 'event', ...sent.event, id: parser.idHolds ? lastEventId : sent.id });
    }
  }
  return expected;
}

/** In pieces, now and then of one byte each. */
function cut(stream: Buffer, dice: Dice): Buffer[] {
  const pieces: Buffer[] = [];
  const longest = dice.oneIn(10) ? 1 : dice.oneIn(2) ? 40 : 4_000;
  for (let at = 0; at < stream.length;) {
    // What is huge is not cut into a million pieces.
    const end = at + 1 + dice.below(Math.max(longest, stream.length >> 10));
    pieces.push(stream.subarray(at, end));
    at = end;
  }
  return pieces;
}

function print(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 200);
}
