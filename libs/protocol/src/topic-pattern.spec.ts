import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_PARAMETER_BYTES, TopicPattern, matchesFilter } from './topic-pattern.js';

type Params = Record<string, string | number>;

const refused = (code: string, message: string) => expect.objectContaining({ code, message }) as unknown as Error;
const orders = new TopicPattern('orders/:orderId');

// Near misses meet often in this alphabet: `a/b` and `a%2Fb`, `%` and `%25`, `é` composed and decomposed.
const tricky = fc.constantFrom(
  'a',
  'b',
  'A',
  '1',
  '0',
  '/',
  '*',
  '.',
  '..',
  '>',
  '%',
  '%2F',
  '%25',
  '~',
  ':',
  ' ',
  '\t',
);
const exotic = fc.constantFrom(
  '\n',
  '\r',
  '\0',
  '\u00a0',
  '\u2028',
  '\ufeff',
  'é',
  'e\u0301',
  '€',
  '𝄞',
  '＊',
  '．',
  '-',
  '_',
);
const param = fc.oneof(
  fc.string({ unit: fc.oneof(tricky, exotic), minLength: 1, maxLength: 6 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'binary', minLength: 1000, maxLength: 1024 }),
);

describe('TopicPattern', () => {
  it.each([
    ['orders', 'orders'],
    ['orders/:orderId', 'orders/*'],
    ['a-b/_c/:D_1/0', 'a-b/_c/*/0'],
    [':tenant/:_/x', '*/*/x'],
  ])('takes %j and gives the filter %j', (source, filter) => {
    expect(new TopicPattern(source).filter).toBe(filter);
  });

  it.each([
    ['orders/', ''],
    ['/orders', ''],
    ['orders//items', ''],
    ['orders/:', ':'],
    ['orders/:1st', ':1st'],
    ['orders/:order-id', ':order-id'],
    ['orders/:a:b', ':a:b'],
    ['orders/*', '*'],
    ['orders/a.b', 'a.b'],
    ['orders/a b', 'a b'],
    ['orders/a\n', 'a\n'],
    ['größe', 'größe'],
    ['orders/{id}', '{id}'],
    ['orders/%41', '%41'],
  ])('refuses %j for its segment %j', (source, segment) => {
    expect(() => new TopicPattern(source)).toThrow(
      refused(
        'INVALID_CHANNEL',
        `Channel pattern ${JSON.stringify(source)} has the segment ${JSON.stringify(segment)}; a segment is either letters, digits, "-" and "_", or a parameter such as ":orderId".`,
      ),
    );
  });

  it.each([[''], [undefined], [null], [7], [{}]])('refuses %j, which is no pattern', (source) => {
    expect(() => new TopicPattern(source as string)).toThrow(
      refused('INVALID_CHANNEL', 'A channel needs a pattern such as "orders/:orderId".'),
    );
  });

  it('refuses a parameter that is named twice', () => {
    expect(() => new TopicPattern('orders/:id/items/:id')).toThrow(
      refused(
        'INVALID_CHANNEL',
        'Channel pattern "orders/:id/items/:id" names the parameter "id" twice; give each a name of its own.',
      ),
    );
  });
});

