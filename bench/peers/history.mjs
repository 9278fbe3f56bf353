/** What a user of a server without replay writes by hand: events kept in an array, those after `Last-Event-ID` sent first. */
export class History {
  #events = new Map();

  remember(channel, events) {
    this.#events.set(channel, events);
    return '0';
  }

  /** The events after the client's last; none for a client that brings no id. */
  after(channel, lastEventId) {
    if (!lastEventId) return [];
    return (this.#events.get(channel) ?? []).filter(({ sequence }) => sequence > Number(lastEventId));
  }
}
