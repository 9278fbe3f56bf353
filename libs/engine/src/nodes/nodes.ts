/** The nodes of an application: this one says that it is there, knows the others by what they say, and asks and answers. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { SseChannelsError } from '@sse-channels/protocol';
import type { Backplane } from '../backplane/backplane.js';
import type {
  ConnectionDirectory,
  ConnectionInfo,
  ConnectionSelection,
  EndOptions,
  EverywhereDirectory,
  ListOptions,
  NodeDirectory,
  NodeInfo,
  TopicOrName,
} from '../directory/connection-directory.js';
import type { ChangeableStreams, TopicChanges, TopicChangesBy, TopicsChanged } from '../directory/topic-changes.js';
import type { Observer } from '../observer/observer.js';
import { pagesOf } from './connection-pages.js';
import { Everywhere } from './everywhere.js';
import { NodeLine } from './node-line.js';
import { topicOfNode, type Answer, type Asked, type Lease, type NodeRecord, type Question } from './node-record.js';
import { Peers } from './peers.js';
import { Questions } from './questions.js';
import type { SharedCounts } from './shared-counts.js';

const DEFAULT_LEASE_MS = 15_000;
/** How often a node says within its lease that it is there. */
const WORDS_PER_LEASE = 3;
/** One timer looks at leases, counts and what was missed so often within a lease, and at least once a second. */
const LOOKS_PER_LEASE = 15;
const MAX_LOOK_MS = 1_000;
/** After so many looks everyone who is there has said so: who hears a hello answers at its next look. */
const LOOKS_TO_SETTLE = 2;
/** A lease takes no longer from this node to itself; together with the time to the next one that is less than a lease. */
const LOOKS_TO_ECHO = 3;
/** How long answers are waited for. */
const ANSWER_MS = 2_000;
/** The same where another node asks routes, which take their time. */
const CHANGE_MS = 10_000;
/** Between the id of a connection and that of its node. */
const NODE_MARK = '.';
/** How many questions are answered at once; who asks beyond is not answered, and sees it. */
const MAX_ANSWERS = 64;
/** Of a longer text a record carries so much. */
const PIECE_LENGTH = 32_768;
/** How long the end waits for the goodbye to be kept. */
const GOODBYE_MS = 1_000;

/** What the nodes of an application are made of. */
export interface NodesParts {
  readonly backplane: Backplane;
  readonly observer: Observer;
  /** The connections of this node. */
  readonly connections: NodeDirectory & ChangeableStreams;
  /** What limits count over all nodes; null: limits are of each node. @default null */
  readonly counts?: SharedCounts | null;
  /** The name of this node, for people. @default the host's name and the process's id */
  readonly name?: string;
  /** How long this node counts as there when it says nothing, in milliseconds. @default 15_000 */
  readonly leaseMs?: number;
}

/**
 * The directory that the bus shows. Where the backplane is not shared there are no other nodes: no timer, no topic, no record. A node
 * that begins, or that heard nobody for a while, waits with its answers until the others had their time to say that they are there.
 */
export class Nodes implements ConnectionDirectory {
  readonly everywhere: EverywhereDirectory;
  readonly #parts: NodesParts;
  readonly #id = randomBytes(9).toString('base64url');
  readonly #name: string;
  readonly #startedAt = Date.now();
  readonly #leaseMs: number;
  readonly #lookMs: number;
  readonly #line: NodeLine;
  readonly #peers: Peers;
  readonly #questions = new Questions();
  /** Who was asked for its counts, and has not answered. */
  readonly #catchingUp = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  /** By the clock of the peers: from then on everyone is known. */
  #settlesAt = Infinity;
  #saidAt = -Infinity;
  #lease: Promise<boolean> | undefined;
  #sayingChanges = false;
  #answering = 0;
  #known = false;
  #draining = false;
  #closed = false;