describe('TopicPattern.format', () => {
  it('fills in parameters, numbers too', () => {
    expect(orders.format({ orderId: '42' })).toBe('orders/42');
    expect(orders.format({ orderId: 42 })).toBe('orders/42');
    expect(orders.format({ orderId: -7 })).toBe('orders/-7');
    expect(new TopicPattern('prices').format({})).toBe('prices');
    expect(new TopicPattern(':b/x/:a').format({ a: '1', b: '2' })).toBe('2/x/1');
  });

  it.each([
    ['a/b', 'orders/a%2Fb'],
    ['*', 'orders/%2A'],
    ['..', 'orders/%2E%2E'],
    ['>', 'orders/%3E'],
    [' \t\n', 'orders/%20%09%0A'],
    ["!'()~", 'orders/%21%27%28%29%7E'],
    ['%2F', 'orders/%252F'],
    ['\0', 'orders/%00'],
    ['é𝄞', 'orders/%C3%A9%F0%9D%84%9E'],
    ['Ab_-9', 'orders/Ab_-9'],
  ])('makes data of %j', (orderId, name) => {
    expect(orders.format({ orderId })).toBe(name);
    expect(orders.parse(name)).toEqual({ orderId });
  });

  it('gives names that parse gives back, whatever the parameters', () => {
    const pattern = new TopicPattern('a/:x/b/:y');
    fc.assert(
      fc.property(param, param, (x, y) => {
        expect(pattern.parse(pattern.format({ x, y }))).toEqual({ x, y });
      }),
      { numRuns: 300 },
    );
  });

  it('gives names without a `*`, `.`, `>` or whitespace, only of letters, digits, "-", "_", "%" and "/"', () => {
    fc.assert(
      fc.property(param, (orderId) => {
        const name = orders.format({ orderId });
        expect(name).not.toMatch(/[*.>\s]/);
        expect(name).toMatch(/^orders\/[A-Za-z0-9_%-]+$/);
      }),
      { numRuns: 300 },
    );
  });

  it('gives two different parameters two names', () => {
    const pattern = new TopicPattern(':x/:y');
    const short = fc.string({ unit: tricky, minLength: 1, maxLength: 3 });
    const pair = fc.record({ x: fc.oneof(short, param), y: fc.oneof(short, param) });
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        expect(pattern.format(a) === pattern.format(b)).toBe(a.x === b.x && a.y === b.y);
      }),
      { numRuns: 500 },
    );
  });

  it('takes a parameter of 4096 bytes and refuses a larger one', () => {
    const tooLarge = refused(
      'INVALID_TOPIC_PARAMETER',
      'Parameter "orderId" of channel "orders/:orderId" is larger than 4096 bytes; use an identifier.',
    );

    expect(MAX_PARAMETER_BYTES).toBe(4096);
    expect(orders.format({ orderId: 'a'.repeat(4096) })).toBe(`orders/${'a'.repeat(4096)}`);
    expect(() => orders.format({ orderId: 'a'.repeat(4097) })).toThrow(tooLarge);
    expect(orders.format({ orderId: `a${'€'.repeat(1365)}` })).toBe(`orders/a${'%E2%82%AC'.repeat(1365)}`);
    expect(() => orders.format({ orderId: '€'.repeat(1366) })).toThrow(tooLarge);
    expect(() => orders.format({ orderId: '𝄞'.repeat(1025) })).toThrow(tooLarge);
  });

  it.each([
    [{}, 'orderId', 'is missing; pass it to topic({ … }).'],
    [{ orderId: undefined }, 'orderId', 'is missing; pass it to topic({ … }).'],
    [Object.create({ orderId: 'inherited' }), 'orderId', 'is missing; pass it to topic({ … }).'],
    [{ orderId: '1', userId: '2' }, 'userId', 'is not in the pattern; remove it or correct its name.'],
    [{ orderId: '' }, 'orderId', 'is empty; a topic needs a value for each parameter.'],
    [{ orderId: 1.5 }, 'orderId', 'must be a string or a safe integer, not 1.5.'],
    [{ orderId: NaN }, 'orderId', 'must be a string or a safe integer, not NaN.'],
    [{ orderId: -Infinity }, 'orderId', 'must be a string or a safe integer, not -Infinity.'],
    [{ orderId: 2 ** 53 }, 'orderId', 'must be a string or a safe integer, not 9007199254740992.'],
    [{ orderId: null }, 'orderId', 'must be a string or a safe integer, not null.'],
    [{ orderId: true }, 'orderId', 'must be a string or a safe integer, not a value of type boolean.'],
    [{ orderId: ['42'] }, 'orderId', 'must be a string or a safe integer, not a value of type object.'],
    [{ orderId: 42n }, 'orderId', 'must be a string or a safe integer, not a value of type bigint.'],
    [
      { orderId: 'a\ud834' },
      'orderId',
      'has a lone surrogate, which UTF-8 cannot carry; pass well-formed text, see toWellFormed().',
    ],
  ])('refuses parameters and says which, and the way out (%#)', (params, name, why) => {
    expect(() => orders.format(params as Params)).toThrow(
      refused('INVALID_TOPIC_PARAMETER', `Parameter "${name}" of channel "orders/:orderId" ${why}`),
    );
  });
});

