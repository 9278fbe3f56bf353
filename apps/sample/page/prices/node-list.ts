/** The nodes: how many ticks of each came here, and how many streams each serves. The count of a node that is gone stays where it was. */
import { element, setText } from '../element.js';
import { counted } from '../words.js';

/** A node of which no tick came for so long is gone, or the connection is; in milliseconds. */
const QUIET_MS = 3_000;
/** After so long one that no other node knows is left out, in milliseconds. */
const GONE_MS = 60_000;
const LIMIT = 6;
/** How often the server is asked what each node serves, in milliseconds. */
const ASK_EVERY_MS = 3_000;

interface NodeEntry {
  readonly item: HTMLLIElement;
  readonly words: HTMLElement;
  ticks: number;
  latestMs: number;
  streams: number | null;
}

export class NodeList {
  readonly #list: HTMLUListElement;
  readonly #entries = new Map<string, NodeEntry>();
  readonly #timers: ReadonlyArray<ReturnType<typeof setInterval>>;

  constructor(list: HTMLUListElement) {
    this.#list = list;
    this.#timers = [setInterval(() => this.#showQuiet(), 1_000), setInterval(() => void this.#ask(), ASK_EVERY_MS)];
    void this.#ask();
  }

  /** One more tick of a node. */
  count(node: string): void {
    const entry = this.#entries.get(node) ?? this.#add(node);
    entry.ticks += 1;
    entry.latestMs = Date.now();
    entry.item.dataset['quiet'] = 'false';
    show(entry);
  }

  /** Ends it, and empties the list. */
  end(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#list.replaceChildren();
  }

  #add(node: string): NodeEntry {
    const words = element('span', { class: 'node-words' });
    const item = element('li', { class: 'node', 'data-node': node }, element('span', { class: 'mono' }, node), words);
    const entry = { item, words, ticks: 0, latestMs: 0, streams: null };
    this.#entries.set(node, entry);
    // By name: whoever came for one that is gone stands beside it.
    const after = [...this.#entries.keys()].sort().find((other) => other > node);
    this.#list.insertBefore(item, this.#entries.get(after ?? '')?.item ?? null);
    if (this.#entries.size > LIMIT) this.#dropQuietest();
    return entry;
  }

  #dropQuietest(): void {
    // The one that was just added has not ticked yet, and stays.
    const [, quietest] = [...this.#entries].sort(([, a], [, b]) => a.latestMs - b.latestMs);
    if (quietest !== undefined) this.#drop(quietest[0]);
  }

  #drop(node: string): void {
    this.#entries.get(node)?.item.remove();
    this.#entries.delete(node);
  }

  async #ask(): Promise<void> {
    let nodes: ReadonlyArray<{ readonly node: string; readonly connections: number }>;
    try {
      const answer = await fetch('/nodes', { cache: 'no-store' });
      nodes = answer.ok ? ((await answer.json()) as typeof nodes) : [];
    } catch {
      // The next one will be answered.
      return;
    }
    for (const [node, entry] of this.#entries) {
      entry.streams = nodes.find((one) => one.node === node)?.connections ?? null;
      show(entry);
    }
  }

  #showQuiet(): void {
    for (const [node, { item, latestMs, streams }] of this.#entries) {
      const quietMs = Date.now() - latestMs;
      item.dataset['quiet'] = String(quietMs > QUIET_MS);
      if (quietMs > GONE_MS && streams === null) this.#drop(node);
    }
  }
}

function show({ words, ticks, streams }: NodeEntry): void {
  setText(
    words,
    streams === null ? counted(ticks, 'tick') : `${counted(ticks, 'tick')}, ${counted(streams, 'stream')}`,
  );
}
