/** Changes of the topics of a stream that is open: what is wanted, by whom, and what became of it. */
import type { Cursor, ErrorData } from '@sse-channels/protocol';

/** A topic that is wanted, by its name. */
export interface WantedTopic {
  readonly name: string;
  /** Where the client stands in this topic alone; null: nowhere yet; undefined: where it stands in the stream. */
  readonly lastEventId?: Cursor | null;
}

/** Topics to add, and topics to take out. */
export interface TopicChanges {
  readonly add: readonly WantedTopic[];
  readonly remove: readonly string[];
}

/** Changes, and who wants them. */
export interface TopicChangesBy extends TopicChanges {
  /** A `client` is given what the topics' routes give to the request that opened the stream, the `application` what it names. */
  readonly by: 'client' | 'application';
  /** Whom the request is of that wants them; null: nobody is known. One that is of another than the stream finds none. */
  readonly principal: string | null;
}

/** A topic that was not given, and why. */
export type RefusedTopic = ErrorData & { readonly topic: string };

/** What became of changes. Topics that were there already are in none of the lists. */
export interface TopicsChanged {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly refused: readonly RefusedTopic[];
}

/** A stream whose topics can be changed while it is open. */
export interface ChangeableStream {
  /** @returns null where it is not for this one to change */
  change(changes: TopicChangesBy): Promise<TopicsChanged | null>;
}

/** The streams of one node by the ids of their connections. */
export interface ChangeableStreams {
  /** @returns null where there is no such stream, or none to change */
  change(connection: string, changes: TopicChangesBy): Promise<TopicsChanged | null>;
}
