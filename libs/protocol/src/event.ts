/** Events: a class or a schema, with the dotted name that travels on the wire. */
import { SseChannelsError } from './errors.js';

/** The part of https://standardschema.dev that is needed here; zod, valibot, arktype and others implement it. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a Standard Schema answers. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }>;
    };

/** A class marked with `@SseEvent(name)`. */
export type EventClass<T extends object = object> = abstract new (...args: never[]) => T;

/** An event made by `defineEvent(name, schema)`. */
export interface EventDefinition<Name extends string = string, Input = any, Output = any> {
  readonly eventName: Name;
  readonly schema: StandardSchema<Input, Output>;
  /** The property that says what the event is about. */
  readonly key?: string | undefined;
  /** Pairs data with this event, for places that take event instances: `publish(topic, event)`, `@SseStream`. */
  of(data: Input): TypedEvent<Name, Input, Output>;
}

/** Data together with the schema event it belongs to. */
export class TypedEvent<Name extends string = string, Input = any, Output = any> {
  constructor(
    readonly type: EventDefinition<Name, Input, Output>,
    readonly data: Input,
  ) {}
}

/** An event as a channel declares it. */
export type EventType = EventClass | EventDefinition;

/** The names of an object's properties that are not methods. */
type DataKeys<T> = { [K in keyof T]: T[K] extends (...args: never[]) => unknown ? never : K }[keyof T];

/** What `publish(topic, type, data)` takes. */
export type EventInput<E extends EventType> =
  E extends EventDefinition<string, infer Input, any>
    ? Input
    : E extends EventClass<infer T>
      ? Pick<T, DataKeys<T>>
      : never;

/** What a listener receives: an instance of the class, or the schema's output. */
export type EventOutput<E extends EventType> =
  E extends EventDefinition<string, any, infer Output> ? Output : E extends EventClass<infer T> ? T : never;

/** What `publish(topic, event)` takes: an instance of the class, or `definition.of(data)`. */
export type EventInstance<E extends EventType> =
  E extends EventDefinition<infer Name, infer Input, infer Output>
    ? TypedEvent<Name, Input, Output>
    : E extends EventClass<infer T>
      ? T
      : never;

/**
 * The event's name as a type. A decorator cannot change its class's type, so a class's name is known to the compiler only
 * where the class says it too: `static readonly eventName = 'order.shipped'`.
 */
export type EventName<E extends EventType> = E extends { readonly eventName: infer Name extends string }
  ? Name
  : string;

/** What else an event declares. */
export interface EventOptions<Key extends string> {
  /**
   * The property, a string or a number, that says what the event is about: with `slowReaders: 'latest'` a newer event of the
   * same name and key replaces it for those who have not had it yet. @default none: the newest of the name replaces all others
   */
  readonly key?: Key;
}

/** What `checkEventName` refuses and the compiler can know becomes `never`. */
type PossibleName<Name extends string> = Name extends '' | 'error' | 'open' | 'message' | `$${string}` ? never : Name;

// Symbol.for: the same event class must be recognised by an ESM and a CommonJS copy of this library in one process.
const EVENT_NAME = Symbol.for('@sse-channels/event-name');
const EVENT_KEY = Symbol.for('@sse-channels/event-key');

/**
 * Marks a class as an event and gives it its name on the wire. All properties of a valid instance are sent, as JSON.stringify
 * writes them: class-transformer's `@Exclude()` and `@Expose()` are for responses, not for events.
 * @throws SseChannelsError `INVALID_EVENT_NAME`, `INVALID_EVENT_DEFINITION`
 */
export function SseEvent<const Name extends string, const Key extends string = never>(
  name: Name & PossibleName<Name>,
  { key }: EventOptions<Key> = {},
) {
  checkEventName(name);
  checkKey(name, key);
  return <C extends EventClass<{ [K in Key]: string | number }>>(target: C & { readonly eventName?: Name }): void => {
    if (Object.hasOwn(target, EVENT_NAME) && eventNameOf(target) !== name) {
      throw new SseChannelsError(
        'INVALID_EVENT_DEFINITION',
        `Class ${target.name} is marked both @SseEvent("${eventNameOf(target)}") and @SseEvent("${name}"); keep one of them.`,
      );
    }
    const declared: unknown = target.eventName;
    if (declared !== undefined && declared !== name) {
      throw new SseChannelsError(
        'INVALID_EVENT_DEFINITION',
        `Class ${target.name} is marked @SseEvent("${name}") but has the static eventName ${JSON.stringify(declared)}; make them the same.`,
      );
    }
    Object.defineProperty(target, EVENT_NAME, { value: name });
    if (key !== undefined) Object.defineProperty(target, EVENT_KEY, { value: key });
  };
}

