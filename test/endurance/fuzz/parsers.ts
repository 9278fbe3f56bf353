/** Three parsers that know nothing of each other, asked the same way: ours, npm's, and the standard's algorithm as it reads. */
import { FrameParser } from '@sse-channels/protocol';
import { createParser } from 'eventsource-parser';

/** What a block of the stream came to. */
export type Parsed =
  | { readonly kind: 'event'; readonly name: string; readonly data: string; readonly id: string | null }
  | { readonly kind: 'retry'; readonly retryMs: number }
  | { readonly kind: 'comment'; readonly text: string };

/** Reads a whole stream that comes in chunks. */
export interface Parser {
  readonly name: string;
  parse(chunks: readonly Uint8Array[]): Parsed[];
  /** What is after a comment's colon is told without the space that we write there. */
  readonly stripsCommentSpace: boolean;
  /** Whether it tells the id that holds at an event, or only one that its own block sets. */
  readonly idHolds: boolean;
  readonly tellsComments: boolean;
}

const ours: Parser = {
  name: 'FrameParser',
  stripsCommentSpace: false,
  idHolds: true,
  tellsComments: true,
  parse(chunks) {
    const parsed: Parsed[] = [];
    const parser = new FrameParser({
      onEvent: ({ name, data, lastEventId }) => parsed.push({ kind: 'event', name, data, id: lastEventId }),
      onRetry: (retryMs) => parsed.push({ kind: 'retry', retryMs }),
      onComment: (text) => parsed.push({ kind: 'comment', text }),
    });
    for (const chunk of chunks) parser.push(chunk);
    return parsed;
  },
};

const npm: Parser = {
  name: 'eventsource-parser',
  stripsCommentSpace: true,
  idHolds: false,
  tellsComments: true,
  parse(chunks) {
    const parsed: Parsed[] = [];
    const parser = createParser({
      onEvent: ({ event = 'message', data, id = null }) => parsed.push({ kind: 'event', name: event, data, id }),
      onRetry: (retryMs) => parsed.push({ kind: 'retry', retryMs }),
      onComment: (text) => parsed.push({ kind: 'comment', text }),
      onError: (error) => {
        throw error;
      },
    });
    const decoder = new TextDecoder();
    for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
    return parsed;
  },
};

/** https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, once everything has come. */
const naive: Parser = {
  name: 'the standard, naively',
  stripsCommentSpace: false,
  idHolds: true,
  tellsComments: false,
  parse(chunks) {
    const parsed: Parsed[] = [];
    const stream = new TextDecoder('utf-8').decode(Buffer.concat(chunks));
    const lines = stream.split(/\r\n|\n|\r/);
    // What follows the last line end is no line yet.
    lines.pop();
    let dataBuffer = '';
    let eventTypeBuffer = '';
    let lastEventIdBuffer = '';
    for (const line of lines) {
      if (line === '') {
        if (dataBuffer !== '') {
          const data = dataBuffer.replace(/\n$/, '');
          parsed.push({ kind: 'event', name: eventTypeBuffer || 'message', data, id: lastEventIdBuffer });
        }
        dataBuffer = '';
        eventTypeBuffer = '';
        continue;
      }
      const [, field = '', value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? [];
      if (field === 'event') eventTypeBuffer = value;
      else if (field === 'data') dataBuffer += `${value}\n`;
      else if (field === 'id' && !value.includes('\0')) lastEventIdBuffer = value;
      else if (field === 'retry' && /^[0-9]+$/.test(value)) parsed.push({ kind: 'retry', retryMs: Number(value) });
    }
    return parsed;
  },
};

export const PARSERS: readonly Parser[] = [ours, npm, naive];
