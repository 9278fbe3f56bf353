import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  FINAL_CURSOR,
  FIRST_OFFSET,
  MAX_CURSOR_LENGTH,
  compareOffsets,
  formatCursor,
  formatOffset,
  earlierOffset,
  laterOffset,
  parseCursor,
} from './cursor.js';

interface Place {
  readonly major: bigint;
  readonly minor: bigint;
}

// Small ones meet often, powers of 36 change the number of digits, the largest are those of 13 digits.
const integer = fc.oneof(
  fc.bigInt({ min: 0n, max: 40n }),
  fc
    .tuple(fc.bigInt({ min: 0n, max: 12n }), fc.bigInt({ min: 0n, max: 1n }))
    .map(([power, less]) => 36n ** power - less),
  fc.bigInt({ min: 0n, max: 36n ** 13n - 1n }),
);
const place: fc.Arbitrary<Place> = fc.record({ major: integer, minor: integer });
const epoch = fc.stringMatching(/^[0-9A-Za-z_-]{1,64}$/);
const printed = ({ major, minor }: Place): string => `${major.toString(36)}-${minor.toString(36)}`;
const value = ({ major, minor }: Place): bigint => major * 36n ** 13n + minor;

describe('Offsets', () => {
  it('are printed in base 36', () => {
    expect(formatOffset(0, 0)).toBe(FIRST_OFFSET);
    expect(formatOffset(35, 36)).toBe('z-10');
    expect(formatOffset(1_700_000_000_000, 1)).toBe('loyw3v28-1');
    expect(formatOffset(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)).toBe('2gosa7pa2gv-2gosa7pa2gv');
  });

  it('are ordered by major, then minor, as numbers and not as text', () => {
    const offsets = ['10-0', '2-0', '0-10', 'z-0', '0-9', '2-z', '0-0', '0-z', '2-10', '100-0'];

    expect(offsets.toSorted(compareOffsets)).toEqual([
      '0-0',
      '0-9',
      '0-z',
      '0-10',
      '2-0',
      '2-z',
      '2-10',
      'z-0',
      '10-0',
      '100-0',
    ]);
  });

  it('compare as their numbers do', () => {
    fc.assert(
      fc.property(place, place, (a, b) => {
        const difference = value(a) - value(b);
        const wanted = difference < 0n ? -1 : difference > 0n ? 1 : 0;
        expect(Math.sign(compareOffsets(printed(a), printed(b)))).toBe(wanted);
      }),
      { numRuns: 500 },
    );
  });

  it('are in total order: any list of them sorts as the list of their numbers', () => {
    fc.assert(
      fc.property(fc.array(place, { maxLength: 20 }), (places) => {
        const byNumber = places.toSorted((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
        expect(places.map(printed).sort(compareOffsets)).toEqual(byNumber.map(printed));
      }),
      { numRuns: 200 },
    );
  });

  it('come after the first one, all of them', () => {
    fc.assert(
      fc.property(place, (some) => {
        expect(compareOffsets(FIRST_OFFSET, printed(some))).toBeLessThanOrEqual(0);
      }),
      { numRuns: 100 },
    );
  });

  it('give the earlier of two, in either order, and none where one is not known', () => {
    expect(earlierOffset('z-0', '10-0')).toBe('z-0');
    expect(earlierOffset('10-0', 'z-0')).toBe('z-0');
    expect(earlierOffset('', 'z-0')).toBe('');
    expect(earlierOffset('z-0', '')).toBe('');
  });

  it('give the later of two, in either order', () => {
    expect(laterOffset('z-0', '10-0')).toBe('10-0');
    expect(laterOffset('10-0', 'z-0')).toBe('10-0');
    expect(laterOffset('1-z', '1-z')).toBe('1-z');
  });
});

describe('Cursors', () => {
  it('are printed as epoch and offset', () => {
    expect(formatCursor('k3Q_x-9', 'loyw3v28-1')).toBe('k3Q_x-9~loyw3v28-1');
  });

  it('come back as the parts they were made of', () => {
    fc.assert(
      fc.property(epoch, place, (ofEpoch, at) => {
        const parts = { epoch: ofEpoch, offset: printed(at) };
        expect(parseCursor(formatCursor(parts.epoch, parts.offset))).toEqual(parts);
      }),
      { numRuns: 300 },
    );
  });

  it('come back for every two safe integers', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (major, minor) => {
        const offset = formatOffset(major, minor);
        expect(parseCursor(formatCursor('e', offset))).toEqual({ epoch: 'e', offset });
      }),
      { numRuns: 300 },
    );
  });

  it('cause no CORS preflight: at most 128 bytes, and none that a header must not carry unasked', () => {
    fc.assert(
      fc.property(epoch, place, (ofEpoch, at) => {
        const cursor = formatCursor(ofEpoch, printed(at));
        expect(new TextEncoder().encode(cursor).length).toBeLessThanOrEqual(128);
        expect(cursor).not.toMatch(/["():<>?@[\\\]{}]/);
        expect(cursor).toMatch(/^[!-~]+$/);
      }),
      { numRuns: 300 },
    );
  });

  it('fit into the bound at their longest', () => {
    const longest = `${'e'.repeat(64)}~${'z'.repeat(13)}-${'z'.repeat(13)}`;

    expect(longest.length).toBeLessThanOrEqual(MAX_CURSOR_LENGTH);
    expect(parseCursor(longest)).toEqual({ epoch: 'e'.repeat(64), offset: `${'z'.repeat(13)}-${'z'.repeat(13)}` });
  });

  it.each([
    '',
    '~',
    '-',
    'e',
    'e~',
    '~0-0',
    'e~0',
    'e~0-',
    'e~-0',
    'e~-1-0',
    'e~0--1',
    'e~0-0-0',
    '0-0',
    'e~0-0~0-0',
    'e~e~0-0',
    'e~00-0',
    'e~0-00',
    'e~01-0',
    'e~0-01',
    'e~A-0',
    'e~0.5-0',
    'e~1e3-_',
    'e~0-0\n',
    '\ne~0-0',
    'e\n~0-0',
    'e~0-0\0',
    ' e~0-0',
    'e~0-0 ',
    'é~0-0',
    'e~٣-0',
    'e:~0-0',
    'e.~0-0',
    'e~0-0"',
    `e~0-${'z'.repeat(14)}`,
    `e~${'z'.repeat(14)}-0`,
    `${'e'.repeat(65)}~0-0`,
    'e'.repeat(128),
    '0',
    '42',
    'null',
    'undefined',
    '__proto__~0-0-0',
    '../../etc/passwd',
    '${7*7}~0-0',
    '%65~0-0',
  ])('are not %j', (text) => {
    expect(parseCursor(text)).toBeNull();
  });

  it('are not a text of a megabyte, be it of the right letters', () => {
    expect(parseCursor(`e~0-${'0'.repeat(1_000_000)}`)).toBeNull();
    expect(parseCursor(`${'e'.repeat(1_000_000)}~0-0`)).toBeNull();
    expect(parseCursor('~'.repeat(1_000_000))).toBeNull();
  });

  it('are not the final cursor, which is of no place', () => {
    expect(parseCursor(FINAL_CURSOR)).toBeNull();
  });

  it.each([
    [undefined],
    [null],
    [7],
    [true],
    [[]],
    [['e~0-0']],
    [['e', '~', '0-0']],
    [{}],
    [{ 0: 'e~0-0' }],
    [{ length: 3, indexOf: 'x' }],
  ])('are not what a query string parser may hand over instead of text: %j', (query) => {
    expect(parseCursor(query as unknown as string)).toBeNull();
  });

  it('are read in one spelling only: what is read prints as it came', () => {
    const letter = fc.constantFrom('~', '-', '0', '1', 'z', 'A', 'e', '_', '\n', ' ', '.', 'é', '\0');
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 140 }),
      fc.string({ unit: letter, maxLength: 9 }),
      fc
        .tuple(fc.string({ unit: letter, maxLength: 3 }), fc.string({ unit: letter, maxLength: 4 }))
        .map((parts) => parts.join('~')),
    );
    fc.assert(
      fc.property(text, (some) => {
        const parts = parseCursor(some);
        if (parts !== null) expect(formatCursor(parts.epoch, parts.offset)).toBe(some);
      }),
      { numRuns: 1000 },
    );
  });
});
