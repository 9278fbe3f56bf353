/** The head of the page: the connection's state, the last cursor, and the counts that would betray a lost event. */
import { byId, setText } from '../element.js';
import type { Counts } from '../prices/price-book.js';
import type { Shown } from './live-connection.js';

const number = new Intl.NumberFormat('en-US', { useGrouping: false });

export class ConnectionStatus {
  readonly #pill = byId('connection-pill', HTMLElement);
  readonly #state = byId('connection-state', HTMLElement);
  readonly #button = byId('cut-button', HTMLButtonElement);
  readonly #cursor = byId('last-cursor', HTMLElement);
  readonly #cursorBox = byId('last-cursor-box', HTMLElement);
  readonly #node = byId('serving-node', HTMLElement);
  readonly #counts = {
    reconnects: byId('reconnect-count', HTMLElement),
    received: byId('received-count', HTMLElement),
    replayed: byId('replayed-count', HTMLElement),
    missed: byId('missed-count', HTMLElement),
    doubled: byId('doubled-count', HTMLElement),
  };

  /** @param onPress the one button that cuts and restores */
  constructor(onPress: () => void) {
    this.#button.addEventListener('click', onPress);
  }

  show({ status, node, reconnects }: Shown, cursor: string, counts: Counts): void {
    this.#pill.dataset['state'] = status;
    setText(this.#state, status);
    const isCut = status === 'cut';
    this.#button.dataset['action'] = isCut ? 'restore' : 'cut';
    setText(this.#button, isCut ? 'Restore connection' : 'Cut connection');
    setText(this.#cursor, cursor || '–');
    this.#cursorBox.title = cursor;
    setText(this.#node, node || '–');
    const shown = { ...counts, reconnects };
    for (const [name, target] of Object.entries(this.#counts)) {
      const count = shown[name as keyof typeof shown];
      setText(target, number.format(count));
      target.dataset['some'] = String(count > 0);
    }
  }
}
