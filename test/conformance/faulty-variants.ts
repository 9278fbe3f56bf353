/** Applications with one fault each: the suite is only worth what it catches. */
import { closeSync, openSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { MemoryBackplane, type Backplane, type EventRecord } from '@sse-channels/nest';
import type { Fault } from './own-target.js';

/** A fault, the claim that it breaks, and how the suite says so. */
export interface FaultyVariant {
  readonly fault: string;
  readonly claim: string;
  readonly finding: RegExp;
  readonly make: () => Fault;
  /** Seen only by a client that reconnects by itself. */
  readonly needsEventSource?: true;
}

type ReadMethod = Backplane['read'];
type ReadPage = Awaited<ReturnType<ReadMethod>>;

/** How long after an append a log counts as being written to, in milliseconds. */
const BUSY_MS = 20;

export const FAULTY_VARIANTS: readonly FaultyVariant[] = [
  {
    fault: '$open comes late, with the first event',
    claim: 'fresh',
    finding: /the stream began with \w+, not with \$open/,
    make: () => {
      const held = new WeakMap<ServerResponse, string>();
      return onFrames((frames, response) => {
        if (frames.includes('event: $open')) held.set(response, frames);
        if (frames.includes('event: $open') || !frames.includes('event: conformance')) return '';
        return (held.get(response) ?? '') + frames;
      });
    },
  },
  {
    fault: 'the data of $open is of another protocol',
    claim: 'fresh',
    finding: /\$open says/,
    make: () => onFrames((frames) => frames.replace('{"protocol":1,', '{"protocol":2,')),
  },
  {
    fault: 'a NUL in an id',
    claim: 'cursors',
    finding: /NUL/,
    make: () => onFrames((frames) => frames.replaceAll(/^id: .*$/gm, '$&\0')),
  },
  {
    fault: 'events without an id',
    claim: 'cursors',
    finding: /has no cursor of its own/,
    make: () => onFrames((frames) => frames.replaceAll(/^id: .*\n(?=event: conformance)/gm, '')),
  },
  {
    fault: 'a cursor counts one event too late: the next one is lost',
    claim: 'every-position',
    finding: /lost: \d+/,
    make: () =>
      onRead((page, start) => (typeof start === 'string' ? { ...page, records: page.records.slice(1) } : page)),
  },
  {
    fault: 'a cursor counts one event too early: the last one comes again',
    claim: 'every-position',
    finding: /not to be expected: \d+/,
    make: () =>
      onRead(async (page, start, read) => {
        if (typeof start !== 'string') return page;
        const all = await read(null);
        const before = all.records.filter(({ offset }) => offset <= start);
        return read(before.at(-2)?.offset ?? all.from);
      }),
  },
  {
    fault: 'a gap is told falsely',
    claim: 'every-position',
    finding: /1 gap told falsely/,
    make: () =>
      onRead((page, start) => (typeof start === 'string' ? { ...page, intact: false, reason: 'trimmed' } : page)),
  },
  {
    fault: 'the query wins over the header',
    claim: 'header-over-query',
    finding: /header at \d/,
    make: queryWins,
  },
  {
    fault: 'the query wins over the header, as a native EventSource sees it',
    claim: 'cuts',
    finding: /an EventSource that was cut: doubled/,
    make: queryWins,
    needsEventSource: true,
  },
  {
    fault: 'a garbage cursor is answered 500',
    claim: 'garbage-cursors',
    finding: /was answered 500/,
    make: () => refuse((cursor) => cursor !== '$end' && !/^[\w-]+~\w+-\w+$/.test(cursor)),
  },
  {
    fault: 'the cursor is repeated in a header',
    claim: 'garbage-cursors',
    finding: /the answer repeats what the client sent/,
    make: () => onCursor((cursor, _, response) => void response.setHeader('x-cursor', encodeURIComponent(cursor))),
  },
  {
    fault: 'the cursor is repeated in the stream',
    claim: 'garbage-cursors',
    finding: /the answer repeats what the client sent/,
    make: () =>
      onFrames((frames, { req }) =>
        frames.replace('"reason":"invalid"', `$&,"cursor":${JSON.stringify(cursorOf(req))}`),
      ),
  },
  {
    fault: 'an oversized cursor is answered 500',
    claim: 'oversized-cursors',
    finding: /was answered 500/,
    make: () => refuse((cursor) => cursor.length > 1_000),
  },
  {
    fault: 'the epoch of a cursor is not looked at',
    claim: 'foreign-epoch',
    finding: /after \$open came conformance.counted, not the \$gap/,
    make: () => {
      const backplane = new MemoryBackplane();
      const own = (cursor: string): string => cursor.replace(/^[^~]+/, backplane.epoch);
      return {
        backplane: () => backplane,
        ...onCursor((cursor, { headers }) => void (headers['last-event-id'] = own(cursor))),
      };
    },
  },
  {
    fault: 'a cursor from after the end is silently live',
    claim: 'future-cursor',
    finding: /after \$open came conformance.counted, not the \$gap/,
    make: () => onRead((page) => (page.reason === 'rewound' ? silent(page) : page)),
  },
  {
    fault: 'an evicted cursor is silently live: the gap is not told',
    claim: 'evicted-cursor',
    finding: /no \$gap was told, but \d+ events are missing/,
    make: () => onRead((page) => (page.reason === 'trimmed' ? silent(page) : page)),
  },
  {
    fault: '200 for $end',
    claim: 'final-cursor',
    finding: /\$end was answered 200, not 204/,
    make: () => onCursor((cursor, { headers }) => void (cursor === '$end' && delete headers['last-event-id'])),
  },
  {
    fault: 'no heartbeats',
    claim: 'heartbeat-when-quiet',
    finding: /no 2 heartbeats/,
    make: () => onFrames((frames) => (frames.startsWith(':') ? '' : frames)),
  },
  {
    fault: 'heartbeats by the clock, whatever else was sent',
    claim: 'no-heartbeat-when-busy',
    finding: /a heartbeat was sent within/,
    make: () =>
      onStream((response) => {
        const timer = setInterval(() => response.write(':\n\n'), 10);
        response.on('close', () => clearInterval(timer));
      }),
  },
  {
    fault: 'a heartbeat takes the cursor away',
    claim: 'heartbeat-keeps-cursor',
    finding: /a heartbeat took the cursor away/,
    make: () => onFrames((frames) => frames.replace(/^:\nid: .*$/m, ':\nid')),
  },
  {
    fault: 'a heartbeat sets the cursor back to where the stream began',
    claim: 'heartbeat-keeps-cursor',
    finding: /not to be expected: \d+/,
    make: () => {
      const begun = new WeakMap<ServerResponse, string>();
      return onFrames((frames, response) => {
        if (frames.includes('event: $open')) begun.set(response, /^id: .*$/m.exec(frames)?.[0] ?? '');
        return frames.replace(/^:\nid: .*$/m, `:\n${begun.get(response)}`);
      });
    },
  },
  {
    fault: 'data is split at a character that is no line end of the format',
    claim: 'texts',
    finding: /did not come as JSON/,
    make: () => onFrames((frames) => frames.replaceAll('\u2028', '\ndata: ')),
  },
  {
    fault: 'leading spaces of a text are lost',
    claim: 'texts',
    finding: /" leading and trailing " came as "leading and trailing "/,
    make: () => onFrames((frames) => frames.replaceAll('"text":" ', '"text":"')),
  },
  {
    fault: 'one topic is taken for another',
    claim: 'names',
    finding: /lost: \d+/,
    make: () =>
      onRequest((request) => {
        if (request.method === 'GET') request.url = request.url?.replace('__proto__', 'constructor');
      }),
  },
  {
    fault: 'replay and live are swapped where they meet',
    claim: 'seam',
    finding: /out of order|not to be expected/,
    make: () => onBusyRead((records) => [...records.slice(0, -2), ...records.slice(-2).toReversed()]),
  },
  {
    fault: 'an event comes twice where replay and live meet',
    claim: 'seam',
    finding: /doubled/,
    make: () => onBusyRead((records) => [...records, ...records.slice(-1)]),
  },
  {
    fault: 'an event is lost where replay and live meet',
    claim: 'seam',
    finding: /lost: \d+/,
    make: () => onBusyRead((records) => records.slice(0, -1)),
  },
  {
    fault: 'an event is lost when a client is killed',
    claim: 'kills',
    finding: /lost: \d+/,
    make: () => {
      const state = { killed: false };
      const killed = onStream((response) => response.on('close', () => (state.killed = true)));
      return { ...killed, ...onTail(() => state.killed && !(state.killed = false)) };
    },
  },
  {
    fault: 'some of many who come back at once miss an event',
    claim: 'reconnect-storm',
    finding: /lost: \d+/,
    make: () => {
      const opened = new WeakMap<ServerResponse, number>();
      let count = 0;
      return onFrames((frames, response) => {
        const begins = frames.includes('event: $open');
        if (begins) opened.set(response, (count += 1));
        const loses = !begins && (opened.get(response) ?? 0) % 10 === 9;
        if (loses) opened.delete(response);
        return loses ? frames.replace(/^id: .*\nevent: conformance.*\n.*\n\n/m, '') : frames;
      });
    },
  },
  {
    fault: 'the word that a socket has drained is dropped',
    claim: 'stalled-readers',
    finding: /lost: \d+/,
    make: () => ({
      server: (server) =>
        server.on('connection', (socket: Socket) => {
          const emit = socket.emit.bind(socket) as (...words: unknown[]) => boolean;
          socket.emit = ((...words: unknown[]) => words[0] !== 'drain' && emit(...words)) as typeof socket.emit;
        }),
    }),
  },
  {
    fault: 'nobody gets anything while somebody stalls',
    claim: 'stalled-readers',
    finding: /lost: \d+/,
    make: () => {
      const open = new Set<ServerResponse>();
      return onFrames((frames, response) => {
        if (!open.has(response)) open.add(response.once('close', () => open.delete(response)));
        return [...open].some((other) => other !== response && other.writableNeedDrain) ? '' : frames;
      });
    },
  },
  {
    fault: 'every stream leaves a descriptor open',
    claim: 'churn',
    finding: /descriptors after the clients have left/,
    make: () => {
      const left: number[] = [];
      const leaking = onStream(() => left.push(openSync('/dev/null', 'r')));
      return {
        server: (server) => {
          leaking.server?.(server);
          server.once('close', () => left.forEach((descriptor) => closeSync(descriptor)));
        },
      };
    },
  },
  {
    fault: 'a log in memory says after a restart that it is the one from before',
    claim: 'restart',
    finding: /no \$gap was told, the log is that of another process/,
    make: () => wrapped(() => ({ epoch: 'always' })),
  },
  {
    fault: 'streams end without $closing',
    claim: 'drain',
    finding: /the last event was \S+, not \$closing/,
    make: () => onFrames((frames) => frames.replace(/^retry: .*\nevent: \$closing\n.*\n\n/m, '')),
  },
  {
    fault: 'what was acknowledged last is not sent before $closing',
    claim: 'drain',
    finding: /lost: \d+/,
    make: () =>
      onFrames((frames, _, write) => {
        if (!frames.includes('event: conformance')) return frames;
        setTimeout(write, 40, frames);
        return '';
      }),
  },
];

function silent(page: ReadPage): ReadPage {
  return { ...page, intact: true, reason: null };
}

function queryWins(): Fault {
  return onRequest(({ url = '', headers }) => {
    if (url.includes('lastEventId=')) delete headers['last-event-id'];
  });
}

function cursorOf({ headers, url = '' }: IncomingMessage): string {
  const query = new URL(url, 'http://localhost').searchParams.get('lastEventId');
  return String(headers['last-event-id'] ?? query ?? '');
}

/** Looks at each request before the application does; what answers true has answered it. */
function onRequest(look: (request: IncomingMessage, response: ServerResponse) => unknown): Fault {
  return {
    server: (server: Server) => {
      const emit = server.emit.bind(server) as (...words: unknown[]) => boolean;
      server.emit = ((name: string, ...words: unknown[]) => {
        const [request, response] = words as [IncomingMessage, ServerResponse];
        return (name === 'request' && look(request, response) === true) || emit(name, ...words);
      }) as typeof server.emit;
    },
  };
}

/** The same for requests that bring a cursor. */
function onCursor(look: (cursor: string, request: IncomingMessage, response: ServerResponse) => unknown): Fault {
  return onRequest((request, response) => {
    const cursor = cursorOf(request);
    return cursor === '' ? undefined : look(cursor, request, response);
  });
}

function refuse(refused: (cursor: string) => boolean): Fault {
  return onCursor((cursor, _, response) => {
    if (!refused(cursor)) return false;
    response.writeHead(500).end();
    return true;
  });
}

function onStream(look: (response: ServerResponse) => unknown): Fault {
  return onRequest(({ method }, response) => {
    if (method === 'GET') look(response);
  });
}

/** Changes what is written to a stream, some whole frames at a time; `write` writes some later, while the stream is open. */
function onFrames(
  change: (frames: string, response: ServerResponse, write: (frames: string) => void) => string,
): Fault {
  return onStream((response) => {
    const writeBytes = response.write.bind(response) as (bytes: Buffer) => boolean;
    const write = (frames: string): boolean => !response.writableEnded && writeBytes(Buffer.from(frames));
    response.write = ((bytes: Buffer) => {
      const changed = change(bytes.toString('utf8'), response, write);
      return changed === '' ? !response.writableNeedDrain : write(changed);
    }) as typeof response.write;
  });
}

/** A memory backplane with some of its methods replaced. */
function wrapped(replace: (backplane: Backplane) => Partial<Backplane>): Fault {
  return {
    backplane: () => {
      const backplane: Backplane = new MemoryBackplane();
      return {
        epoch: backplane.epoch,
        capabilities: backplane.capabilities,
        state: backplane.state,
        ready: () => backplane.ready(),
        append: (...draft) => backplane.append(...draft),
        read: (...query) => backplane.read(...query),
        tail: (...listener) => backplane.tail(...listener),
        close: () => backplane.close(),
        ...replace(backplane),
      };
    },
  };
}

/** Changes what is read from the log; `read` reads the same topic from another start. */
function onRead(
  change: (
    page: ReadPage,
    start: Parameters<ReadMethod>[1],
    read: (start: Parameters<ReadMethod>[1]) => Promise<ReadPage>,
  ) => ReadPage | Promise<ReadPage>,
): Fault {
  return wrapped((backplane) => ({
    read: async (filter, start, limit) =>
      change(await backplane.read(filter, start, limit), start, (other) => backplane.read(filter, other, limit)),
  }));
}

/** Changes the records of a page that ends at a head which is moving. */
function onBusyRead(change: (records: readonly EventRecord[]) => readonly EventRecord[]): Fault {
  return onRead((page) => {
    const newest = page.records.at(-1);
    const busy = !page.more && newest !== undefined && Date.now() - newest.time < BUSY_MS;
    return busy ? { ...page, records: change(page.records) } : page;
  });
}

/** A tail that loses records so that nobody sees it: the next one claims to follow the one before. */
function onTail(loses: (record: EventRecord) => boolean): Fault {
  return wrapped((backplane) => ({
    tail: (filter, onRecord, onLoss) => {
      let prev: string | null | undefined;
      return backplane.tail(
        filter,
        (record) => {
          const bridged = prev === undefined ? record : { ...record, prev };
          prev = loses(record) ? bridged.prev : undefined;
          if (prev === undefined) onRecord(bridged);
        },
        onLoss,
      );
    },
  }));
}