describe('TopicPattern.parse', () => {
  it('reads parameters, decoded', () => {
    expect(orders.parse('orders/a%2Fb')).toEqual({ orderId: 'a/b' });
    expect(new TopicPattern('prices').parse('prices')).toEqual({});
  });

  it('keeps a parameter called __proto__ a parameter', () => {
    const pattern = new TopicPattern('a/:__proto__/:constructor');
    const params = Object.fromEntries([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);

    expect(pattern.format(params)).toBe('a/x/y');
    expect(Object.entries(pattern.parse('a/x/y') ?? {})).toEqual(Object.entries(params));
  });

  it.each(['', 'orders', 'orders/1/2', 'order/1', 'Orders/1', '/1', 'orders/1/', 'x/orders/1', '*', 'orders*'])(
    'says null for %j, which is of another pattern',
    (name) => {
      expect(orders.parse(name)).toBeNull();
    },
  );

  it.each([
    ['an empty parameter', 'orders/'],
    ['the filter', 'orders/*'],
    ['an unencoded dot', 'orders/a.b'],
    ['an unencoded space', 'orders/a b'],
    ['an unencoded letter of Unicode', 'orders/é'],
    ['an encoded letter that needs none', 'orders/%34%32'],
    ['an encoding in lower case', 'orders/a%2fb'],
    ['half an encoding', 'orders/%2'],
    ['an encoding of malformed UTF-8', 'orders/%FF'],
    ['an encoded surrogate', 'orders/%ED%A0%80'],
    ['an overlong encoding', 'orders/%C0%AF'],
    ['a parameter that is too large', `orders/${'a'.repeat(4097)}`],
  ])('says null for %s, which format never gives', (_what, name) => {
    expect(orders.parse(name)).toBeNull();
  });

  it('reads each topic in one spelling only: what is read formats as it came', () => {
    const unit = fc.constantFrom('a', '1', '%', '2', 'F', 'f', 'E', '%2F', '%2A', '%C3%A9', '*', '.', '-', 'é', ' ');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 5 }), (part) => {
        const params = orders.parse(`orders/${part}`);
        if (params !== null) expect(orders.format(params)).toBe(`orders/${part}`);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('matchesFilter', () => {
  it.each([
    ['orders/*', 'orders/42', true],
    ['*', 'prices', true],
    ['*/*', 'orders/42', true],
    ['orders/*/items', 'orders/42/items', true],
    ['prices', 'prices', true],
    ['orders/42', 'orders/42', true],
    ['orders/*', 'orders/%2A', true],
    ['orders/*', 'orders', false],
    ['orders/*', 'orders/42/items', false],
    ['orders/*/items', 'orders/42/lines', false],
    ['orders/*', 'order/42', false],
    ['*', 'orders/42', false],
    ['prices', 'pricesx', false],
    ['orders/4*', 'orders/42', false],
    ['orders/**', 'orders/42', false],
  ])('lets %j pass %j: %j', (filter, name, passes) => {
    expect(matchesFilter(filter, name)).toBe(passes);
  });

  it('lets a pattern’s filter pass every topic of the pattern, whatever its parameters', () => {
    const pattern = new TopicPattern('a/:x/b/:y');
    fc.assert(
      fc.property(param, param, (x, y) => {
        expect(matchesFilter(pattern.filter, pattern.format({ x, y }))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('TopicPattern.overlaps', () => {
  it.each([
    ['orders/:id', 'orders/:orderId', true],
    ['orders/:id', 'orders/all', true],
    [':tenant/orders', 'acme/:what', true],
    ['prices', 'prices', true],
    ['orders/:id', 'orders/:id/items', false],
    ['orders/:id', 'users/:id', false],
    ['orders/all', 'orders/none', false],
    [':a/x', ':b/y', false],
  ])('says of %j and %j: %j', (a, b, overlap) => {
    expect(new TopicPattern(a).overlaps(new TopicPattern(b))).toBe(overlap);
    expect(new TopicPattern(b).overlaps(new TopicPattern(a))).toBe(overlap);
  });

  it('says true exactly where some name is of both patterns', () => {
    const segments = fc.array(fc.constantFrom('a', 'b', ':'), { minLength: 1, maxLength: 4 });
    const pattern = segments.map((some) => new TopicPattern(some.map((s, i) => (s === ':' ? `:p${i}` : s)).join('/')));
    // Three values tell apart all that can be: each literal, and one that is neither.
    const names = ['a', 'b', 'c'].flatMap((x) => [x, ...['a', 'b', 'c'].map((y) => `${x}/${y}`)]);
    const all = [
      ...names,
      ...names.flatMap((x) => names.filter((y) => `${x}/${y}`.split('/').length > 2).map((y) => `${x}/${y}`)),
    ];
    fc.assert(
      fc.property(pattern, pattern, (a, b) => {
        expect(a.overlaps(b)).toBe(all.some((name) => a.parse(name) !== null && b.parse(name) !== null));
      }),
      { numRuns: 300 },
    );
  });
});
