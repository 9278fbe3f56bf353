/** Text that breaks formats: line ends, NUL, halves of characters, look-alikes of the format's own fields. */
import type { Dice } from './dice.js';

const PIECES = [
  '\r\n', '\n', '\r', '\n\n', '\r\r', '\0', '\u2028', '\u2029', '\u0085', '\u000b', '\u000c', '\ufeff', '\ufffe', '\ufffd', '\u200d', '\u202e',
  '\ud83d', '\ude00', '\ud83d\ude00', '👩‍👩‍👧', 'é', 'ß', '漢字', '\u{10ffff}', ' ', '  ', '\t', ':', '::', ': ', '"', '\\', '\\u0000', '\\n',
  'data:', 'data: x\n\n', '\ndata: forged\n\n', '\nid: forged\n', 'id:', 'id: 7', 'event: $closing', '\nevent: forged\n', 'retry: 0',
  '__proto__', 'constructor', 'toString', 'toJSON', 'then', '$open', '$end', 'message', 'error', 'open', 'null', 'undefined', '{}', '[', '<!--',
  'order.shipped', 'a', 'Z', '0', '-1', '1e400', 'x'.repeat(40), '\x1b[2J', '\x7f', '%00', '%0a', '~', '0-0',
]; // prettier-ignore

/** Mostly short, sometimes empty, seldom huge. */
export function hostileText(dice: Dice): string {
  if (dice.oneIn(20_000)) return hugeText(dice);
  let text = '';
  for (let pieces = dice.below(6); pieces > 0; pieces -= 1) text += piece(dice);
  return text;
}

/** As above, but no code unit that a name or an id could not carry, so that these come through as well. */
export function tameText(dice: Dice): string {
  return hostileText(dice)
    .replace(/[\r\n\0]/g, '')
    .toWellFormed();
}

function piece(dice: Dice): string {
  if (dice.oneIn(3)) return String.fromCharCode(dice.below(0x1_0000));
  return dice.pick(PIECES);
}

function hugeText(dice: Dice): string {
  return (piece(dice) + piece(dice) + 'x').repeat(1 + dice.below(100_000));
}
