import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { crc32 } from 'node:zlib';
import { appendCrc, crcOf } from './crc32.js';

describe('appendCrc', () => {
  it('gives the CRC of all pieces together, whatever their sizes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (arrays) => {
        const pieces = arrays.map((array) => Buffer.from(array));
        const crc = pieces.reduce((sum, piece) => appendCrc(sum, crcOf(piece)), 0);
        expect(crc).toBe(crc32(Buffer.concat(pieces)));
      }),
    );
  });

  it('holds for large pieces', () => {
    const [one, other] = [Buffer.alloc(3_000_001, 'one'), Buffer.alloc(70_000, 'other')];
    expect(appendCrc(crc32(one), crcOf(other))).toBe(crc32(Buffer.concat([one, other])));
  });
});
