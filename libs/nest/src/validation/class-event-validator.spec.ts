import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { EventValidationError, SseEvent } from '@sse-channels/protocol';
import { Transform, Type } from 'class-transformer';
import {
  Allow,
  IsArray,
  IsDate,
  IsEmail,
  IsInt,
  IsOptional,
  IsString,
  MaxLength,
  Min,
  registerDecorator,
  Validate,
  ValidateIf,
  ValidateNested,
  ValidatorConstraint,
} from 'class-validator';
import { ClassEventValidator } from './class-event-validator.js';

class Tag {
  @IsString() name!: string;
}

class Item {
  @IsString() sku!: string;
  @IsInt() @Min(1) count!: number;
  @IsOptional() @IsArray() @ValidateNested({ each: true }) @Type(() => Tag) tags?: Tag[];
}

@SseEvent('basket.filled')
class BasketFilled {
  @IsEmail() buyer!: string;
  @ValidateNested() @Type(() => Item) first!: Item;
  @IsArray() @ValidateNested({ each: true }) @Type(() => Item) items!: Item[];
}

@SseEvent('note.taken')
class NoteTaken {
  @IsString() @MaxLength(3) text!: string;
  @Allow() extra?: unknown;
}

@SseEvent('ruleless')
class Ruleless {
  anything?: unknown;
}

const valid = { buyer: 'a@b.example', first: { sku: 's', count: 1 }, items: [] };
const reject = new ClassEventValidator('reject');
const strip = new ClassEventValidator('strip');
const keep = new ClassEventValidator('keep');

/** What the validation throws or rejects with. */
async function refusal(validate: () => unknown): Promise<EventValidationError> {
  const outcome: unknown = await (async () => validate())().catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(EventValidationError);
  return outcome as EventValidationError;
}

describe('a class event', () => {
  it('is made an instance of its class, at once where no rule has to wait', () => {
    const event = reject.validate(NoteTaken, { text: 'abc', extra: [1] });

    expect(event).toBeInstanceOf(NoteTaken);
    expect(event).toEqual({ text: 'abc', extra: [1] });
  });

  it('that is an instance already is validated as it is', async () => {
    const note = Object.assign(new NoteTaken(), { text: 'abc' });
    const wrong = Object.assign(new NoteTaken(), { text: 'abcd' });

    expect(reject.validate(NoteTaken, note)).toBe(note);
    expect(await refusal(() => reject.validate(NoteTaken, wrong))).toMatchObject({
      message:
        'Event "note.taken" is not valid, nothing was sent: text: text must be shorter than or equal to 3 characters',
    });
  });

  it('that is refused names every failed property, nested ones and those of list items by their paths', async () => {
    const data = {
      buyer: 7,
      first: { sku: 's', count: 0 },
      items: [
        { sku: 's', count: 1 },
        { sku: 1, count: 0.5, tags: [{ name: 'n' }, { name: 2 }] },
      ],
    };

    const { code, eventName, issues } = await refusal(() => reject.validate(BasketFilled, data));

    expect([code, eventName]).toEqual(['EVENT_INVALID', 'basket.filled']);
    expect(issues).toEqual([
      { property: 'buyer', message: 'buyer must be an email' },
      { property: 'first.count', message: 'count must not be less than 1' },
      { property: 'items.1.sku', message: 'sku must be a string' },
      { property: 'items.1.count', message: 'count must not be less than 1' },
      { property: 'items.1.count', message: 'count must be an integer number' },
      { property: 'items.1.tags.1.name', message: 'name must be a string' },
    ]);
  });

  it('that lacks everything names everything', async () => {
    const { issues } = await refusal(() => reject.validate(BasketFilled, {}));

    expect([...new Set(issues.map(({ property }) => property))]).toEqual(['buyer', 'items']);
  });

  it('whose nested value is none names the property', async () => {
    const { issues } = await refusal(() => reject.validate(BasketFilled, { ...valid, first: 'none' }));

    expect(issues).toEqual([{ property: 'first', message: expect.stringContaining('first must be') }]);
  });

  it('whose nested class has no rules is refused by the name of the property', async () => {
    class Blank {}
    @SseEvent('blank.held')
    class BlankHeld {
      @ValidateNested() @Type(() => Blank) blank!: Blank;
      @IsArray() @ValidateNested({ each: true }) @Type(() => Blank) blanks!: Blank[];
    }

    const { issues } = await refusal(() => reject.validate(BlankHeld, { blank: {}, blanks: [{}] }));

    const message = 'an unknown value was passed to the validate function';
    expect(issues).toEqual([
      { property: 'blank', message },
      { property: 'blanks.0', message },
    ]);
  });

  it('follows conditions and inherits the rules of its base class, which it may sharpen', async () => {
    class Base {
      @IsString() id!: string;
      @IsInt() count!: number;
    }
    @SseEvent('derived')
    class Derived extends Base {
      @Min(10) declare count: number;
      @ValidateIf(({ id }: Derived) => id === 'named') @IsString() name?: string;
    }

    const { issues } = await refusal(() => reject.validate(Derived, { id: 'named', count: 9 }));

    expect(issues.map(({ property }) => property).sort()).toEqual(['count', 'name']);
    expect(reject.validate(Derived, { id: 'other', count: 10 })).toBeInstanceOf(Derived);
    expect((await refusal(() => reject.validate(Derived, { id: 1, count: 10 }))).issues).toMatchObject([
      { property: 'id' },
    ]);
  });
});