  constructor(parts: NodesParts) {
    const { backplane, observer, connections, name, leaseMs = DEFAULT_LEASE_MS } = parts;
    this.#parts = parts;
    this.#name = name ?? `${hostname()}:${process.pid}`;
    this.#leaseMs = leaseMs;
    this.#lookMs = Math.max(1, Math.min(MAX_LOOK_MS, Math.floor(leaseMs / LOOKS_PER_LEASE)));
    this.#peers = new Peers(this.#lookMs);
    this.#line = new NodeLine({
      backplane,
      observer,
      id: this.#id,
      onRecord: (record) => this.#heard(record),
      echoMs: LOOKS_TO_ECHO * this.#lookMs,
    });
    this.everywhere = new Everywhere(connections, {
      nodes: () => this.#nodes(),
      ask: (asked, onAnswer, to) => this.#ask(asked, onAnswer, to),
    });
  }

  get size(): number {
    return this.#parts.connections.size;
  }

  count(selection?: ConnectionSelection): number {
    return this.#parts.connections.count(selection);
  }

  list(selection?: ConnectionSelection, options?: ListOptions): ConnectionInfo[] {
    return this.#parts.connections.list(selection, options);
  }

  end(selection: ConnectionSelection, options?: EndOptions): number {
    return this.#parts.connections.end(selection, options);
  }

  subscribe(id: string, topic: TopicOrName): Promise<boolean> {
    return this.#changeOne(id, { add: [{ name: nameOf(topic) }], remove: [] });
  }

  unsubscribe(id: string, topic: TopicOrName): Promise<boolean> {
    return this.#changeOne(id, { add: [], remove: [nameOf(topic)] });
  }

  /** What the ids of streams end with whose topics are to be changed from every node; empty where there are no others. */
  get mark(): string {
    return this.#shared ? NODE_MARK + this.#id : '';
  }

  /**
   * Changes the topics of a stream on whatever node: the one that has it does it.
   * @returns null where there is no such stream, or none to change
   * @throws rejects with SseChannelsError `UNAVAILABLE` where its node did not answer; it may do it all the same
   */
  async change(connection: string, changes: TopicChangesBy): Promise<TopicsChanged | null> {
    const here = await this.#parts.connections.change(connection, changes);
    const mark = connection.lastIndexOf(NODE_MARK);
    const node = connection.slice(mark + 1);
    if (here !== null || mark === -1 || !this.#shared || node === this.#id) return here;
    const info = this.#peers.info(node);
    // An id that somebody made up is no topic to say something to.
    if (info === undefined && this.#settled) return null;
    if (info === undefined || !this.#line.hearing) throw unavailable();
    let answer = '';
    const unanswered = await this.#ask(
      { asks: 'change', connection, ...changes },
      ({ piece = '' }) => (answer += piece),
      info,
      CHANGE_MS,
    );
    if (unanswered.length > 0) throw unavailable();
    // Nothing where it has gone meanwhile, and its streams with it.
    return answer === '' ? null : (JSON.parse(answer) as TopicsChanged | null);
  }

  /** Says that this node is there, and begins to hear of the others. Once; does nothing where the backplane is not shared. */
  async open(): Promise<void> {
    if (!this.#shared || this.#closed || this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), this.#lookMs);
    this.#timer.unref();
    await this.#line.attach();
    this.#look();
  }

  /** Says that this node is shutting down. */
  drain(): void {
    this.#draining = true;
    if (this.#timer !== undefined) this.#sayLease();
  }

  /** Says goodbye; waits for that a second at most. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#questions.close();
    if (this.#timer !== undefined) {
      clearInterval(this.#timer);
      let late: NodeJS.Timeout | undefined;
      const waited = new Promise((resolve) => (late = setTimeout(resolve, GOODBYE_MS)));
      await Promise.race([this.#line.say({ kind: 'goodbye', from: this.#id }), waited]);
      clearTimeout(late);
    }
    this.#line.close();
  }

  get #shared(): boolean {
    return this.#parts.backplane.capabilities.sharedAcrossNodes;
  }

  get #settled(): boolean {
    return this.#peers.clockMs >= this.#settlesAt;
  }

  #nodes(): NodeInfo[] {
    const here: NodeInfo = {
      id: this.#id,
      name: this.#name,
      here: true,
      connections: this.size,
      startedAt: this.#startedAt,
      draining: this.#draining,
      heardMs: 0,
    };
    return [here, ...this.#peers.ids.flatMap((id) => this.#peers.info(id) ?? [])];
  }

  /** The one look at everything that time changes. */
  #look(): void {
    const { counts, observer } = this.#parts;
    void this.#line.attach();
    const { gone, again } = this.#peers.look(this.#line.hearing);
    for (const node of gone) {
      counts?.forget(node.id);
      observer.nodeLeft?.(node, 'lease');
    }
    if (again) {
      this.#settlesAt = this.#peers.clockMs + LOOKS_TO_SETTLE * this.#lookMs;
      this.#saidAt = -Infinity;
    }
    this.#questions.look();
    // What is said to a backplane that is down waits there until its deadline, and is old then.
    if (this.#parts.backplane.state === 'down') return;
    if (performance.now() - this.#saidAt >= this.#leaseMs / WORDS_PER_LEASE) this.#sayLease();
    if (counts == null) return;
    void this.#sayChanges(counts);
    if (this.#line.hearing) for (const node of counts.outOfStep()) void this.#catchUp(counts, node);
  }

  #sayLease(): void {
    // The next look says what has changed since.
    if (this.#lease !== undefined) return void (this.#saidAt = -Infinity);
    this.#saidAt = performance.now();
    const lease: Lease = {
      kind: 'lease',
      from: this.#id,
      name: this.#name,
      connections: this.size,
      startedAt: this.#startedAt,
      draining: this.#draining,
      leaseMs: this.#leaseMs,
      told: this.#parts.counts?.told ?? null,
      hello: !this.#known,
    };
    this.#lease = this.#line.say(lease).finally(() => (this.#lease = undefined));
    void this.#lease.then((kept) => {
      if (kept) this.#known = true;
      else this.#saidAt = -Infinity;
    });
  }

  async #sayChanges(counts: SharedCounts): Promise<void> {
    // While the last ones are still on their way, what changes again meanwhile is gathered.
    if (this.#sayingChanges) return;
    this.#sayingChanges = true;
    const changes = [...counts.takeChanges()];
    await Promise.all(changes.map((change) => this.#line.say({ kind: 'counts', from: this.#id, ...change })));
    this.#sayingChanges = false;
  }

  /** Asks a node for all of its counts. */
  async #catchUp(counts: SharedCounts, node: string): Promise<void> {
    const info = this.#peers.info(node);
    if (info === undefined || this.#catchingUp.has(node)) return;
    this.#catchingUp.add(node);
    const all: Array<string | number> = [];
    try {
      let told: number | undefined;
      const missing = await this.#ask(
        { asks: 'counts' },
        (answer) => {
          for (const entry of answer.counts ?? []) all.push(entry);
          told ??= answer.told;
        },
        info,
      );
      if (missing.length === 0 && told !== undefined) counts.replace(node, { told, counts: all });
    } catch {
      // Too much is asked at once, or this is the end; the next look asks again.
    } finally {
      this.#catchingUp.delete(node);
    }
  }

  async #changeOne(id: string, changes: TopicChanges): Promise<boolean> {
    const changed = await this.change(id, { ...changes, by: 'application', principal: null });
    const [refused] = changed?.refused ?? [];
    if (refused !== undefined) {
      throw new SseChannelsError(
        refused.comeBack ? 'UNAVAILABLE' : 'INVALID_OPTION',
        `The stream "${id}" was not given the topic "${refused.topic}": ${refused.message}`,
      );
    }
    return changed !== null && (changes.remove.length === 0 || changed.removed.length > 0);
  }

  async #ask(
    asked: Asked,
    onAnswer: (answer: Answer) => void,
    to?: NodeInfo,
    answerMs = ANSWER_MS,
  ): Promise<readonly NodeInfo[]> {
    if (!this.#shared) return [];
    const asking = (to === undefined ? this.#nodes().slice(1) : [to]).map((node) => [node.id, node] as const);
    const infos = new Map(asking);
    const unanswered = await this.#questions.ask({
      awaited: [...infos.keys()],
      everyone: to === undefined,
      deadlineMs: answerMs + (this.#settled ? 0 : LOOKS_TO_SETTLE * this.#lookMs),
      send: (question) => {
        const record: Question = { kind: 'question', from: this.#id, question, ...asked };
        void this.#line.say(record, to === undefined ? undefined : topicOfNode(to.id), question);
      },
      onAnswer,
      complete: () => to !== undefined || this.#settled,
    });
    if (to === undefined && !this.#settled) {
      throw new SseChannelsError(
        'UNAVAILABLE',
        'The other nodes were not asked: this one could not hear yet who is there; try again when the backplane is live.',
      );
    }
    return unanswered.flatMap((id) => this.#peers.info(id) ?? infos.get(id) ?? []);
  }

  #heard(record: NodeRecord): void {
    const { counts } = this.#parts;
    switch (record.kind) {
      case 'lease':
        return this.#heardLease(record);
      case 'goodbye':
        return this.#heardGoodbye(record.from);
      case 'counts':
        return counts?.apply(record.from, record);
      case 'question':
        return void this.#answer(record);
      case 'answer':
        return this.#questions.answered(record);
    }
  }

  #heardLease(lease: Lease): void {
    const { counts, observer } = this.#parts;
    const joined = this.#peers.heard(lease);
    if (lease.told !== null && this.#peers.has(lease.from)) counts?.heard(lease.from, lease.told);
    if (lease.hello) this.#saidAt = -Infinity;
    if (!joined) return;
    // Who says hello was not there, or heard nobody, when questions were asked.
    if (!lease.hello) this.#questions.joined(lease.from);
    const info = this.#peers.info(lease.from);
    if (info !== undefined) observer.nodeJoined?.(info);
  }

  #heardGoodbye(id: string): void {
    const info = this.#peers.info(id);
    if (info === undefined) return;
    this.#peers.delete(id);
    this.#parts.counts?.forget(id);
    this.#questions.left(id);
    this.#parts.observer.nodeLeft?.(info, 'goodbye');
  }

  async #answer(question: Question): Promise<void> {
    const { connections } = this.#parts;
    const done = question.asks === 'end' ? connections.end(question.selection, question) : 0;
    if (this.#answering >= MAX_ANSWERS) return;
    this.#answering += 1;
    try {
      let page = 0;
      let kept = true;
      const say = async (last: boolean, part: Partial<Answer>): Promise<void> => {
        const answer: Answer = { kind: 'answer', from: this.#id, question: question.question, page, last, ...part };
        page += 1;
        kept = await this.#line.say(answer, topicOfNode(question.from));
      };
      if (question.asks === 'end') return await say(true, { count: done });
      if (question.asks === 'count') return await say(true, { count: connections.count(question.selection) });
      const changed = question.asks === 'change' ? await connections.change(question.connection, question) : null;
      for (const [last, part] of withLast(this.#pages(question, changed))) {
        await say(last, part);
        if (!kept) return;
      }
    } catch (error) {
      this.#parts.observer.failed?.(error, 'doing what another node asks');
    } finally {
      this.#answering -= 1;
    }
  }

  /** What a longer answer says, a record for each; as of now, however long it takes to say. */
  *#pages(question: Question, changed: TopicsChanged | null): Generator<Partial<Answer>> {
    const { connections: directory, counts } = this.#parts;
    if (question.asks === 'list') {
      for (const connections of pagesOf(directory.list(question.selection, { limit: question.limit }))) {
        yield { connections };
      }
    } else if (question.asks === 'change') {
      const text = JSON.stringify(changed);
      for (let at = 0; at < text.length; at += PIECE_LENGTH) yield { piece: text.slice(at, at + PIECE_LENGTH) };
    } else if (question.asks === 'counts' && counts != null) {
      const { told } = counts;
      for (const part of counts.all()) yield { counts: part, told };
    }
  }
}

function nameOf(topic: TopicOrName): string {
  return typeof topic === 'object' ? topic.name : topic;
}

function unavailable(): SseChannelsError {
  return new SseChannelsError('UNAVAILABLE', 'The node that has this stream cannot be reached now; try again.');
}

/** Each with whether it is the last. */
function* withLast<T>(all: Iterable<T>): Generator<readonly [boolean, T]> {
  let before: { readonly value: T } | undefined;
  for (const value of all) {
    if (before !== undefined) yield [false, before.value];
    before = { value };
  }
  if (before !== undefined) yield [true, before.value];
}
