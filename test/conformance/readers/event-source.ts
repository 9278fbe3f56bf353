/** Reads streams with npm's `eventsource`, which does in Node what a browser does: it reconnects by itself. */
import { EventSource } from 'eventsource';
import { Reading, urlOf, type Reader } from '../reading.js';

export const eventSource: Reader = {
  name: 'eventsource',
  sendsHeader: true,
  reconnects: true,

  open(request, names): Promise<Reading> {
    const reading = new Reading();
    let first = true;
    const source = new EventSource(urlOf(request), {
      fetch: async (url, init) => {
        const given: Record<string, string> =
          first && request.header !== undefined ? { 'last-event-id': request.header } : {};
        first = false;
        const response = await fetch(url, { ...init, headers: { ...request.headers, ...init.headers, ...given } });
        reading.status = response.status;
        reading.headers = Object.fromEntries(response.headers);
        return response;
      },
    });
    reading.handle = {
      leave: () => {
        source.close();
        reading.end();
      },
    };
    for (const name of names) {
      source.addEventListener(name, ({ type, data, lastEventId }) => reading.event(type, data as string, lastEventId));
    }
    return new Promise((resolve) => {
      source.addEventListener('open', () => resolve(reading));
      source.addEventListener('error', () => {
        if (source.readyState === EventSource.CLOSED) reading.end();
        resolve(reading);
      });
    });
  },
};
