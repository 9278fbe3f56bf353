/** Validates events that are classes by their class-validator rules. */
import { EventValidationError, eventNameOf, type EventClass, type EventIssue } from '@sse-channels/protocol';
import type { ClassValidator } from '@sse-channels/engine';
import { plainToInstance, type ClassConstructor } from 'class-transformer';
import * as classValidator from 'class-validator';
import type { ValidationError, ValidatorOptions } from 'class-validator';
import type { SseChannelsSettings } from '../module/options.js';

const { getMetadataStorage, validate, validateSync } = classValidator;

/** The names of the rules that class-validator brings, such as `isString`: it exports each as a constant. None has to wait. */
const SYNCHRONOUS_RULES: ReadonlySet<unknown> = new Set(
  Object.values(classValidator).filter((exported) => typeof exported === 'string'),
);

/** How one class is validated; found out once. */
interface ClassRules {
  readonly any: boolean;
  /** Whether validation may have to wait: for a rule that an application wrote, or for one of a nested class. */
  readonly asynchronous: boolean;
}

export class ClassEventValidator implements ClassValidator {
  readonly #options: ValidatorOptions;
  readonly #unknownProperties: SseChannelsSettings['unknownProperties'];
  readonly #rules = new WeakMap<EventClass, ClassRules>();

  constructor(unknownProperties: SseChannelsSettings['unknownProperties']) {
    this.#unknownProperties = unknownProperties;
    this.#options = {
      whitelist: unknownProperties !== 'keep',
      forbidNonWhitelisted: unknownProperties === 'reject',
      forbidUnknownValues: true,
    };
  }

  validate<T extends object>(type: EventClass<T>, data: object): T | Promise<T> {
    const instance = this.#read(type, data);
    const rules = this.#rulesOf(type);
    if (!rules.any) return instance;
    if (rules.asynchronous) {
      return validate(instance, this.#options).then((errors) => accept(type, instance, errors));
    }
    return accept(type, instance, validateSync(instance, this.#options));
  }

  revive<T extends object>(type: EventClass<T>, data: object): T {
    return data instanceof type ? data : plainToInstance(type as unknown as ClassConstructor<T>, data);
  }

  /** @throws EventValidationError for what class-transformer cannot read, or would leave out without a word */
  #read<T extends object>(type: EventClass<T>, data: object): T {
    if (data instanceof type) return data;
    try {
      const issues: EventIssue[] = [];
      if (this.#unknownProperties !== 'strip') noteInheritedNames(data, '', issues);
      if (issues.length > 0) throw new EventValidationError(eventNameOf(type), issues);
      return this.revive(type, data);
    } catch (error) {
      if (error instanceof EventValidationError) throw error;
      // Too deep, a cycle, or a getter that throws.
      const why = error instanceof Error ? error.message : String(error);
      throw new EventValidationError(eventNameOf(type), [{ property: '', message: `cannot be read: ${why}` }]);
    }
  }

  #rulesOf(type: EventClass): ClassRules {
    let rules = this.#rules.get(type);
    if (rules === undefined) {
      const storage = getMetadataStorage();
      const all = storage.getTargetValidationMetadatas(type, '', false, false);
      rules = {
        any: all.length > 0,
        asynchronous: all.some(
          ({ type: kind, constraintCls }) =>
            kind === 'nestedValidation' ||
            // Not only those that say `async: true`: validateSync would take the promise of one that does not for a yes.
            (constraintCls !== undefined &&
              storage
                .getTargetValidatorConstraints(constraintCls)
                .some(({ async, name }) => async || !SYNCHRONOUS_RULES.has(name))),
        ),
      };
      this.#rules.set(type, rules);
    }
    return rules;
  }
}

/** Notes properties named as what every object inherits, such as `__proto__`: class-transformer passes over them. */
function noteInheritedNames(data: object, parent: string, issues: EventIssue[]): void {
  if (!Array.isArray(data) && !isPlain(data)) return;
  for (const key of Object.keys(data)) {
    const value = (data as Readonly<Record<string, unknown>>)[key];
    if (key in Object.prototype)
      issues.push({ property: joined(parent, key), message: `property ${key} should not exist` });
    else if (typeof value === 'object' && value !== null) noteInheritedNames(value, joined(parent, key), issues);
  }
}

function isPlain(data: object): boolean {
  const prototype = Object.getPrototypeOf(data) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function accept<T extends object>(type: EventClass<T>, instance: T, errors: readonly ValidationError[]): T {
  if (errors.length > 0) throw new EventValidationError(eventNameOf(type), [...issuesOf(errors, '')]);
  return instance;
}

function* issuesOf(errors: readonly ValidationError[], parent: string): Generator<EventIssue> {
  for (const { property, constraints, children } of errors) {
    const path = joined(parent, property);
    for (const message of Object.values(constraints ?? {})) yield { property: path, message };
    yield* issuesOf(children ?? [], path);
  }
}

/** An error of a nested object as a whole has no property, whatever its type says. */
function joined(parent: string, property: string | undefined): string {
  if (property === undefined) return parent;
  return parent === '' ? property : `${parent}.${property}`;
}
