/** Who takes what a connection brings: the listeners of one stream, or those of many topics on one. */

/** An event as a connection hands it over. */
export interface Incoming {
  readonly name: string;
  readonly data: unknown;
  /** The cursor that its own block carried as `id:`; undefined where it had none. */
  readonly id: string | undefined;
  /** That of a topic behind the stream's cursor, which stays where it is; undefined for all others. */
  readonly ownCursor: string | undefined;
  /** Where the client stands after it. */
  readonly cursor: string;
  readonly topic: string | undefined;
}

export interface Receiver {
  /**
   * An event of the application's, or of the library's own but those that are of the whole stream. What comes next waits for the promise,
   * if there is one; it never rejects.
   */
  receive(event: Incoming): Promise<unknown> | undefined;
}
