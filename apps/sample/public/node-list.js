/** The nodes that traded, with how many of their trades came here: that of a node which is gone stays where it was. */
import { element, setText } from './element.js';

/** A node that did not trade for so long is gone, or nobody looks at a symbol that it trades; in milliseconds. */
const QUIET_MS = 3_000;
const LIMIT = 6;

/** @typedef {{ item: HTMLLIElement, count: HTMLElement, trades: number, latestMs: number }} NodeEntry */

const number = new Intl.NumberFormat('en-US', { useGrouping: false });

export class NodeList {
  #list;
  /** @type {Map<string, NodeEntry>} */
  #entries = new Map();

  /** @param {HTMLUListElement} list */
  constructor(list) {
    this.#list = list;
    setInterval(() => this.#showQuiet(), 1_000);
  }

  /** One more trade of a node. @param {string} node */
  count(node) {
    const entry = this.#entries.get(node) ?? this.#add(node);
    entry.trades += 1;
    entry.latestMs = Date.now();
    setText(entry.count, number.format(entry.trades));
    entry.item.dataset.quiet = 'false';
  }

  /** @param {string} node */
  #add(node) {
    const count = element('span', { class: 'node-count' });
    const item = element('li', { class: 'node', 'data-node': node }, element('span', { class: 'mono' }, node), count);
    const entry = { item, count, trades: 0, latestMs: 0 };
    this.#entries.set(node, entry);
    // By name: whoever came for one that is gone stands beside it.
    const after = [...this.#entries.keys()].sort().find((other) => other > node);
    this.#list.insertBefore(item, this.#entries.get(after ?? '')?.item ?? null);
    if (this.#entries.size > LIMIT) this.#dropQuietest();
    return entry;
  }

  #dropQuietest() {
    // The one that was just added has not traded yet, and stays.
    const [, quietest] = [...this.#entries].sort(([, a], [, b]) => a.latestMs - b.latestMs);
    if (quietest === undefined) return;
    this.#entries.delete(quietest[0]);
    quietest[1].item.remove();
  }

  #showQuiet() {
    for (const { item, latestMs } of this.#entries.values()) {
      item.dataset.quiet = String(Date.now() - latestMs > QUIET_MS);
    }
  }
}
