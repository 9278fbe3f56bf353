/** A record as a message of JetStream: its data is the payload, everything else is in headers. */
import type { Msg } from '@nats-io/nats-core';
import type { Draft } from '@sse-channels/engine';
import type { Retention } from '@sse-channels/protocol';
import { HeaderLines } from './nats-link.js';

/** A message that the stream holds, or has sent live. */
export interface StoredMessage {
  readonly sequence: number;
  /** Tells the message from another one that got the same sequence after the engine lost its tail, in milliseconds since 1970. */
  readonly tag: number;
  /** When the server stored it, in milliseconds since 1970. */
  readonly storedAt: number;
  readonly subject: string;
  /** The sequence of the subject's message before it, where a live one or a page says so; 0: none that is still kept. */
  readonly previous: number;
  /** Null for a message that is no record of ours. */
  readonly record: StoredRecord | null;
}

export interface StoredRecord extends Draft {
  /** Null: the subject says it. */
  readonly topic: string | null;
  /** What the channel asked for when it was appended, no more than the stream allows. */
  readonly retention: Retention;
  readonly bytes: number;
}

/**
 * @param topic null where the subject says it
 * @param time the tag
 */
export function recordHeaders(draft: Draft, topic: string | null, time: number, retention: Retention): string {
  const { name, key } = draft;
  const { maxEvents, maxAgeMs, maxBytes } = retention;
  return (
    `Sse-Time: ${time}\r\nSse-Event: ${encode(name)}\r\nSse-Keep: ${maxEvents} ${maxAgeMs} ${maxBytes}\r\n` +
    (key === undefined ? '' : `Sse-Key: ${encode(key)}\r\n`) +
    (topic === null ? '' : `Sse-Topic: ${encode(topic)}\r\n`)
  );
}

/** Headers under which JetStream writes once, however often it is told. */
export function writtenOnce(messageId: string, lines: string): HeaderLines {
  return new HeaderLines(`Nats-Msg-Id: ${messageId}\r\n${lines}`);
}

/** Headers under which JetStream says whether it has written, and does not write. */
export function neverWritten(messageId: string): HeaderLines {
  // No subject ever gets as far; whether the id is known is looked at before.
  return new HeaderLines(
    `Nats-Msg-Id: ${messageId}\r\nNats-Expected-Last-Subject-Sequence: ${Number.MAX_SAFE_INTEGER}\r\n`,
  );
}

/** Reads a message that was republished, or got directly; null for one that is neither. */
export function readMessage(message: Msg): StoredMessage | null {
  return read(message, 0, 0, '');
}

/** Reads a message that came by a consumer, which tells its place in the subject for the acknowledgement. */
export function readPulled(message: Msg): StoredMessage | null {
  // $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.consumerSequence.nanoseconds.pending[.random]
  const parts = (message.reply ?? '').split('.');
  const sequenceAt = parts.length > 9 ? 7 : 5;
  return read(message, Number(parts[sequenceAt]), Math.floor(Number(parts[sequenceAt + 2]) / 1e6), message.subject);
}

/** A message as the leader gives it. */
export interface LeaderMessage {
  readonly subject: string;
  readonly seq: number;
  /** In base64, as the data. */
  readonly hdrs?: string;
  readonly data?: string;
  readonly time: string;
}

/** Reads a message that the leader gave. */
export function readOfLeader({ subject, seq, hdrs = '', data = '', time }: LeaderMessage): StoredMessage | null {
  const headers = Buffer.from(hdrs, 'base64')
    .toString()
    .split('\r\n')
    .map((line): [name: string, values: string[]] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), [line.slice(colon + 1).trim()]];
    });
  return read({ headers, data: Buffer.from(data, 'base64') }, seq, Date.parse(time), subject);
}

interface HeadersAndData {
  readonly headers?: Iterable<[name: string, values: string[]]> | undefined;
  readonly data: Uint8Array;
}

function read(
  message: HeadersAndData,
  sequenceOf: number,
  storedAtOf: number,
  subjectOf: string,
): StoredMessage | null {
  if (message.headers === undefined && sequenceOf === 0) return null;
  let sequence = sequenceOf;
  let previous = 0;
  let storedAt = storedAtOf;
  let time = 0;
  let subject = subjectOf;
  let name: string | undefined;
  let key: string | undefined;
  let topic: string | null = null;
  let keep = '';
  for (const [header, [value = '']] of message.headers ?? []) {
    switch (header) {
      case 'Nats-Sequence':
        sequence = Number(value);
        break;
      case 'Nats-Last-Sequence':
        previous = Number(value);
        break;
      case 'Nats-Time-Stamp':
        storedAt = Date.parse(value);
        break;
      case 'Nats-Subject':
        subject = value;
        break;
      case 'Sse-Time':
        time = Number(value);
        break;
      case 'Sse-Event':
        name = decode(value);
        break;
      case 'Sse-Key':
        key = decode(value);
        break;
      case 'Sse-Topic':
        topic = decode(value);
        break;
      case 'Sse-Keep':
        keep = value;
        break;
      default:
    }
  }
  if (sequence === 0) return null;
  const { data } = message;
  const [maxEvents = 0, maxAgeMs = 0, maxBytes = 0] = keep.split(' ').map(Number);
  return {
    sequence,
    tag: time || storedAt,
    storedAt,
    subject,
    previous,
    record:
      name === undefined
        ? null
        : {
            topic,
            name,
            data: Buffer.from(data.buffer, data.byteOffset, data.length).toString(),
            ...(key !== undefined && { key }),
            retention: { maxEvents, maxAgeMs, maxBytes },
            bytes: data.length,
          },
  };
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function decode(text: string): string {
  try {
    return text.includes('%') ? decodeURIComponent(text) : text;
  } catch {
    // Somebody else's message.
    return text;
  }
}
