/** What a topic's own retention leaves of the records that the stream still holds. */
import type { StoredMessage, StoredRecord } from './record-message.js';

/** A message that is a record. */
export interface RecordMessage extends StoredMessage {
  readonly record: StoredRecord;
}

/** What the stream allows. */
export interface Ceiling {
  readonly maxEvents: number;
  readonly maxAgeMs: number;
}

/**
 * How many of a topic's messages, oldest first, its retention has removed: they are still there, the last of them on purpose, to
 * tell who stood before.
 *
 * Each record carries the retention under which it was appended: by count and bytes it removes what is before it, by age itself.
 * So what was once removed stays removed, whatever later records ask for; and where the stream has fewer messages than were
 * appended, since purges leave the newest removed one and everything after it, those that are left show that it was.
 * Of a part of the messages that goes up to the newest, the same is removed as of all.
 */
export function removedOf(messages: readonly RecordMessage[], now: number, ceiling: Ceiling): number {
  let removed = 0;
  let bytes = 0;
  for (const [index, { record }] of messages.entries()) {
    bytes += record.bytes;
    const maxEvents = Math.min(record.retention.maxEvents, ceiling.maxEvents);
    while (removed <= index && (index - removed + 1 > maxEvents || bytes > record.retention.maxBytes)) {
      bytes -= (messages[removed] as RecordMessage).record.bytes;
      removed += 1;
    }
  }
  for (let index = messages.length - 1; index >= removed; index -= 1) {
    const { tag, record } = messages[index] as RecordMessage;
    if (now - tag > Math.min(record.retention.maxAgeMs, ceiling.maxAgeMs)) return index + 1;
  }
  return removed;
}
