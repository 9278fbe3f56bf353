/** Those who listen to a stream, and what they have had already: nothing is handed over twice, and nothing after a handler that has not finished. */
import {
  compareOffsets,
  SseChannelsError,
  type GapReason,
  type OpenData,
  type StandardSchema,
} from '@sse-channels/protocol';
import type { Incoming, Receiver } from '../connection/receiver.js';
import { failureOf } from '../connection/stream-error.js';
import type { ClientEvent } from '../contract/contract.js';

/** The stream could not give every event; what it still has follows. */
export interface ClientGap {
  /** The topic's name; empty where the stream has none. */
  readonly topic: string;
  readonly reason: GapReason;
  /** With the reason `skipped`: how many events are not given. */
  readonly skipped: number | undefined;
  /** Where the client stands after it; empty: before the first event. */
  readonly cursor: string;
}

/** Ends a listening. */
export type Leave = () => void;

export interface ListenOptions {
  /** Ends the listening when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

type Listener<Args extends readonly unknown[]> = (...args: Args) => unknown;

/** What is told to whom; a handler that throws harms nobody else. */
export class Listening<Args extends readonly unknown[]> {
  readonly #listeners = new Set<Listener<Args>>();
  readonly #report: (error: SseChannelsError) => void;

  constructor(report: (error: SseChannelsError) => void) {
    this.#report = report;
  }

  add(handler: Listener<Args>, { signal }: ListenOptions = {}): Leave {
    if (signal?.aborted === true) return () => undefined;
    // One handler may be added twice.
    const listener: Listener<Args> = (...args) => handler(...args);
    const leave = (): void => {
      this.#listeners.delete(listener);
      signal?.removeEventListener('abort', leave);
    };
    this.#listeners.add(listener);
    signal?.addEventListener('abort', leave);
    return leave;
  }

  /** @returns a promise where a handler gave one; it never rejects */
  tell(...args: Args): Promise<unknown> | undefined {
    const pending: Array<Promise<unknown>> = [];
    for (const listener of Array.from(this.#listeners)) {
      try {
        const result = listener(...args);
        if (typeof (result as PromiseLike<unknown> | null)?.then === 'function') {
          pending.push(Promise.resolve(result).catch((error: unknown) => this.#fail(error)));
        }
      } catch (error) {
        this.#fail(error);
      }
    }
    return pending.length > 0 ? Promise.all(pending) : undefined;
  }

  #fail(error: unknown): void {
    this.#report(failureOf('A handler', error));
  }
}

/** Schemas by the names of events. */
export type Schemas = Readonly<Record<string, StandardSchema | undefined>>;

export class Listeners implements Receiver {
  readonly events: Listening<[ClientEvent]>;
  readonly gaps: Listening<[ClientGap]>;
  readonly #ends: Listening<[Error | undefined]>;
  readonly #schemas: Schemas;
  readonly #report: (error: SseChannelsError) => void;
  /** The cursor of what was handed over last; null where the server is a stranger, whose ids mean what they will. */
  #place: string | null = null;
  #end: { readonly error: Error | undefined } | undefined;

  constructor(schemas: Schemas, report: (error: SseChannelsError) => void) {
    this.events = new Listening(report);
    this.gaps = new Listening(report);
    this.#ends = new Listening(report);
    this.#schemas = schemas;
    this.#report = report;
  }

  /** Nothing comes any more. */
  end(error: Error | undefined): void {
    this.#end = { error };
    void this.#ends.tell(error);
  }

  /** Calls the handler when nothing comes any more: with the error, if that was for one. */
  onEnd(handler: (error: Error | undefined) => void): Leave {
    if (this.#end !== undefined) handler(this.#end.error);
    return this.#ends.add(handler);
  }

  begin({ topics }: OpenData, cursor = ''): void {
    // Where the server went on from another place than the client's, what came before it is no measure.
    if (!this.#place || !topics.every(({ resumed }) => resumed)) this.#place = cursor;
  }

  receive({ name, data, id, cursor, topic }: Incoming): Promise<unknown> | undefined {
    if (name === '$gap') {
      this.#place = cursor;
      const { topic: of, reason, skipped } = data as ClientGap;
      return this.gaps.tell({ topic: of, reason, skipped, cursor });
    }
    if (id !== undefined && this.#place !== null) {
      if (isNotAfter(id, this.#place)) return undefined;
      this.#place = id;
    }
    const event = { name, data, cursor, topic: topic ?? null };
    // An own property: a server may name an event "toString".
    const schema = Object.hasOwn(this.#schemas, name) ? this.#schemas[name] : undefined;
    return schema === undefined ? this.events.tell(event) : this.#tellValid(schema, event);
  }

  async #tellValid(schema: StandardSchema, event: ClientEvent): Promise<void> {
    try {
      const result = await schema['~standard'].validate(event.data);
      if (result.issues === undefined) {
        await this.events.tell({ ...event, data: result.value });
        return;
      }
      const issues = result.issues.map(({ message, path = [] }) =>
        [...path.map((key) => String(typeof key === 'object' ? key.key : key)), message].join(': '),
      );
      this.#report(
        new SseChannelsError(
          'EVENT_INVALID',
          `Event "${event.name}" is not what its schema says and was left out: ${issues.join('; ')}`,
        ),
      );
    } catch (error) {
      this.#report(failureOf(`The schema of "${event.name}"`, error));
    }
  }
}

/** Whether both are places of one log space, the first no later than the second: what is there was handed over already. */
function isNotAfter(cursor: string, place: string): boolean {
  const [epoch, offset] = cursor.split('~');
  const [placeEpoch, placeOffset] = place.split('~');
  return (
    epoch === placeEpoch &&
    offset !== undefined &&
    placeOffset !== undefined &&
    compareOffsets(offset, placeOffset) <= 0
  );
}
