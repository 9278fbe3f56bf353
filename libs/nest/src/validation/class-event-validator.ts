/** Validates events that are classes by their class-validator rules. */
import { EventValidationError, eventNameOf, type EventClass, type EventIssue } from '@sse-channels/protocol';
import type { ClassValidator } from '@sse-channels/engine';
import { plainToInstance, type ClassConstructor } from 'class-transformer';
import {
  getMetadataStorage,
  validate,
  validateSync,
  type ValidationError,
  type ValidatorOptions,
} from 'class-validator';
import type { SseChannelsSettings } from '../module/options.js';

/** How one class is validated; found out once. */
interface ClassRules {
  readonly any: boolean;
  /** Whether validation may have to wait: for an asynchronous rule of the class, or for one of a nested class. */
  readonly asynchronous: boolean;
}

export class ClassEventValidator implements ClassValidator {
  readonly #options: ValidatorOptions;
  readonly #rules = new WeakMap<EventClass, ClassRules>();

  constructor(unknownProperties: SseChannelsSettings['unknownProperties']) {
    this.#options = {
      whitelist: unknownProperties !== 'keep',
      forbidNonWhitelisted: unknownProperties === 'reject',
      forbidUnknownValues: true,
    };
  }

  validate<T extends object>(type: EventClass<T>, data: object): T | Promise<T> {
    const instance = this.revive(type, data);
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
            (constraintCls !== undefined &&
              storage.getTargetValidatorConstraints(constraintCls).some(({ async }) => async)),
        ),
      };
      this.#rules.set(type, rules);
    }
    return rules;
  }
}

function accept<T extends object>(type: EventClass<T>, instance: T, errors: readonly ValidationError[]): T {
  if (errors.length > 0) throw new EventValidationError(eventNameOf(type), [...issuesOf(errors, '')]);
  return instance;
}

function* issuesOf(errors: readonly ValidationError[], parent: string): Generator<EventIssue> {
  for (const { property, constraints, children } of errors) {
    const path = parent === '' ? property : `${parent}.${property}`;
    for (const message of Object.values(constraints ?? {})) yield { property: path, message };
    yield* issuesOf(children ?? [], path);
  }
}
