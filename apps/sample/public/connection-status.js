/** The head of the page: the connection's state, the last cursor, and the counts that would betray a lost event. */
import { byId, setText } from './element.js';

/** @typedef {{ reconnects: number, received: number, replayed: number, missed: number, doubled: number }} Counts */

const number = new Intl.NumberFormat('en-US', { useGrouping: false });

export class ConnectionStatus {
  #pill = byId('connection-pill', HTMLElement);
  #state = byId('connection-state', HTMLElement);
  #button = byId('cut-button', HTMLButtonElement);
  #cursor = byId('last-cursor', HTMLElement);
  #cursorBox = byId('last-cursor-box', HTMLElement);
  #node = byId('serving-node', HTMLElement);
  /** @type {Record<keyof Counts, HTMLElement>} */
  #counts = {
    reconnects: byId('reconnect-count', HTMLElement),
    received: byId('received-count', HTMLElement),
    replayed: byId('replayed-count', HTMLElement),
    missed: byId('missed-count', HTMLElement),
    doubled: byId('doubled-count', HTMLElement),
  };

  /** @param {() => void} onPress the one button that cuts and restores */
  constructor(onPress) {
    this.#button.addEventListener('click', onPress);
  }

  /** @param {import('./event-stream.js').StreamState} state */
  showState(state) {
    this.#pill.dataset.state = state;
    setText(this.#state, state);
    const isDown = state === 'cut' || state === 'closed';
    this.#button.dataset.action = isDown ? 'restore' : 'cut';
    setText(this.#button, isDown ? 'Restore connection' : 'Cut connection');
  }

  /** @param {string} cursor */
  showCursor(cursor) {
    setText(this.#cursor, cursor || '–');
    this.#cursorBox.title = cursor;
  }

  /** @param {string} node */
  showNode(node) {
    setText(this.#node, node || '–');
  }

  /** @param {Readonly<Counts>} counts */
  showCounts(counts) {
    for (const [name, target] of Object.entries(this.#counts)) {
      const count = counts[/** @type {keyof Counts} */ (name)];
      setText(target, number.format(count));
      target.dataset.some = String(count > 0);
    }
  }
}
