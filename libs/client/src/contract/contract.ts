/** What the compiler knows of a stream from its contract alone: the names of its events and their data as JSON carries it. */
import type { EventName, EventOutput, EventType, StandardSchema } from '@sse-channels/protocol';

/**
 * What a stream can be typed by: a channel (`typeof ordersChannel`), a list of events (`typeof exportEvents`), or data by name
 * (`{ 'price.ticked': Price }`) where the server is a stranger.
 */
export type Contract = object;

/** The channels of a hub's contract: one, several (`A | B`), a list of them, or an object whose values are such. */
export type ChannelsOf<C> = C extends { readonly pattern: string }
  ? C
  : C extends ReadonlyArray<infer Item>
    ? Item
    : unknown extends C[keyof C]
      ? AnyEvents
      : C[keyof C];

/** The patterns of a contract's channels. */
export type PatternOf<C> = ChannelsOf<C> extends { readonly pattern: infer Pattern extends string } ? Pattern : string;

/** The channel of that pattern; of a hub without a contract, anything. */
export type ChannelOf<C, Pattern extends string> = [Extract<ChannelsOf<C>, { readonly pattern: Pattern }>] extends [
  never,
]
  ? AnyEvents
  : Extract<ChannelsOf<C>, { readonly pattern: Pattern }>;

/** The contract of a server of which nothing is known. */
export type AnyEvents = Readonly<Record<string, unknown>>;

/** What arrives of a value that was sent as JSON: a `Date` as text, an object without its methods. */
export type JsonOf<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(...args: never[]): infer Json }
      ? JsonOf<Json>
      : T extends bigint | symbol | ((...args: never[]) => unknown)
        ? never
        : T extends readonly unknown[]
          ? { [Index in keyof T]: JsonOf<T[Index]> }
          : T extends object
            ? { [Key in keyof T as DataKey<T, Key>]: JsonOf<T[Key]> }
            : never;

/** The keys that JSON has: no symbols, no methods. */
type DataKey<T, Key extends keyof T> = Key extends symbol
  ? never
  : T[Key] extends (...args: never[]) => unknown
    ? never
    : Key;

type EventsOf<C> = C extends { readonly events: ReadonlyArray<infer E extends EventType> }
  ? E
  : C extends ReadonlyArray<infer E extends EventType>
    ? E
    : never;

/** The events whose names are types; a class says its name as `static readonly eventName`. */
type Named<E> = E extends EventType ? (string extends EventName<E> ? never : E) : never;
type Unnamed<E> = E extends EventType ? (string extends EventName<E> ? E : never) : never;
type WithName<E, Name> = E extends EventType ? (Name extends EventName<E> ? E : never) : never;

/** The names of a contract's events. Where a class does not say its own to the compiler, any name passes. */
export type NameOf<C extends Contract> = [EventsOf<C>] extends [never]
  ? keyof C & string
  : EventName<Named<EventsOf<C>>> | ([Unnamed<EventsOf<C>>] extends [never] ? never : string & {});

/** Schemas for a contract's events. Where a class does not say its name to the compiler, any name and schema passes. */
export type SchemasOf<C extends Contract> = [EventsOf<C>] extends [never]
  ? { readonly [Name in keyof C]?: StandardSchema<unknown, C[Name]> }
  : { readonly [Name in EventName<Named<EventsOf<C>>>]?: StandardSchema<unknown, DataOf<C, Name>> } & ([
      Unnamed<EventsOf<C>>,
    ] extends [never]
      ? unknown
      : Readonly<Record<string, StandardSchema<unknown, any> | undefined>>);

/** The data of the event of that name, as it arrives. */
export type DataOf<C extends Contract, Name extends string> = [EventsOf<C>] extends [never]
  ? Name extends keyof C
    ? C[Name]
    : unknown
  : JsonOf<
      EventOutput<
        [WithName<Named<EventsOf<C>>, Name>] extends [never] ? Unnamed<EventsOf<C>> : WithName<Named<EventsOf<C>>, Name>
      >
    >;

/** An event as it is handed over. */
export interface ClientEvent<Name extends string = string, Data = unknown> {
  readonly name: Name;
  readonly data: Data;
  /** Where the client stands after it; empty on a stream without ids. */
  readonly cursor: string;
  /** The topic that it came with; null on a stream that does not say it. */
  readonly topic: string | null;
}

/** Any event of a contract; its `name` tells the compiler which. */
export type EventOf<C extends Contract, Name extends string = NameOf<C>> = Name extends string
  ? ClientEvent<Name, DataOf<C, Name>>
  : never;
