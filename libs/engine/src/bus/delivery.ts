/** What a listener of the bus receives. */
import type { Cursor, EventName, EventOutput, EventType, GapReason, Topic } from '@sse-channels/protocol';

/** An event with its place: `{ topic, name, event, cursor }`, one union member for each event of the channel. */
export type Delivery<E extends EventType = EventType, Pattern extends string = string> = E extends EventType
  ? {
      readonly topic: Topic<Pattern, E>;
      /** The event's name on the wire. */
      readonly name: EventName<E>;
      /** An instance of the event's class, or what its schema put out. Shared by all listeners: do not change it. */
      readonly event: EventOutput<E>;
      readonly cursor: Cursor;
    }
  : never;

/** What `topic.read()` answers. */
export interface History<E extends EventType = EventType, Pattern extends string = string> {
  readonly events: ReadonlyArray<Delivery<E, Pattern>>;
  /** Whether more follow; then read on with `after: cursor`. */
  readonly more: boolean;
  /** The cursor after the last of `events`. */
  readonly cursor: Cursor;
  /** Why events after `after` may be missing before the first of `events`; null when nothing is missing. */
  readonly gap: GapReason | null;
}
