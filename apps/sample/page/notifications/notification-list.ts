/** The notifications of one user at a time: their list, what is unread, and a form that raises one. */
import type { EventOf, HubSubscription } from '@sse-channels/client';
import type { notificationsChannel } from '../../src/notifications/notifications.channel.js';
import { byId, element, setText } from '../element.js';
import { sayGap, sayState, type Saying } from '../live/connection-words.js';
import type { LiveConnection } from '../live/live-connection.js';
import { postJson } from '../request.js';
import type { Toasts } from '../toasts.js';
import { clockTime, counted } from '../words.js';

type NotificationRaised = EventOf<typeof notificationsChannel>['data'];

/** What one user's topic brought. */
interface Inbox {
  /** Newest first. */
  readonly items: HTMLLIElement[];
  unread: number;
  /** Where it was left; empty: nowhere yet. */
  cursor: string;
}

export interface NotificationListOptions {
  readonly connection: LiveConnection;
  readonly toasts: Toasts;
  readonly onSaying: (of: string, saying: Saying) => void;
}

const LIMIT = 50;

export class NotificationList {
  readonly #user = byId('notification-user', HTMLSelectElement);
  readonly #badge = byId('unread-count', HTMLElement);
  readonly #stateLabel = byId('notification-state', HTMLElement);
  readonly #readButton = byId('notification-read', HTMLButtonElement);
  readonly #scroller = byId('notification-scroller', HTMLElement);
  readonly #list = byId('notification-list', HTMLOListElement);
  readonly #empty = byId('notification-empty', HTMLElement);
  readonly #form = byId('notification-form', HTMLFormElement);
  readonly #to = byId('notification-to', HTMLSelectElement);
  readonly #title = byId('notification-title', HTMLInputElement);
  readonly #body = byId('notification-body', HTMLInputElement);
  readonly #inboxes = new Map<string, Inbox>();
  readonly #options: NotificationListOptions;
  #subscription: HubSubscription<typeof notificationsChannel>;
  #inbox: Inbox;

  constructor(options: NotificationListOptions) {
    this.#options = options;
    this.#inbox = this.#inboxOf(this.#user.value);
    this.#subscription = this.#follow(this.#user.value, this.#inbox);
    this.#user.addEventListener('change', () => this.#change());
    this.#readButton.addEventListener('click', () => this.#markRead());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#raise();
    });
  }

  /** The connection is another. */
  refresh(): void {
    const { status, error } = this.#subscription.state;
    const shown = status === 'closed' ? 'closed' : this.#options.connection.shown.status;
    this.#stateLabel.dataset['state'] = shown;
    setText(this.#stateLabel, error?.status === undefined ? shown : `refused: ${error.status}`);
    const { items, unread } = this.#inbox;
    this.#badge.hidden = unread === 0;
    setText(this.#badge, String(unread));
    this.#badge.setAttribute('aria-label', counted(unread, 'unread notification'));
    this.#readButton.disabled = unread === 0;
    this.#empty.hidden = items.length > 0;
    setText(this.#empty, error?.message ?? 'Nothing yet. Raise one below.');
  }

  #inboxOf(user: string): Inbox {
    const inbox = this.#inboxes.get(user) ?? { items: [], unread: 0, cursor: this.#options.connection.origin };
    this.#inboxes.set(user, inbox);
    return inbox;
  }

  /** Another inbox on the same connection: its topic goes, the other comes. */
  #change(): void {
    this.#inbox.cursor = this.#subscription.cursor;
    this.#subscription.close();
    const user = this.#user.value;
    this.#inbox = this.#inboxOf(user);
    this.#to.value = user;
    this.#list.replaceChildren(...this.#inbox.items);
    this.#subscription = this.#follow(user, this.#inbox);
  }

  #follow(user: string, inbox: Inbox): HubSubscription<typeof notificationsChannel> {
    const { connection, onSaying } = this.#options;
    const subscription = connection.client.subscribe(
      'notifications/:user',
      { user },
      inbox.cursor === '' ? {} : { lastEventId: inbox.cursor },
    );
    subscription.on('notification.raised', (raised) => this.#add(inbox, raised));
    subscription.onGap((gap) => onSaying(user, sayGap(gap)));
    this.#subscription = subscription;
    let isGiven = false;
    subscription.onState((state) => {
      const isNew = state.status === 'open' && !isGiven;
      isGiven ||= isNew;
      if (isNew || state.status === 'closed') onSaying(user, sayState(state));
      if (subscription === this.#subscription) this.refresh();
    });
    return subscription;
  }

  #add(inbox: Inbox, { id, title, body, at }: NotificationRaised): void {
    const replayed = this.#options.connection.returnOf(at) !== null;
    const item = element(
      'li',
      { class: 'note', 'data-id': id, 'data-unread': 'true', 'data-replayed': String(replayed) },
      element(
        'div',
        { class: 'note-head' },
        element('p', { class: 'note-title' }, title),
        ...(replayed ? [element('span', { class: 'chip' }, 'replayed')] : []),
        element('time', { class: 'note-time', datetime: at }, clockTime(Date.parse(at))),
      ),
      element('p', { class: 'note-body' }, body),
    );
    inbox.items.unshift(item);
    for (const old of inbox.items.splice(LIMIT)) old.remove();
    inbox.unread = Math.min(inbox.unread + 1, inbox.items.length);
    this.#list.prepend(item);
    this.#scroller.scrollTop = 0;
    this.refresh();
  }

  #markRead(): void {
    this.#inbox.unread = 0;
    for (const item of this.#inbox.items) item.dataset['unread'] = 'false';
    this.refresh();
  }

  async #raise(): Promise<void> {
    const to = this.#to.value;
    const { connection, toasts } = this.#options;
    try {
      await postJson(`/notifications/${encodeURIComponent(to)}`, { title: this.#title.value, body: this.#body.value });
    } catch (error) {
      toasts.say('The notification was not raised', { tone: 'bad', detail: (error as Error).message });
      return;
    }
    this.#title.value = '';
    this.#body.value = '';
    this.#title.focus();
    if (to !== this.#user.value) toasts.say(`Raised for ${to}`, { detail: `Only ${to} can see it.` });
    else if (connection.shown.status !== 'open') {
      toasts.say(`Raised for ${to}`, { detail: 'It waits in the log until the connection is back.' });
    }
  }
}
