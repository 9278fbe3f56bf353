/** Who takes what a connection brings: the listeners of one stream today, of many topics on one stream tomorrow. */
import type { OpenData } from '@sse-channels/protocol';

/** An event as a connection hands it over. */
export interface Incoming {
  readonly name: string;
  readonly data: unknown;
  /** The cursor that its own block carried; undefined where it had none. */
  readonly id: string | undefined;
  /** Where the client stands after it. */
  readonly cursor: string;
  readonly topic: string | undefined;
}

export interface Receiver {
  /** A stream of the library's own began. `cursor` is where it begins; undefined where it has none. */
  begin(open: OpenData, cursor: string | undefined): void;
  /** An event of the application's, or `$gap`. What comes next waits for the promise, if there is one. */
  receive(event: Incoming): Promise<unknown> | undefined;
}
