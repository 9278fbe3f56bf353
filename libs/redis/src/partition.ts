/** A partition: its keys, which share a hash tag, and how its ids in Redis and offsets of the log space become each other. */
import { FIRST_OFFSET, formatOffset, type Offset } from '@sse-channels/protocol';

/** The place of every record of a topic whose predecessor nobody knows. */
const LARGEST = Number.MAX_SAFE_INTEGER;

export class Partition {
  readonly floor: string;
  /** Carries every record of the partition, for the nodes that follow filters. */
  readonly filterChannel: string;
  readonly #tag: string;
  readonly #channelPrefix: string;

  /**
   * @param count how many partitions the log space has
   * @param database the number of the database: pub/sub knows no databases
   */
  constructor(
    prefix: string,
    readonly number: number,
    readonly count: number,
    database: number,
  ) {
    this.#tag = `{${prefix}:${number}}`;
    this.floor = `${this.#tag}:floor`;
    const channels = database === 0 ? this.#tag : `${this.#tag}:${database}`;
    this.filterChannel = `${channels}:all`;
    this.#channelPrefix = `${channels}:live:`;
  }

  /** Has the epoch in its name: where another one was begun, the old one's index is not found. */
  index(epoch: string): string {
    return `${this.#tag}:index:${epoch}`;
  }

  head(topic: string): string {
    return `${this.#tag}:head:${topic}`;
  }

  log(topic: string): string {
    return `${this.#tag}:log:${topic}`;
  }

  /** A topic's name holds no line break. */
  once(topic: string, idempotencyKey: string): string {
    return `${this.#tag}:once:${topic}\n${idempotencyKey}`;
  }

  channel(topic: string): string {
    return this.#channelPrefix + topic;
  }

  /** The topic of a channel; null for the channel of filters. */
  topicOf(channel: string): string | null {
    return channel.startsWith(this.#channelPrefix) ? channel.slice(this.#channelPrefix.length) : null;
  }

  offset(id: string): Offset {
    const dash = id.indexOf('-');
    return formatOffset(Number(id.slice(0, dash)), Number(id.slice(dash + 1)) * this.count + this.number);
  }

  /** Whether an offset is one of the partition's own. */
  owns(offset: Offset): boolean {
    return (numbersOf(offset)[1] - this.number) % this.count === 0;
  }

  /** The id of one of the partition's own offsets. */
  id(offset: Offset): string {
    const [ms, minor] = numbersOf(offset);
    return `${ms}-${(minor - this.number) / this.count}`;
  }

  /** The first id whose offset is after this one. */
  idAfter(offset: Offset): string {
    const [ms, minor] = numbersOf(offset);
    return `${ms}-${Math.floor((minor - this.number) / this.count) + 1}`;
  }

  /** The first id whose offset is not before this one. */
  idAt(offset: Offset): string {
    const [ms, minor] = numbersOf(offset);
    return `${ms}-${Math.max(0, Math.ceil((minor - this.number) / this.count))}`;
  }
}

/** The milliseconds since 1970 that an offset carries. */
export function msOf(offset: Offset): number {
  return numbersOf(offset)[0];
}

/** The place just before an offset: no record lies between the two. */
export function justBefore(offset: Offset): Offset {
  const [ms, minor] = numbersOf(offset);
  if (minor > 0) return formatOffset(ms, minor - 1);
  return ms > 0 ? formatOffset(ms - 1, LARGEST) : FIRST_OFFSET;
}

function numbersOf(offset: Offset): [ms: number, minor: number] {
  const dash = offset.indexOf('-');
  // A cursor from outside may carry numbers that are larger than any of ours.
  return [
    Math.min(parseInt(offset.slice(0, dash), 36), LARGEST),
    Math.min(parseInt(offset.slice(dash + 1), 36), LARGEST),
  ];
}

/** Which partition a topic belongs to, for the life of the log space: FNV-1a over its UTF-16 units. */
export function partitionOf(topic: string, count: number): number {
  if (count === 1) return 0;
  let hash = 0x811c9dc5;
  for (let index = 0; index < topic.length; index += 1) {
    hash ^= topic.charCodeAt(index);
    hash = Math.imul(hash, 0x01000193);
  }
  // The low bits of FNV differ little between names that differ in their last letter.
  hash ^= hash >>> 15;
  return (hash >>> 0) % count;
}
