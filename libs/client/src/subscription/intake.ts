/** What is handed over of what a stream brings: nothing twice, nothing unlike its schema. */
import { SseChannelsError, type StandardSchema } from '@sse-channels/protocol';
import type { ConnectionOptions } from '../connection/connection-options.js';
import { isNotAfter } from '../connection/place.js';
import type { Receiver } from '../connection/receiver.js';
import { failureOf } from '../connection/stream-error.js';
import type { ClientEvent } from '../contract/contract.js';
import type { ClientGap, Listeners } from './listeners.js';

/** A client's options, as its parts are given them. */
export interface ClientParts extends ConnectionOptions {
  /** Schemas by the names of events. */
  readonly validate?: Readonly<Record<string, StandardSchema | undefined>>;
  /** Told what a handler or a schema failed with, and what a schema refused. */
  readonly onError: (error: SseChannelsError) => void;
}

export interface Intake {
  readonly receive: Receiver['receive'];
  /** A stream of the library's own begins, there. Where something was handed over before, that stays the measure: a gap says otherwise. */
  begin(place?: string): void;
  /** Whether it has begun. */
  readonly begun: boolean;
}

export function createIntake({ events, gaps }: Listeners, { validate = {}, onError }: ClientParts): Intake {
  const schemas = new Map(Object.entries(validate));
  /** The cursor of what was handed over last; undefined where the server is a stranger, whose ids mean what they will. */
  let place: string | undefined;
  return {
    get begun() {
      return place !== undefined;
    },
    begin,
    receive({ name, data, id, ownCursor = id, cursor, topic = null }) {
      if (name === '$gap') {
        place = cursor;
        return gaps.tell({ ...(data as ClientGap), cursor });
      }
      if (name === '$open') begin(id);
      if (name.startsWith('$')) return undefined;
      if (ownCursor !== undefined && place !== undefined) {
        if (isNotAfter(ownCursor, place)) return undefined;
        place = ownCursor;
      }
      const event = { name, data, cursor, topic };
      const schema = schemas.get(name);
      return schema ? tellValid(schema, event) : events.tell(event);
    },
  };

  function begin(at = ''): void {
    place ||= at;
  }

  async function tellValid(schema: StandardSchema, event: ClientEvent): Promise<unknown> {
    const what = `Event "${event.name}"`;
    try {
      const result = await schema['~standard'].validate(event.data);
      if (result.issues === undefined) return await events.tell({ ...event, data: result.value });
      const why = result.issues.map(({ message }) => message).join('; ');
      onError(
        new SseChannelsError('EVENT_INVALID', `${what} breaks its schema and was left out: ${why}`, {
          cause: result.issues,
        }),
      );
    } catch (error) {
      onError(failureOf(`${what}: its schema`, error));
    }
    return undefined;
  }
}
