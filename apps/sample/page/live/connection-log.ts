/** What was said of the connection and of its topics, newest first. */
import { element } from '../element.js';
import { clockTime } from '../words.js';
import type { Saying } from './connection-words.js';

const LIMIT = 60;

export class ConnectionLog {
  readonly #list: HTMLOListElement;

  constructor(list: HTMLOListElement) {
    this.#list = list;
  }

  /** @param of what is spoken of: the stream, or one of its topics */
  add(of: string, { name, words, tone }: Saying): void {
    const nowMs = Date.now();
    const entry = element(
      'li',
      { class: 'control-entry', 'data-name': name, 'data-tone': tone },
      element('time', { class: 'control-time', datetime: new Date(nowMs).toISOString() }, clockTime(nowMs)),
      element('span', { class: 'control-stream' }, of),
      element('code', { class: 'control-name' }, name),
      element('span', { class: 'control-words' }, words),
    );
    this.#list.prepend(entry);
    while (this.#list.children.length > LIMIT) this.#list.lastElementChild?.remove();
  }
}
