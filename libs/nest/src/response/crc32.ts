/** CRC-32 of bytes that follow others, from the CRCs of both: what zlib's crc32_combine does (https://zlib.net, crc32.c). */
import { crc32 } from 'node:zlib';

/** The polynomial of RFC 1952, section 8, its bits reversed: the highest bit stands for x⁰. */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;
/** x to the power of 2ⁿ. */
const POWERS: number[] = [ONE >>> 1];
for (let n = 1; n < 32; n += 1) POWERS.push(multiply(POWERS[n - 1] as number, POWERS[n - 1] as number));

/** The CRC of a piece of bytes, and what appending it does to the CRC of those before. */
export interface PieceCrc {
  readonly crc: number;
  /** x to the power of its count of bits, modulo the polynomial. */
  readonly shift: number;
}

export function crcOf(bytes: Buffer): PieceCrc {
  let shift = ONE;
  // Three doublings for the bits of a byte.
  for (let count = bytes.length, n = 3; count > 0; count >>>= 1, n += 1) {
    if (count & 1) shift = multiply(POWERS[n & 31] as number, shift);
  }
  return { crc: crc32(bytes), shift };
}

/** The CRC of the bytes so far with a piece appended. */
export function appendCrc(crc: number, piece: PieceCrc): number {
  return (multiply(piece.shift, crc) ^ piece.crc) >>> 0;
}

/** The product of two polynomials over GF(2), modulo the polynomial; the first is not zero. */
function multiply(one: number, other: number): number {
  let product = 0;
  let factor = other;
  for (let bit = ONE; ; bit >>>= 1) {
    if (one & bit) {
      product ^= factor;
      if ((one & (bit - 1)) === 0) return product >>> 0;
    }
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
}
