/** What nodes of an application say to each other: records of topics that no channel can have. */
import type { Retention } from '@sse-channels/protocol';
import type { Draft } from '../backplane/backplane.js';
import type { ConnectionInfo, ConnectionSelection } from '../directory/connection-directory.js';
import type { TopicChangesBy } from '../directory/topic-changes.js';

/** Records of another version are not understood, and left alone; fields may come without a new one. */
const VERSION = 1;
/** No event of an application has such a name. */
const RECORD_NAME = '$node';
/** No literal of a pattern has a `$`, and in a parameter it is encoded. */
const SEGMENT = '$nodes';

/** The topic that every node follows. */
export const ALL_NODES = `${SEGMENT}/all`;
/** What was not heard after a minute concerns nobody. */
export const NODE_RETENTION: Retention = { maxEvents: 20_000, maxAgeMs: 60_000, maxBytes: 33_554_432 };
/** About the most that one record carries; engines take a megabyte. */
export const MAX_RECORD_BYTES = 131_072;

/** The topic that one node follows. */
export function topicOfNode(id: string): string {
  return `${SEGMENT}/${id}`;
}

/** How many connections there are of a name: its hash, the count, the next hash, and so on. */
export type CountEntries = ReadonlyArray<string | number>;

/** The node is there. */
export interface Lease {
  readonly kind: 'lease';
  readonly from: string;
  readonly name: string;
  readonly connections: number;
  readonly startedAt: number;
  readonly draining: boolean;
  /** For how long it is there without another word, in milliseconds. */
  readonly leaseMs: number;
  /** The number of its last record of counts; null where it tells none. */
  readonly told: number | null;
  /** It has only begun and knows nobody: those who hear it say that they are there. */
  readonly hello: boolean;
}

/** The node is gone. */
export interface Goodbye {
  readonly kind: 'goodbye';
  readonly from: string;
}

/** Counts that changed on a node. */
export interface CountsTold {
  readonly kind: 'counts';
  readonly from: string;
  /** One more than that of the record before it; others see by it that they missed one. */
  readonly told: number;
  readonly counts: CountEntries;
}

/** What is asked of nodes. */
export type Asked =
  | { readonly asks: 'count'; readonly selection: WireSelection }
  | { readonly asks: 'list'; readonly selection: WireSelection; readonly limit: number }
  | { readonly asks: 'end'; readonly selection: WireSelection; readonly comeBack: boolean; readonly retryMs?: number }
  | { readonly asks: 'counts' }
  | ({ readonly asks: 'change'; readonly connection: string } & TopicChangesBy);

/** A selection with the topic's name. */
export type WireSelection = Omit<ConnectionSelection, 'topic'> & { readonly topic?: string };

/** Asks a node, or all of them; the answer goes to the topic of who asks. */
export type Question = Asked & { readonly kind: 'question'; readonly from: string; readonly question: string };

/** A connection as it is told. */
export interface ToldConnection extends ConnectionInfo {
  readonly topicsLeftOut: number;
}

/** A page of an answer. */
export interface Answer {
  readonly kind: 'answer';
  readonly from: string;
  /** What it answers. */
  readonly question: string;
  /** From 0 on. */
  readonly page: number;
  readonly last: boolean;
  /** To `count` and `end`: how many. */
  readonly count?: number;
  /** To `list`. */
  readonly connections?: readonly ToldConnection[];
  /** To `counts`. */
  readonly counts?: CountEntries;
  /** To `counts`: the record of counts after which they hold. */
  readonly told?: number;
  /** To `change`: a piece of what became of it, as JSON. */
  readonly piece?: string;
}

export type NodeRecord = Lease | Goodbye | CountsTold | Question | Answer;

/** The record as it is appended. */
export function draftOf(record: NodeRecord): Draft {
  return { name: RECORD_NAME, data: JSON.stringify({ v: VERSION, ...record }) };
}