describe('a property without a rule', () => {
  const data = { text: 'abc', more: 1 };

  it('is refused by name under "reject", nested ones too', async () => {
    expect((await refusal(() => reject.validate(NoteTaken, data))).issues).toEqual([
      { property: 'more', message: 'property more should not exist' },
    ]);
    const nested = { ...valid, first: { sku: 's', count: 1, colour: 'red' } };
    expect((await refusal(() => reject.validate(BasketFilled, nested))).issues).toEqual([
      { property: 'first.colour', message: 'property colour should not exist' },
    ]);
  });

  it('is left out under "strip", and what was given stays as it was', async () => {
    const nested = { ...valid, first: { sku: 's', count: 1, colour: 'red' } };

    expect(strip.validate(NoteTaken, data)).toEqual({ text: 'abc' });
    expect(await strip.validate(BasketFilled, nested)).toEqual(valid);
    expect(data).toEqual({ text: 'abc', more: 1 });
    expect(nested.first.colour).toBe('red');
  });

  it('is sent under "keep", while rules hold', async () => {
    expect(keep.validate(NoteTaken, data)).toEqual(data);
    expect((await refusal(() => keep.validate(NoteTaken, { text: 1, more: 1 }))).issues).toMatchObject([
      { property: 'text' },
      { property: 'text' },
    ]);
  });

  it.each([reject, strip, keep])('is sent by a class without any rule (case %#)', (validator) => {
    const event = validator.validate(Ruleless, { anything: { deep: [1] }, other: 2 });

    expect(event).toBeInstanceOf(Ruleless);
    expect(event).toEqual({ anything: { deep: [1] }, other: 2 });
  });
});

describe('an event with nested types', () => {
  class Stop {
    @IsString() place!: string;
    @IsDate() @Type(() => Date) at!: Date;
  }
  @SseEvent('route.planned')
  class RoutePlanned {
    @IsDate() @Type(() => Date) planned!: Date;
    @IsArray() @ValidateNested({ each: true }) @Type(() => Stop) stops!: Stop[];
    @IsString() @Transform(({ value }) => String(value).trim()) title!: string;
  }

  it('comes back from JSON as it was validated, dates and classes included', async () => {
    const at = new Date('2026-01-02T03:04:05.678Z');
    const given = { planned: at, stops: [{ place: 'Köln', at }], title: ' north ' };

    const event = await reject.validate(RoutePlanned, given);
    const revived = reject.revive(RoutePlanned, JSON.parse(JSON.stringify(event)) as object);

    expect(event).toEqual({ ...given, title: 'north' });
    expect(revived).toEqual(event);
    expect([revived, revived.planned, revived.stops[0]]).toEqual([
      expect.any(RoutePlanned),
      expect.any(Date),
      expect.any(Stop),
    ]);
    expect(revived.stops[0]!.at.getTime()).toBe(at.getTime());
  });

  it('is not validated again when it is revived', () => {
    expect(reject.revive(NoteTaken, { text: 'much too long', unknown: true })).toEqual({
      text: 'much too long',
      unknown: true,
    });
  });

  it('refuses a date that is none', async () => {
    const { issues } = await refusal(() =>
      reject.validate(RoutePlanned, { planned: 'no date', stops: [{ place: 'x', at: 'none' }], title: '' }),
    );

    expect(issues.map(({ property }) => property)).toEqual(['planned', 'stops.0.at']);
  });
});

