/** Short messages in a corner, said once and read out politely. */
import { element } from './element.js';

export type Tone = 'plain' | 'good' | 'bad';

const SHOWN_MS = 7_000;
const LEAVE_MS = 200;
const LIMIT = 3;

export class Toasts {
  readonly #root: HTMLElement;

  /** @param root a live region */
  constructor(root: HTMLElement) {
    this.#root = root;
  }

  say(text: string, { tone = 'plain', detail }: { readonly tone?: Tone; readonly detail?: string } = {}): void {
    const dismiss = element('button', { type: 'button', class: 'toast-dismiss', 'aria-label': 'Dismiss' }, '×');
    const words = element('div', { class: 'toast-words' }, element('p', { class: 'toast-text' }, text));
    if (detail !== undefined) words.append(element('p', { class: 'toast-detail' }, detail));
    const toast = element('div', { class: 'toast', 'data-tone': tone }, words, dismiss);
    const leave = (): void => {
      toast.classList.add('toast-leaving');
      setTimeout(() => toast.remove(), LEAVE_MS);
    };
    let timer = setTimeout(leave, SHOWN_MS);
    // Who is reading it, or about to press its button, is not hurried.
    const hold = (): void => clearTimeout(timer);
    const release = (): void => {
      clearTimeout(timer);
      timer = setTimeout(leave, SHOWN_MS);
    };
    toast.addEventListener('pointerenter', hold);
    toast.addEventListener('focusin', hold);
    toast.addEventListener('pointerleave', release);
    toast.addEventListener('focusout', release);
    dismiss.addEventListener('click', () => {
      hold();
      leave();
    });
    this.#root.append(toast);
    while (this.#root.children.length > LIMIT) this.#root.firstElementChild?.remove();
  }
}
