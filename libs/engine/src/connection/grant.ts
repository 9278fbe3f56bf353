/** A grant: what a connection may stay open by. */

/** Asks again, while a connection is open, whether it still may be. */
export interface Review {
  /** How often, in milliseconds. */
  readonly everyMs: number;
  /**
   * Asks once.
   * @returns when the grant runs out, in milliseconds since 1970, or null for never; false when it was withdrawn
   * @throws rejects when nobody could say; the connection ends as `failed` then, and the client comes back to be asked at the door
   */
  ask(): Promise<number | null | false>;
}

/** What a connection may stay open by. */
export interface Grant {
  /** When it runs out, in milliseconds since 1970; null for never. */
  readonly endsAt: number | null;
  /** Asks again from time to time; null for never. */
  readonly review?: Review | null;
}

/** One for all that end by nothing but themselves. */
export const FOR_EVER: Grant = { endsAt: null };
