/** The connections of every node: asks the others, and puts their answers together with what is here. */
import { SseChannelsError } from '@sse-channels/protocol';
import type {
  ConnectionSelection,
  EndOptions,
  EverywhereCount,
  EverywhereDirectory,
  EverywhereEnd,
  EverywhereList,
  ListOptions,
  NodeDirectory,
  NodeInfo,
  PlacedConnectionInfo,
} from '../directory/connection-directory.js';
import { placed } from './connection-pages.js';
import type { Answer, Asked, WireSelection } from './node-record.js';

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 10_000;

/** The way to the other nodes. */
export interface OtherNodes {
  /** This one first. */
  nodes(): NodeInfo[];
  /**
   * Asks all of them, or one.
   * @returns who did not answer in whole
   */
  ask(asked: Asked, onAnswer: (answer: Answer) => void, to?: NodeInfo): Promise<readonly NodeInfo[]>;
}

export class Everywhere implements EverywhereDirectory {
  readonly #here: NodeDirectory;
  readonly #others: OtherNodes;

  constructor(here: NodeDirectory, others: OtherNodes) {
    this.#here = here;
    this.#others = others;
  }

  nodes(): NodeInfo[] {
    return this.#others.nodes();
  }

  async count(selection: ConnectionSelection = {}): Promise<EverywhereCount> {
    let count = this.#here.count(selection);
    const asked: Asked = { asks: 'count', selection: wireOf(selection) };
    const unanswered = await this.#others.ask(asked, (answer) => (count += answer.count ?? 0));
    return { count, unanswered };
  }

  async list(
    selection: ConnectionSelection = {},
    { limit = DEFAULT_LIMIT }: ListOptions = {},
  ): Promise<EverywhereList> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        `everywhere.list: limit must be a whole number from 1 to ${MAX_LIMIT}, not ${String(limit)}.`,
      );
    }
    const counts = new Map<string, number>();
    // Who has how many first: then no more is carried than is asked for.
    const unanswered = [
      ...(await this.#others.ask({ asks: 'count', selection: wireOf(selection) }, ({ from, count = 0 }) =>
        counts.set(from, count),
      )),
    ];
    const connections: PlacedConnectionInfo[] = [];
    let [left, more] = [limit, false];
    const asking: Array<Promise<unknown>> = [];
    const lists = this.#others.nodes().map((node): PlacedConnectionInfo[] => {
      const count = node.here ? this.#here.count(selection) : (counts.get(node.id) ?? 0);
      counts.delete(node.id);
      const share = Math.min(count, left);
      left -= share;
      more ||= count > share;
      if (share === 0) return [];
      if (node.here) return this.#here.list(selection, { limit: share }).map((info) => placed(info, node));
      const list: PlacedConnectionInfo[] = [];
      const asked: Asked = { asks: 'list', selection: wireOf(selection), limit: share };
      const answered = this.#others.ask(
        asked,
        ({ connections: page = [] }) => list.push(...page.map((info) => placed(info, node))),
        node,
      );
      asking.push(answered.then((missing) => unanswered.push(...missing)));
      return list;
    });
    // Who answered without being known of is asked for no list, but not passed over in silence.
    for (const count of counts.values()) more ||= count > 0;
    await Promise.all(asking);
    for (const list of lists) connections.push(...list);
    return { connections, more, unanswered };
  }

  async end(selection: ConnectionSelection, options: EndOptions = {}): Promise<EverywhereEnd> {
    let ended = this.#here.end(selection, options);
    const { comeBack = false, retryMs } = options;
    const asked: Asked = {
      asks: 'end',
      selection: wireOf(selection),
      comeBack,
      ...(retryMs === undefined ? {} : { retryMs }),
    };
    const unanswered = await this.#others.ask(asked, (answer) => (ended += answer.count ?? 0));
    return { ended, unanswered };
  }
}

function wireOf({ id, principal, topic }: ConnectionSelection): WireSelection {
  const name = typeof topic === 'object' ? topic.name : topic;
  return {
    ...(id === undefined ? {} : { id }),
    ...(principal === undefined ? {} : { principal }),
    ...(name === undefined ? {} : { topic: name }),
  };
}
