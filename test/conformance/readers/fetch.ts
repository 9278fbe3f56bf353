/** Read streams with the global fetch (undici): one with our parser, one with npm's `eventsource-parser`. */
import { FrameParser } from '@sse-channels/protocol';
import { createParser } from 'eventsource-parser';
import { headersOf, Reading, urlOf, type Reader } from '../reading.js';

interface Parser {
  push(chunk: Uint8Array): void;
}

export const fetchWithFrameParser = fetchReader('fetch', (reading) => {
  const parser = new FrameParser({
    onEvent: ({ name, data, lastEventId }) => reading.event(name, data, lastEventId),
    onComment: () => reading.comment(),
  });
  return {
    push: (chunk) => {
      parser.push(chunk);
      if (!reading.left) reading.cursor = parser.lastEventId;
    },
  };
});

export const fetchWithEventsourceParser = fetchReader('eventsource-parser', (reading) => {
  const decoder = new TextDecoder();
  const parser = createParser({
    // It tells an id only with the event that brings one.
    onEvent: ({ event = 'message', data, id = reading.cursor }) => reading.event(event, data, id),
    onComment: () => reading.comment(),
  });
  return { push: (chunk) => parser.feed(decoder.decode(chunk, { stream: true })) };
});

function fetchReader(name: string, parserOf: (reading: Reading) => Parser): Reader {
  return {
    name,
    sendsHeader: true,
    reconnects: false,
    async open(request): Promise<Reading> {
      const abort = new AbortController();
      const response = await fetch(urlOf(request), { headers: headersOf(request), signal: abort.signal });
      const reading = new Reading();
      reading.status = response.status;
      reading.headers = Object.fromEntries(response.headers);
      reading.handle = { leave: () => abort.abort() };
      void pump(response, reading, response.status === 200 ? parserOf(reading) : undefined);
      return reading;
    },
  };
}

async function pump({ body }: Response, reading: Reading, parser: Parser | undefined): Promise<void> {
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body ?? []) {
      if (reading.left) break;
      reading.text += decoder.decode(chunk as Uint8Array, { stream: true });
      parser?.push(chunk as Uint8Array);
      reading.look();
    }
  } catch {
    // Cut, by us or by the server; what it means is the claim's to say.
  }
  reading.end();
}
