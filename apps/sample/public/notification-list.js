/** The notifications of one user at a time: their list, what is unread, and a form that raises one. */
import { byId, clockTime, counted, element, setText } from './element.js';
import { EventStream } from './event-stream.js';
import { postJson } from './request.js';

/** @typedef {{ id: string, title: string, body: string, at: string }} NotificationRaised */
/** @typedef {import('./event-stream.js').Place} Place */

/**
 * @typedef {object} Inbox One user's stream and what it brought.
 * @property {EventStream} stream
 * @property {HTMLLIElement[]} items newest first
 * @property {number} unread
 */

const LIMIT = 50;

export class NotificationList {
  #user = byId('notification-user', HTMLSelectElement);
  #badge = byId('unread-count', HTMLElement);
  #stateLabel = byId('notification-state', HTMLElement);
  #readButton = byId('notification-read', HTMLButtonElement);
  #scroller = byId('notification-scroller', HTMLElement);
  #list = byId('notification-list', HTMLOListElement);
  #empty = byId('notification-empty', HTMLElement);
  #form = byId('notification-form', HTMLFormElement);
  #to = byId('notification-to', HTMLSelectElement);
  #title = byId('notification-title', HTMLInputElement);
  #body = byId('notification-body', HTMLInputElement);
  /** @type {Map<string, Inbox>} */
  #inboxes = new Map();
  #isCut = false;
  #onControl;
  #origin;
  #toasts;

  /**
   * @param {object} options
   * @param {(user: string, name: string, data: any) => void} options.onControl
   * @param {() => Place} options.origin where an inbox begins that is looked into for the first time
   * @param {import('./toasts.js').Toasts} options.toasts
   */
  constructor({ onControl, origin, toasts }) {
    this.#onControl = onControl;
    this.#origin = origin;
    this.#toasts = toasts;
    this.#user.addEventListener('change', () => this.#open());
    this.#readButton.addEventListener('click', () => this.#markRead());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#raise();
    });
    this.#open();
  }

  cut() {
    this.#isCut = true;
    this.#current().stream.cut();
  }

  restore() {
    this.#isCut = false;
    this.#current().stream.restore();
  }

  #current() {
    const user = this.#user.value;
    let inbox = this.#inboxes.get(user);
    if (inbox === undefined) {
      inbox = { stream: this.#stream(user), items: [], unread: 0 };
      this.#inboxes.set(user, inbox);
    }
    return inbox;
  }

  #open() {
    const inbox = this.#current();
    for (const other of this.#inboxes.values()) if (other !== inbox) other.stream.cut();
    this.#to.value = this.#user.value;
    this.#list.replaceChildren(...inbox.items);
    this.#show(inbox);
    if (!this.#isCut) inbox.stream.restore();
  }

  /** @param {string} user */
  #stream(user) {
    return new EventStream(
      `/notifications/events?user=${encodeURIComponent(user)}`,
      ['notification.raised'],
      {
        onEvent: (_name, data, { replayed }) => this.#add(user, data, replayed),
        onState: () => this.#show(this.#current()),
        onControl: (name, data) => this.#onControl(user, name, data),
      },
      this.#origin(),
    );
  }

  /** @param {string} user @param {NotificationRaised} data @param {boolean} replayed */
  #add(user, data, replayed) {
    const inbox = this.#inboxes.get(user);
    if (inbox === undefined) return;
    const item = element(
      'li',
      { class: 'note', 'data-id': data.id, 'data-unread': 'true', 'data-replayed': String(replayed) },
      element(
        'div',
        { class: 'note-head' },
        element('p', { class: 'note-title' }, data.title),
        ...(replayed ? [element('span', { class: 'chip' }, 'replayed')] : []),
        element('time', { class: 'note-time', datetime: data.at }, clockTime(Date.parse(data.at))),
      ),
      element('p', { class: 'note-body' }, data.body),
    );
    inbox.items.unshift(item);
    inbox.unread += 1;
    const dropped = inbox.items.splice(LIMIT);
    for (const old of dropped) old.remove();
    inbox.unread = Math.min(inbox.unread, inbox.items.length);
    this.#list.prepend(item);
    this.#scroller.scrollTop = 0;
    this.#show(inbox);
  }

  #markRead() {
    const inbox = this.#current();
    inbox.unread = 0;
    for (const item of inbox.items) item.dataset.unread = 'false';
    this.#show(inbox);
  }

  /** @param {Inbox} inbox */
  #show({ stream, items, unread }) {
    this.#badge.hidden = unread === 0;
    setText(this.#badge, String(unread));
    this.#badge.setAttribute('aria-label', counted(unread, 'unread notification'));
    this.#readButton.disabled = unread === 0;
    this.#empty.hidden = items.length > 0;
    this.#stateLabel.dataset.state = stream.state;
    setText(this.#stateLabel, stream.words);
  }

  async #raise() {
    const to = this.#to.value;
    try {
      await postJson(`/notifications/${encodeURIComponent(to)}`, { title: this.#title.value, body: this.#body.value });
    } catch (error) {
      this.#toasts.say('The notification was not raised', {
        tone: 'bad',
        detail: /** @type {Error} */ (error).message,
      });
      return;
    }
    this.#title.value = '';
    this.#body.value = '';
    this.#title.focus();
    if (to !== this.#user.value) this.#toasts.say(`Raised for ${to}`, { detail: `Only ${to} can see it.` });
    else if (this.#isCut)
      this.#toasts.say(`Raised for ${to}`, { detail: 'It waits in the log until the connection is back.' });
  }
}