describe('a rule that has to wait', () => {
  @ValidatorConstraint({ name: 'known', async: true })
  class Known {
    async validate(value: unknown): Promise<boolean> {
      await Promise.resolve();
      return value === 'known';
    }
    defaultMessage(): string {
      return '$property is not known';
    }
  }
  @ValidatorConstraint()
  class Undeclared extends Known {}

  const declaredByFunction = (async: boolean) => (target: object, propertyName: string) => {
    registerDecorator({
      name: 'known',
      target: target.constructor,
      propertyName,
      async,
      validator: {
        validate: (value) => Promise.resolve(value === 'known'),
        defaultMessage: () => '$property is not known',
      },
    });
  };

  @SseEvent('own.rule')
  class OwnRule {
    @Validate(Known) name!: string;
  }
  @SseEvent('undeclared.rule')
  class UndeclaredRule {
    @Validate(Undeclared) name!: string;
  }
  @SseEvent('function.rule')
  class FunctionRule {
    @declaredByFunction(true) name!: string;
  }
  @SseEvent('undeclared-function.rule')
  class UndeclaredFunctionRule {
    @declaredByFunction(false) name!: string;
  }
  @SseEvent('inherited.rule')
  class InheritedRule extends OwnRule {}

  it.each([OwnRule, UndeclaredRule, FunctionRule, UndeclaredFunctionRule, InheritedRule])(
    'is awaited, declared as such or not: %p',
    async (type) => {
      expect(await reject.validate(type, { name: 'known' })).toBeInstanceOf(type);
      expect((await refusal(() => reject.validate(type, { name: 'other' }))).issues).toEqual([
        { property: 'name', message: 'name is not known' },
      ]);
    },
  );

  it('is awaited in nested classes and list items', async () => {
    class Inner {
      @Validate(Undeclared) name!: string;
    }
    @SseEvent('outer')
    class Outer {
      @ValidateNested({ each: true }) @Type(() => Inner) inner!: Inner[];
    }

    const { issues } = await refusal(() => reject.validate(Outer, { inner: [{ name: 'known' }, { name: 'other' }] }));

    expect(issues).toEqual([{ property: 'inner.1.name', message: 'name is not known' }]);
  });

  it('that breaks rejects with what it threw', async () => {
    @ValidatorConstraint()
    class Broken {
      async validate(): Promise<boolean> {
        throw new TypeError('no database');
      }
    }
    @SseEvent('broken.rule')
    class BrokenRule {
      @Validate(Broken) name!: string;
    }

    await expect(reject.validate(BrokenRule, { name: 'any' })).rejects.toThrow(TypeError);
  });
});

describe('hostile data', () => {
  const hostile = JSON.parse(
    '{"text":"abc","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"extra":[{"__proto__":{"polluted":1}}]}',
  ) as object;
  const polluted = (): unknown =>
    (({}) as { polluted?: unknown }).polluted ?? (new NoteTaken() as { polluted?: unknown }).polluted;

  it.each([
    ['reject', reject],
    ['keep', keep],
  ])(
    'with the keys of a prototype is refused by their names where properties are to be kept: %s',
    async (_mode, validator) => {
      const { issues } = await refusal(() => validator.validate(NoteTaken, hostile));

      expect(issues).toEqual([
        { property: '__proto__', message: 'property __proto__ should not exist' },
        { property: 'constructor', message: 'property constructor should not exist' },
        { property: 'extra.0.__proto__', message: 'property __proto__ should not exist' },
      ]);
      expect(polluted()).toBeUndefined();
    },
  );

  it('with the keys of a prototype loses them, where what is unknown is stripped', async () => {
    const event = await strip.validate(NoteTaken, hostile);

    expect(polluted()).toBeUndefined();
    expect([event.constructor, Object.getPrototypeOf(event)]).toEqual([NoteTaken, NoteTaken.prototype]);
    expect(JSON.stringify(event)).toBe('{"text":"abc","extra":[{}]}');
  });

  it('with names that every object inherits is refused for a class without rules, and harmless in what is revived', async () => {
    const data = JSON.parse('{"__proto__":{"polluted":1},"constructor":1,"toString":"x"}') as object;

    const { issues } = await refusal(() => reject.validate(Ruleless, data));
    const event = reject.revive(Ruleless, data);

    expect(issues.map(({ property }) => property)).toEqual(['__proto__', 'constructor', 'toString']);
    expect(Object.getPrototypeOf(event)).toBe(Ruleless.prototype);
    expect((event as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it.each([
    ['too deep', () => nested(10_000), 'Maximum call stack size exceeded'],
    ['a cycle', () => cycle(), 'Maximum call stack size exceeded'],
    [
      'a getter that throws',
      () => ({
        get text(): string {
          throw new Error('no text');
        },
      }),
      'no text',
    ],
  ])('that cannot be read is refused by the name of the event: %s', async (_what, data, why) => {
    const { issues } = await refusal(() => reject.validate(NoteTaken, data()));

    expect(issues).toEqual([{ property: '', message: `cannot be read: ${why}` }]);
  });

  function nested(depth: number): object {
    let extra: object = {};
    for (let level = 0; level < depth; level += 1) extra = { extra };
    return { text: 'abc', extra };
  }

  function cycle(): object {
    const data: { text: string; extra?: object } = { text: 'abc' };
    data.extra = data;
    return data;
  }
});
