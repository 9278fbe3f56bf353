/** Turns events into names and JSON and back: validation, encoding and decoding, the same for the bus and for streams. */
import {
  eventKeyOf,
  eventNameOf,
  EventValidationError,
  isEventDefinition,
  SseChannelsError,
  TypedEvent,
  type EventClass,
  type EventDefinition,
  type EventIssue,
  type EventType,
} from '@sse-channels/protocol';
import type { Draft, EventRecord } from '../backplane/backplane.js';

/** Validates events that are classes; the engine knows no validation library, so its host brings one. */
export interface ClassValidator {
  /**
   * Makes a valid instance of `type` from a plain object or an instance.
   * @throws EventValidationError, or rejects with it, when a rule is broken
   */
  validate<T extends object>(type: EventClass<T>, data: object): T | Promise<T>;
  /** Makes an instance from data that was valid when it was encoded. */
  revive<T extends object>(type: EventClass<T>, data: object): T;
}

/** Reads a class's events as they are, without rules: for engines without a validation library. */
export const uncheckedClassValidator: ClassValidator = {
  validate: (type, data) => uncheckedClassValidator.revive(type, data),
  revive: <T extends object>(type: EventClass<T>, data: object) =>
    data instanceof type ? data : instanceOf(type, data),
};

/** Defines instead of assigning: JSON may hold a key `__proto__`. */
function instanceOf<T extends object>(type: EventClass<T>, data: object): T {
  const instance = Object.create(type.prototype as object) as T;
  for (const [key, value] of Object.entries(data)) {
    Object.defineProperty(instance, key, { value, writable: true, enumerable: true, configurable: true });
  }
  return instance;
}

/** The one place where events are validated, written and read. */
export class EventCodec {
  // Listeners and filters of one node share the decoded event; it goes when the record goes.
  readonly #decoded = new WeakMap<EventRecord, { readonly event: unknown }>();

  readonly #classValidator: ClassValidator;
  readonly #maxBytes: number;

  /** @param maxBytes of JSON that one event may have; null is no limit */
  constructor(classValidator: ClassValidator, maxBytes: number | null = null) {
    this.#classValidator = classValidator;
    this.#maxBytes = maxBytes ?? Infinity;
  }

  /**
   * Validates and encodes one event. Synchronous unless the validator is not, so that events keep the order of the calls.
   * @throws EventValidationError, SseChannelsError `EVENT_NOT_SERIALIZABLE`, `EVENT_TOO_LARGE`, or rejects with them
   */
  encode(type: EventType, data: unknown): Draft | Promise<Draft> {
    const name = eventNameOf(type);
    const key = eventKeyOf(type);
    const valid = isEventDefinition(type) ? this.#validateSchema(type, data) : this.#validateClass(type, name, data);
    // A validator's promise may be of another library or realm; what is given on is always one of ours.
    return isPromiseLike(valid)
      ? Promise.resolve(valid).then((value) => this.#write(name, value, key))
      : this.#write(name, valid, key);
  }

  /** Reads a record's event, once: an instance of its class, or what its schema put out. */
  decode(type: EventType, record: EventRecord): unknown {
    const known = this.#decoded.get(record);
    if (known !== undefined) return known.event;
    const data: unknown = JSON.parse(record.data);
    const plain = isEventDefinition(type) || typeof data !== 'object' || data === null;
    const event = plain ? data : this.#classValidator.revive(type, data);
    this.#decoded.set(record, { event });
    return event;
  }

  /** @param key the property that says what the event is about */
  #write(name: string, data: unknown, key: string | undefined): Draft {
    let json: string | undefined;
    try {
      json = JSON.stringify(data);
    } catch (cause) {
      throw notSerializable(name, reasonOf(cause), cause);
    }
    // undefined, a function or a symbol has no JSON.
    if (json === undefined) throw notSerializable(name, `${describe(data)} has no JSON form`);
    // A character has at most three bytes: nearly all events are small enough without being counted.
    if (json.length * 3 > this.#maxBytes) this.#assertSize(name, Buffer.byteLength(json));
    return key === undefined ? { name, data: json } : { name, data: json, key: keyIn(name, data, key) };
  }

  #assertSize(name: string, bytes: number): void {
    if (bytes <= this.#maxBytes) return;
    throw new SseChannelsError(
      'EVENT_TOO_LARGE',
      `Event "${name}" has ${bytes} bytes of JSON, nothing was sent: limits.eventBytes is ${this.#maxBytes}. Send several smaller events or a link to what is large, or raise the limit.`,
    );
  }

  #validateClass(type: EventClass, name: string, data: unknown): object | Promise<object> {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      throw new EventValidationError(name, [{ property: '', message: `must be an object, not ${describe(data)}` }]);
    }
    return this.#classValidator.validate(type, data);
  }

  #validateSchema(type: EventDefinition, data: unknown): unknown {
    const result = type.schema['~standard'].validate(data);
    const settle = (settled: Awaited<typeof result>): unknown => {
      if (settled.issues === undefined) return settled.value;
      throw new EventValidationError(
        type.eventName,
        settled.issues.map(({ message, path }): EventIssue => ({
          property: (path ?? []).map((key) => String(typeof key === 'object' ? key.key : key)).join('.'),
          message,
        })),
      );
    };
    return isPromiseLike(result) ? result.then(settle) : settle(result);
  }
}

/** The event type and the data of an event instance: what a class instance or `definition.of(data)` says of itself. */
export function unpackInstance(instance: unknown): { type: EventType; data: unknown } {
  if (instance instanceof TypedEvent) return { type: instance.type, data: instance.data };
  if (typeof instance === 'object' && instance !== null) {
    const type = instance.constructor as EventClass;
    return { type, data: instance };
  }
  throw new SseChannelsError(
    'INVALID_EVENT_DEFINITION',
    `${describe(instance)} is not an event; pass an instance of a class marked with @SseEvent, or definition.of(data).`,
  );
}

function keyIn(name: string, data: unknown, key: string): string {
  const value = (data as Readonly<Record<string, unknown>> | null)?.[key];
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new EventValidationError(name, [
    { property: key, message: `must be a string or a number, as the event's key, not ${describe(value)}` },
  ]);
}

function notSerializable(name: string, why: string, cause?: unknown): SseChannelsError {
  return new SseChannelsError(
    'EVENT_NOT_SERIALIZABLE',
    `Event "${name}" cannot be written as JSON, nothing was sent: ${why}. Send plain data, and null for "nothing".`,
    { cause },
  );
}

/** What is thrown may be anything, an object without a text form as well. */
function reasonOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  try {
    return String(cause);
  } catch {
    return describe(cause);
  }
}

function isPromiseLike(value: unknown): value is Promise<unknown> {
  try {
    return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
  } catch {
    // A getter that throws; it is met again, and told, when the value is written.
    return false;
  }
}

function describe(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