/**
 * Makes an event from a Standard Schema.
 * @throws SseChannelsError `INVALID_EVENT_NAME`, `INVALID_EVENT_DEFINITION`
 */
export function defineEvent<const Name extends string, Input, Output>(
  name: Name & PossibleName<Name>,
  schema: StandardSchema<Input, Output>,
  { key }: EventOptions<keyof Output & string> = {},
): EventDefinition<Name, Input, Output> {
  checkEventName(name);
  checkKey(name, key);
  if (typeof schema?.['~standard']?.validate !== 'function') {
    throw new SseChannelsError(
      'INVALID_EVENT_DEFINITION',
      `defineEvent("${name}", …) needs a Standard Schema (zod, valibot, arktype, …); for a class, use @SseEvent("${name}").`,
    );
  }
  const definition: EventDefinition<Name, Input, Output> = {
    eventName: name,
    schema,
    key,
    of: (data) => new TypedEvent(definition, data),
  };
  return Object.freeze(definition);
}

/** Whether an event was made by `defineEvent`. */
export function isEventDefinition(type: EventType): type is EventDefinition {
  return typeof type === 'object' && type !== null && 'schema' in type && typeof type.eventName === 'string';
}

/**
 * The event's name on the wire.
 * @throws SseChannelsError `INVALID_EVENT_DEFINITION` for what is no event
 */
export function eventNameOf(type: EventType): string {
  if (isEventDefinition(type)) return type.eventName;
  // Own properties only: a subclass of an event is not that event.
  if (typeof type === 'function' && Object.hasOwn(type, EVENT_NAME)) {
    return (type as unknown as { readonly [EVENT_NAME]: string })[EVENT_NAME];
  }
  throw new SseChannelsError(
    'INVALID_EVENT_DEFINITION',
    `${typeof type === 'function' ? `Class ${type.name}` : String(type)} is not an event; mark the class with @SseEvent("some.name") or use defineEvent("some.name", schema).`,
  );
}

/** The property that says what the event is about; undefined where it declares none. */
export function eventKeyOf(type: EventType): string | undefined {
  return isEventDefinition(type) ? type.key : (type as { readonly [EVENT_KEY]?: string })[EVENT_KEY];
}

function checkKey(name: string, key: unknown): void {
  if (key === undefined || (typeof key === 'string' && key !== '')) return;
  throw new SseChannelsError(
    'INVALID_EVENT_DEFINITION',
    `Event "${name}" has the key ${JSON.stringify(key)}; name a property of it, such as { key: 'symbol' }.`,
  );
}

/**
 * Refuses what cannot be a name on the wire: an empty one, line ends and NUL (they would break the frame), a leading `$`
 * (ours), and the names that a browser's EventSource dispatches itself.
 * @throws SseChannelsError `INVALID_EVENT_NAME`
 */
export function checkEventName(name: string): void {
  const refuse = (why: string): never => {
    throw new SseChannelsError('INVALID_EVENT_NAME', `Event name ${JSON.stringify(name)} ${why}`);
  };
  if (typeof name !== 'string') refuse('is not a string; give it a dotted name such as "order.shipped".');
  if (name === '') refuse('is empty; give it a dotted name such as "order.shipped".');
  if (/[\r\n\0]/.test(name)) refuse('has a CR, LF or NUL; use letters, digits, dots and dashes.');
  if (!name.isWellFormed())
    refuse('has a lone surrogate, which UTF-8 cannot carry; use letters, digits, dots and dashes.');
  if (name.startsWith('$')) refuse('starts with "$", which is kept for the library; leave it out.');
  if (name.length > 256) refuse('is longer than 256 characters; shorten it.');
  if (name === 'error' || name === 'open' || name === 'message') {
    refuse(`collides with an event that EventSource itself dispatches; qualify it, such as "order.${name}".`);
  }
}
