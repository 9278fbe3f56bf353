/** Those who listen to a stream, and what they have had already: nothing is handed over twice, nothing unlike its schema. */
import { compareOffsets, SseChannelsError, type GapReason, type StandardSchema } from '@sse-channels/protocol';
import type { Receiver } from '../connection/receiver.js';
import { failureOf } from '../connection/stream-error.js';
import type { ClientEvent } from '../contract/contract.js';
import { createListening, type Leave, type Listening } from './listening.js';

/** The stream could not give every event; what it still has follows. */
export interface ClientGap {
  /** The topic's name; empty where the stream has none. */
  readonly topic: string;
  readonly reason: GapReason;
  /** With the reason `skipped`: how many events are not given. */
  readonly skipped?: number;
  /** Where the client stands after it; empty: before the first event. */
  readonly cursor: string;
}

/** Schemas by the names of events. */
export type Schemas = Readonly<Record<string, StandardSchema | undefined>>;

export interface Listeners extends Receiver {
  readonly events: Listening<[ClientEvent]>;
  readonly gaps: Listening<[ClientGap]>;
  /** Nothing comes any more. */
  end(error: Error | undefined): void;
  /** Calls the handler when nothing comes any more: with the error, if that was for one. */
  onEnd(handler: (error: Error | undefined) => void): Leave;
}

/** @param report told what a handler or a schema failed with, and what a schema refused */
export function createListeners(schemas: Schemas, report: (error: SseChannelsError) => void): Listeners {
  const events = createListening<[ClientEvent]>(report);
  const gaps = createListening<[ClientGap]>(report);
  const ends = createListening<[Error | undefined]>(report);
  /** The cursor of what was handed over last; undefined where the server is a stranger, whose ids mean what they will. */
  let place: string | undefined;
  let ended: [Error | undefined] | undefined;
  return {
    events,
    gaps,
    end(error) {
      ended = [error];
      void ends.tell(error);
    },
    onEnd(handler) {
      if (ended !== undefined) handler(...ended);
      return ends.add(handler);
    },
    begin({ topics }, cursor = '') {
      // Where the server went on from another place than the client's, what came before it is no measure.
      if (!place || !topics.every(({ resumed }) => resumed)) place = cursor;
    },
    receive({ name, data, id, cursor, topic }) {
      if (name === '$gap') {
        place = cursor;
        return gaps.tell({ ...(data as ClientGap), cursor });
      }
      if (id !== undefined && place !== undefined) {
        if (isNotAfter(id, place)) return undefined;
        place = id;
      }
      const event = { name, data, cursor, topic: topic ?? null };
      // An own property: a server may name an event "toString".
      const schema = Object.hasOwn(schemas, name) ? schemas[name] : undefined;
      return schema === undefined ? events.tell(event) : tellValid(schema, event);
    },
  };

  async function tellValid(schema: StandardSchema, event: ClientEvent): Promise<unknown> {
    const what = `Event "${event.name}"`;
    try {
      const result = await schema['~standard'].validate(event.data);
      if (result.issues === undefined) return await events.tell({ ...event, data: result.value });
      const why = result.issues.map(({ message }) => message).join('; ');
      report(
        new SseChannelsError('EVENT_INVALID', `${what} breaks its schema and was left out: ${why}`, {
          cause: result.issues,
        }),
      );
    } catch (error) {
      report(failureOf(`${what}: its schema`, error));
    }
    return undefined;
  }
}

/** Whether both are places of one log space, the first no later than the second: what is there was handed over already. */
function isNotAfter(cursor: string, place: string): boolean {
  const [epoch, offset] = cursor.split('~');
  const [placeEpoch, placeOffset] = place.split('~');
  return epoch === placeEpoch && !!offset && !!placeOffset && compareOffsets(offset, placeOffset) <= 0;
}