/** Reads a record; null for one of another version, and for anything that is none. */
export function readNodeRecord({ name, data }: Draft): NodeRecord | null {
  if (name !== RECORD_NAME) return null;
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isObject(value) || value['v'] !== VERSION || !isText(value['from'], MAX_ID)) return null;
  const { kind } = value;
  const check = isText(kind) && Object.hasOwn(CHECKS, kind) ? CHECKS[kind as NodeRecord['kind']] : undefined;
  return check?.(value) === true ? (value as unknown as NodeRecord) : null;
}

type Unread = Readonly<Record<string, unknown>>;

/** The longest id or name; a topic's may be long. */
const MAX_TEXT = 65_536;
/** Of a node. */
const MAX_ID = 64;
const MAX_NAME = 1_024;
const MAX_LEASE_MS = 3_600_000;
const HASH = /^[\w-]{12}$/;

const CHECKS: Readonly<Record<NodeRecord['kind'], (value: Unread) => boolean>> = {
  lease: ({ name, connections, startedAt, draining, leaseMs, told, hello }) =>
    isText(name, MAX_NAME) &&
    isCount(connections) &&
    isCount(startedAt) &&
    typeof draining === 'boolean' &&
    isCount(leaseMs) &&
    leaseMs <= MAX_LEASE_MS &&
    (told === null || isCount(told)) &&
    typeof hello === 'boolean',
  goodbye: () => true,
  counts: ({ told, counts }) => isCount(told) && isEntries(counts),
  question: (value) => {
    const { question, asks, selection, limit, comeBack, retryMs } = value;
    if (!isText(question)) return false;
    if (asks === 'counts') return true;
    if (asks === 'change') return isText(value['connection']) && areChanges(value);
    if (!isSelection(selection)) return false;
    if (asks === 'count') return true;
    if (asks === 'list') return isCount(limit);
    const named = Object.keys(selection).length > 0;
    return asks === 'end' && named && typeof comeBack === 'boolean' && (retryMs === undefined || isCount(retryMs));
  },
  answer: ({ question, page, last, count, connections, counts, told, piece }) =>
    isText(question) &&
    isCount(page) &&
    typeof last === 'boolean' &&
    (count === undefined || isCount(count)) &&
    (connections === undefined || (Array.isArray(connections) && connections.every(isConnection))) &&
    (counts === undefined || isEntries(counts)) &&
    (told === undefined || isCount(told)) &&
    (piece === undefined || isText(piece)),
};

function isObject(value: unknown): value is Unread {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown, most = MAX_TEXT): value is string {
  return typeof value === 'string' && value.length <= most;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isEntries(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length % 2 === 0 &&
    value.every((entry, index) => (index % 2 === 0 ? typeof entry === 'string' && HASH.test(entry) : isCount(entry)))
  );
}

/** One with a field that is not known would mean fewer connections than are understood. */
function isSelection(value: unknown): value is WireSelection {
  return isObject(value) && Object.entries(value).every(([name, one]) => SELECTABLE.has(name) && isText(one));
}

const SELECTABLE = new Set(['id', 'principal', 'topic']);

function isConnection(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { id, principal, address, topics, cursor } = value;
  return (
    isText(id) &&
    [principal, address, cursor].every((one) => one === null || isText(one)) &&
    Array.isArray(topics) &&
    topics.every((topic) => isText(topic)) &&
    COUNTS_OF_CONNECTION.every((name) => isCount(value[name]))
  );
}

function areChanges({ add, remove, by, principal }: Unread): boolean {
  return (
    Array.isArray(add) &&
    add.every(
      (wanted: unknown) =>
        isObject(wanted) && isText(wanted['name']) && (wanted['lastEventId'] == null || isText(wanted['lastEventId'])),
    ) &&
    Array.isArray(remove) &&
    remove.every((name) => isText(name)) &&
    (by === 'client' || by === 'application') &&
    (principal === null || isText(principal))
  );
}

const COUNTS_OF_CONNECTION = ['ageMs', 'lagEvents', 'writtenBytes', 'waitingBytes', 'topicsLeftOut'];
