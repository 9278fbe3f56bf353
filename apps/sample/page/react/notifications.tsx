/** The notifications of one user at a time: their list, what is unread, and a form that raises one. */
import { useState } from 'react';
import type { EventOf } from '@sse-channels/client';
import { useChannel, useConnectionState, useReduced } from '@sse-channels/react';
import type { notificationsChannel } from '../../src/notifications/notifications.channel.js';
import { postJson } from '../request.js';
import type { Toasts } from '../toasts.js';
import { clockTime, counted } from '../words.js';
import { connection, useShown } from './floor-connection.js';

type Note = EventOf<typeof notificationsChannel>['data'] & { readonly replayed: boolean };

/** What was raised: the newest first, and how many in all. */
interface Raised {
  readonly notes: readonly Note[];
  readonly count: number;
}

const USERS = ['alice', 'bob', 'carol'];
const LIMIT = 50;

export function Notifications({ toasts }: { readonly toasts: Toasts | null }) {
  const [user, setUser] = useState('alice');
  return (
    <section className="card card-notifications" aria-labelledby="inbox-heading">
      <Inbox key={user} user={user} onUser={setUser} />
      <Raise key={`to ${user}`} user={user} toasts={toasts} />
    </section>
  );
}

/** One user's inbox; another user's is another one, from where this page began. */
function Inbox({ user, onUser }: { readonly user: string; readonly onUser: (user: string) => void }) {
  const inbox = useChannel(
    (lastEventId = connection.origin || undefined) =>
      connection.client.subscribe('notifications/:user', { user }, { lastEventId }),
    [user],
  );
  const { notes, count } = useReduced(
    inbox,
    (last: Raised, { data }) => {
      const note = { ...data, replayed: connection.returnOf(data.at) !== null };
      return { notes: [note, ...last.notes].slice(0, LIMIT), count: last.count + 1 };
    },
    { notes: [], count: 0 },
  );
  const { status, error } = useConnectionState(inbox);
  const shown = useShown();
  const [read, setRead] = useState(0);
  const unread = Math.min(count - read, LIMIT);
  const state = status === 'closed' ? 'closed' : shown.status;
  return (
    <>
      <div className="card-head">
        <h2 className="card-title" id="inbox-heading">
          Notifications
        </h2>
        {unread > 0 && (
          <span className="badge" data-testid="unread-count" aria-label={counted(unread, 'unread notification')}>
            {unread}
          </span>
        )}
        <span className="stream-state" data-state={state} data-testid="notification-state">
          {error?.status === undefined ? state : `refused: ${error.status}`}
        </span>
      </div>
      <div className="inbox-bar">
        <label className="inbox-user">
          <span className="label">Inbox of</span>
          <select
            className="field field-select"
            data-testid="notification-user"
            value={user}
            onChange={({ target }) => onUser(target.value)}
          >
            {USERS.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          className="button button-quiet"
          data-testid="notification-read"
          disabled={unread === 0}
          onClick={() => setRead(count)}
        >
          Mark all read
        </button>
      </div>
      <div className="inbox" role="region" aria-label="Notifications" tabIndex={0}>
        <ol className="inbox-list" data-testid="notification-list">
          {notes.map((note, index) => (
            <li key={note.id} className="note" data-unread={index < unread} data-replayed={note.replayed}>
              <div className="note-head">
                <p className="note-title">{note.title}</p>
                {note.replayed && <span className="chip">replayed</span>}
                <time className="note-time" dateTime={note.at}>
                  {clockTime(Date.parse(note.at))}
                </time>
              </div>
              <p className="note-body">{note.body}</p>
            </li>
          ))}
        </ol>
        {notes.length === 0 && <p className="empty">{error?.message ?? 'Nothing yet. Raise one below.'}</p>}
      </div>
    </>
  );
}

function Raise({ user, toasts }: { readonly user: string; readonly toasts: Toasts | null }) {
  const raise = async (form: HTMLFormElement): Promise<void> => {
    const { to, title, body } = Object.fromEntries(new FormData(form)) as Record<'to' | 'title' | 'body', string>;
    try {
      await postJson(`/notifications/${encodeURIComponent(to)}`, { title, body });
    } catch (error) {
      toasts?.say('The notification was not raised', { tone: 'bad', detail: (error as Error).message });
      return;
    }
    form.reset();
    form.querySelector('input')?.focus();
    if (to !== user) toasts?.say(`Raised for ${to}`, { detail: `Only ${to} can see it.` });
    else if (connection.shown.status !== 'open') {
      toasts?.say(`Raised for ${to}`, { detail: 'It waits in the log until the connection is back.' });
    }
  };
  return (
    <form
      className="raise"
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        void raise(event.currentTarget);
      }}
    >
      <div className="raise-row">
        <div className="raise-to">
          <label className="label" htmlFor="notification-to">
            To
          </label>
          <select
            className="field field-select"
            id="notification-to"
            data-testid="notification-to"
            name="to"
            defaultValue={user}
          >
            {USERS.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </div>
        <div className="raise-title">
          <label className="label" htmlFor="notification-title">
            Title
          </label>
          <input
            className="field"
            id="notification-title"
            data-testid="notification-title"
            name="title"
            maxLength={120}
            placeholder="Margin call"
            required
          />
        </div>
      </div>
      <div className="raise-row">
        <div className="raise-body">
          <label className="label" htmlFor="notification-body">
            Body
          </label>
          <input
            className="field"
            id="notification-body"
            data-testid="notification-body"
            name="body"
            maxLength={500}
            placeholder="ACME fell below 95.00"
            required
          />
        </div>
        <button type="submit" className="button" data-testid="notification-submit">
          Raise
        </button>
      </div>
    </form>
  );
}
