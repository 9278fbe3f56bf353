/** A record as it is written in Redis: `<name>\n<length of the key>\n<key><data>`, and on its way to the nodes. */
import type { Draft, EventRecord } from '@sse-channels/engine';
import type { Offset } from '@sse-channels/protocol';
import type { Partition } from './partition.js';

/** What comes from Redis: a record, or the mark of a lost tail, with the id that it names as its predecessor. */
export interface RedisRecord {
  readonly topic: string;
  readonly offset: Offset;
  /** Null for a mark. */
  readonly record: EventRecord | null;
  /** An id; `-` where Redis knows of none, `?` where that was lost. */
  readonly prev: string;
}

/** Names hold no line break; a key may hold anything, so its length (in UTF-16 units) stands before it. */
export function payloadOf({ name, data, key }: Draft): string {
  return key === undefined ? `${name}\n\n${data}` : `${name}\n${key.length}\n${key}${data}`;
}

export function toRecord(partition: Partition, topic: string, id: string, prev: string, payload: string): RedisRecord {
  const offset = partition.offset(id);
  if (payload === '') return { topic, offset, record: null, prev };
  const nameEnd = payload.indexOf('\n');
  const lengthEnd = payload.indexOf('\n', nameEnd + 1);
  const length = payload.slice(nameEnd + 1, lengthEnd);
  const dataStart = lengthEnd + 1 + Number(length);
  const record: EventRecord = {
    topic,
    offset,
    prev: isId(prev) ? partition.offset(prev) : null,
    name: payload.slice(0, nameEnd),
    data: payload.slice(dataStart),
    ...(length === '' ? {} : { key: payload.slice(lengthEnd + 1, dataStart) }),
    time: Number(id.slice(0, id.indexOf('-'))),
  };
  return { topic, offset, record, prev };
}

/** Reads what the scripts publish: a record, or an id alone, which says that the partition's clock has passed it. */
export function fromMessage(partition: Partition, message: string): RedisRecord | string {
  const idEnd = message.indexOf('\n');
  if (idEnd === -1) return message;
  const prevEnd = message.indexOf('\n', idEnd + 1);
  const topicEnd = message.indexOf('\n', prevEnd + 1);
  const [id, prev] = [message.slice(0, idEnd), message.slice(idEnd + 1, prevEnd)];
  return toRecord(partition, message.slice(prevEnd + 1, topicEnd), id, prev, message.slice(topicEnd + 1));
}

/** Whether a record's field `p` names a record. */
export function isId(prev: string): boolean {
  return prev !== '-' && prev !== '?';
}
