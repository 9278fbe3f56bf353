import v8 from 'node:v8';
import vm from 'node:vm';
import { describe, expect, it, jest } from '@jest/globals';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { FrameParser, type FrameParserOptions, type ParsedEvent } from './frame-parser.js';

type Chunk = Uint8Array | string;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const tooLarge = (message: string) => expect.objectContaining({ code: 'FRAME_TOO_LARGE', message }) as unknown as Error;
const event = (data: string, lastEventId = '', name = 'message'): ParsedEvent => ({ name, data, lastEventId });

/** What `act` gives, and how many characters it searched for line ends and colons. */
function searchedBy<T>(act: () => T): { result: T; characters: number } {
  let characters = 0;
  const { indexOf, split } = String.prototype;
  const searches = jest.spyOn(String.prototype, 'indexOf').mockImplementation(function (this: string, text, from = 0) {
    const found = indexOf.call(this, text, from);
    characters += (found === -1 ? this.length : found + 1) - from;
    return found;
  });
  const splits = jest.spyOn(String.prototype, 'split').mockImplementation(function (this: string, separator, limit) {
    characters += this.length;
    return split.call(this, separator, limit);
  });
  try {
    const result = act();
    return { result, characters };
  } finally {
    searches.mockRestore();
    splits.mockRestore();
  }
}

/** Everything that a parser says about these chunks. */
function read(chunks: Iterable<Chunk>, options: Partial<FrameParserOptions> = {}) {
  const events: ParsedEvent[] = [];
  const retries: number[] = [];
  const comments: string[] = [];
  const parser = new FrameParser({
    onEvent: (parsed) => events.push(parsed),
    onRetry: (retryMs) => retries.push(retryMs),
    onComment: (comment) => comments.push(comment),
    ...options,
  });
  for (const chunk of chunks) parser.push(chunk);
  return { events, retries, comments, lastEventId: parser.lastEventId };
}

const eventsOf = (...chunks: Chunk[]) => read(chunks).events;

describe('FrameParser on lines', () => {
  it.each([
    ['LF', 'data: a\ndata: b\n\n'],
    ['CR', 'data: a\rdata: b\r\r'],
    ['CRLF', 'data: a\r\ndata: b\r\n\r\n'],
    ['CR, then LF', 'data: a\rdata: b\n\n'],
    ['LF, then CR', 'data: a\ndata: b\r\r'],
    ['CRLF, then CR', 'data: a\r\ndata: b\r\n\r'],
    ['CR, then CRLF', 'data: a\rdata: b\r\r\n'],
    ['LF, then CRLF', 'data: a\ndata: b\n\r\n'],
  ])('takes %s as the line end', (_name, stream) => {
    expect(eventsOf(stream)).toEqual([event('a\nb')]);
    expect(eventsOf(bytes(stream))).toEqual([event('a\nb')]);
  });

  it('takes LF before CR as two line ends, so the block is over', () => {
    expect(eventsOf('data: a\n\rdata: b\n\r')).toEqual([event('a'), event('b')]);
  });

  it('takes a CRLF that is cut between two chunks as one line end', () => {
    expect(eventsOf('data: a\r', '\ndata: b\r', '\n\r', '\n')).toEqual([event('a\nb')]);
    expect(eventsOf(bytes('data: a\r'), bytes('\ndata: b\r'), bytes('\n\r'), bytes('\n'))).toEqual([event('a\nb')]);
  });

  it('still takes it as one with an empty chunk in the cut', () => {
    expect(eventsOf('data: a\r', '', '\ndata: b\n\n')).toEqual([event('a\nb')]);
  });

  it('dispatches at a CR that ends a chunk, without waiting for the LF that may follow', () => {
    expect(eventsOf('data: a\r\r')).toEqual([event('a')]);
  });

  it('skips only one LF after a CR that ends a chunk', () => {
    expect(eventsOf('data: a\r', '\n\ndata: b\n\n')).toEqual([event('a'), event('b')]);
  });

  it('does not take the other line ends of Unicode for one', () => {
    expect(eventsOf('data: a\u2028b\u2029c\u0085d\ve\f\n\n')).toEqual([event('a\u2028b\u2029c\u0085d\ve\f')]);
  });

  it('joins a line that comes in many chunks', () => {
    expect(eventsOf('da', 'ta', ':', ' ', 'a', 'b', '\n', '\n')).toEqual([event('ab')]);
  });
});

describe('FrameParser on characters', () => {
  it('strips one byte order mark at the start of the stream', () => {
    expect(eventsOf('\ufeffdata: a\n\n')).toEqual([event('a')]);
    expect(eventsOf(bytes('\ufeffdata: a\n\n'))).toEqual([event('a')]);
  });

  it('strips it when it comes alone, or byte by byte', () => {
    expect(eventsOf('', '\ufeff', 'data: a\n\n')).toEqual([event('a')]);
    expect(eventsOf(...Array.from(bytes('\ufeffdata: a\n\n'), (byte) => Uint8Array.of(byte)))).toEqual([event('a')]);
  });

  it('leaves a second byte order mark in the name of the field, which is then unknown', () => {
    expect(eventsOf('\ufeff\ufeffdata: a\n\n')).toEqual([]);
    expect(eventsOf(bytes('\ufeff\ufeffdata: a\n\n'))).toEqual([]);
    expect(eventsOf('\ufeff', '\ufeffdata: a\n\n')).toEqual([]);
  });

  it('leaves a byte order mark that comes later where it is', () => {
    expect(eventsOf('data: \ufeffa\n\n', '\ufeffdata: b\n\n')).toEqual([event('\ufeffa')]);
    expect(eventsOf(bytes('data: \ufeffa\n\n'), bytes('\ufeffdata: b\n\n'))).toEqual([event('\ufeffa')]);
  });

  it('does not take the three characters of a misread byte order mark for one', () => {
    expect(eventsOf('\u00ef\u00bb\u00bfdata: a\n\n')).toEqual([]);
  });

  it('joins characters of two, three and four bytes that are cut between chunks', () => {
    const stream = bytes('event: é\nid: €\ndata: 𝄞 é€\n\n');

    expect(eventsOf(...Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual([event('𝄞 é€', '€', 'é')]);
  });

  it('joins a surrogate pair that is cut between two strings', () => {
    expect(eventsOf('data: \ud834', '\udd1e\n\n')).toEqual([event('𝄞')]);
  });

  it('reads malformed UTF-8 as the replacement character and goes on', () => {
    expect(eventsOf(Uint8Array.from([...bytes('data: a'), 0xff, 0xe2, 0x82, ...bytes('b\n\n')]))).toEqual([
      event('a\ufffd\ufffdb'),
    ]);
  });

  it('reads a chunk that is a view into a larger buffer', () => {
    expect(eventsOf(bytes('XXdata: a\n\nXX').subarray(2, 11))).toEqual([event('a')]);
  });
});

describe('FrameParser on fields', () => {
  it('strips one leading space of a value, no second one, no tab and nothing at the end', () => {
    expect(eventsOf('data:a\n\n', 'data: a\n\n', 'data:  a \n\n', 'data:\ta\n\n', 'data: \n\n')).toEqual([
      event('a'),
      event('a'),
      event(' a '),
      event('\ta'),
      event(''),
    ]);
  });

  it('cuts a field at its first colon only', () => {
    expect(eventsOf('data: a: b:c\n\n', 'data::a\n\n')).toEqual([event('a: b:c'), event(':a')]);
  });

  it('takes a line without a colon as a field with an empty value', () => {
    expect(eventsOf('data\n\n', 'data\ndata\n\n', 'event: x\nid: 1\nevent\nid\ndata\n\n')).toEqual([
      event(''),
      event('\n'),
      event(''),
    ]);
  });

  it('joins data lines by LF, empty ones included', () => {
    expect(eventsOf('data: a\ndata:\ndata: b\ndata\n\n')).toEqual([event('a\n\nb\n')]);
  });

  it('ignores unknown fields, other cases and fields with a space around the name', () => {
    expect(eventsOf('foo: 1\nfoo\nData: a\n data: b\ndata : c\nDATA: d\ndatas: e\ndata: f\n\n')).toEqual([event('f')]);
  });

  it('hands over comments without their colon and lets them end nothing', () => {
    const { events, comments } = read([':\ndata: a\n: heartbeat\n:data: no\ndata: b\n\n::\n']);

    expect(events).toEqual([event('a\nb')]);
    expect(comments).toEqual(['', ' heartbeat', 'data: no', ':']);
  });

  it('needs nobody who listens to comments or to retry', () => {
    const { events } = read([': c\nretry: 1\ndata: a\n\n'], { onComment: undefined, onRetry: undefined });

    expect(events).toEqual([event('a')]);
  });

  it('keeps NUL in data and names', () => {
    expect(eventsOf('event: a\0b\ndata: c\0d\n\n')).toEqual([event('c\0d', '', 'a\0b')]);
  });

  it('takes the last event name of a block, and "message" for an empty one', () => {
    expect(eventsOf('event: a\nevent: b\ndata: 1\n\n', 'event: a\nevent:\ndata: 2\n\n')).toEqual([
      event('1', '', 'b'),
      event('2'),
    ]);
  });

  it('forgets the event name after its block, with and without data', () => {
    expect(eventsOf('event: a\ndata: 1\n\ndata: 2\n\n', 'event: b\n\ndata: 3\n\n')).toEqual([
      event('1', '', 'a'),
      event('2'),
      event('3'),
    ]);
  });

  it('says retry at once, only for values of ASCII digits', () => {
    const { retries } = read([
      'retry: 1500\nretry:0\nretry: 007\nretry: -1\nretry: +1\nretry: 1.5\nretry: 1e3\nretry: 0x10\n',
      'retry:  5\nretry: 5 \nretry\nretry:\nretry: \nretry: ١٢\nretry: soon\n',
    ]);

    expect(retries).toEqual([1500, 0, 7]);
  });

  it('says a safe integer for a retry of hundreds of digits', () => {
    expect(read([`retry: ${'9'.repeat(400)}\n`]).retries).toEqual([Number.MAX_SAFE_INTEGER]);
  });
});

describe('FrameParser on ids and blocks', () => {
  it('keeps the id over later events until another block sets it', () => {
    expect(eventsOf('id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n')).toEqual([
      event('a', '1'),
      event('b', '1'),
      event('c', '2'),
    ]);
  });

  it('moves the last event id by a block that has only an id, without an event', () => {
    const onlyId = read(['id: 7\n\n']);
    const thenEvent = read(['id: 7\n\ndata: a\n\n']);

    expect(onlyId).toEqual({ events: [], retries: [], comments: [], lastEventId: '7' });
    expect(thenEvent.events).toEqual([event('a', '7')]);
  });

  it('does not move the last event id before the block ends', () => {
    expect(read(['id: 1\ndata: a\n\nid: 2\ndata: b\n']).lastEventId).toBe('1');
  });

  it.each(['id\n', 'id:\n', 'id: \n'])('resets the id by %j', (line) => {
    const { events, lastEventId } = read([`id: 1\ndata: a\n\n${line}data: b\n\n`]);

    expect(events).toEqual([event('a', '1'), event('b', '')]);
    expect(lastEventId).toBe('');
  });

  it('ignores an id with a NUL and keeps the one before', () => {
    expect(eventsOf('id: 1\nid: 2\0\ndata: a\n\nid: \0\ndata: b\n\n')).toEqual([event('a', '1'), event('b', '1')]);
  });

  it('dispatches nothing for a block without data, however many there are', () => {
    expect(eventsOf('\n\n\nevent: a\n\nretry: 1\n\n: c\n\n\n')).toEqual([]);
  });

  it('discards a last block that no empty line ends', () => {
    expect(eventsOf('data: a\n\ndata: b\n')).toEqual([event('a')]);
    expect(eventsOf('data: a\n\ndata: b')).toEqual([event('a')]);
    expect(read(['id: 1\n\nid: 2']).lastEventId).toBe('1');
  });

  it.each([
    ['of three lines', 'data: YHOO\ndata: +2\ndata: 10\n\n', [event('YHOO\n+2\n10')]],
    [
      'of four blocks',
      ': test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n',
      [event('first event', '1'), event('second event')],
    ],
    ['of empty data', 'data\n\ndata\ndata\n\ndata:', [event(''), event('\n')]],
    ['of the optional space', 'data:test\n\ndata: test\n\n', [event('test'), event('test')]],
  ])('reads the example %s in the standard', (_name, stream, events) => {
    expect(eventsOf(stream)).toEqual(events);
  });
});

describe('FrameParser on bounds', () => {
  const lineTooLong = tooLarge(
    'A line of the event stream is longer than 10 characters; send less, or raise "maxLength".',
  );
  const dataTooLong = tooLarge(`An event's data is longer than 10 characters; send less, or raise "maxLength".`);
  const bounded = (...chunks: Chunk[]) => read(chunks, { maxLength: 10 }).events;

  it('takes a line of exactly the bound and refuses a longer one', () => {
    expect(bounded('data: 6789\n\n')).toEqual([event('6789')]);
    expect(() => bounded('data: 67890\n\n')).toThrow(lineTooLong);
  });

  it('refuses a line as soon as it is too long, before its end comes', () => {
    expect(() => bounded('data: 6789', '0')).toThrow(lineTooLong);
    expect(() => bounded(bytes('data: '), bytes('67890'))).toThrow(lineTooLong);
  });

  it('bounds comments and unknown fields as well', () => {
    expect(() => bounded(':', '1234567890')).toThrow(lineTooLong);
    expect(() => bounded('unknown: 9', '0')).toThrow(lineTooLong);
  });

  it('bounds the data of one event, the line feeds between its lines counted', () => {
    expect(bounded('data:12345\ndata:7890\n\n')).toEqual([event('12345\n7890')]);
    expect(() => bounded('data:12345\ndata:78901\n')).toThrow(dataTooLong);
  });

  it('bounds an event of empty data lines', () => {
    expect(bounded(`${'data\n'.repeat(11)}\n`)).toEqual([event('\n'.repeat(10))]);
    expect(() => bounded('data\n'.repeat(12))).toThrow(dataTooLong);
  });

  it('counts each event on its own', () => {
    const stream = 'data:12345\ndata:7890\n\n'.repeat(3);

    expect(bounded(stream)).toEqual([event('12345\n7890'), event('12345\n7890'), event('12345\n7890')]);
  });

  it('takes lines of 16 MiB unless told otherwise', () => {
    const parser = new FrameParser({ onEvent: () => {} });
    parser.push(':'.repeat(16_777_216));

    expect(() => parser.push(':')).toThrow(
      tooLarge('A line of the event stream is longer than 16777216 characters; send less, or raise "maxLength".'),
    );
  });

  it('looks at each character a bounded number of times when a line comes byte by byte', () => {
    const value = 'x'.repeat(50_000);
    const { result, characters } = searchedBy(() =>
      eventsOf(...Array.from(bytes(`data: ${value}\n\n`), (byte) => Uint8Array.of(byte))),
    );

    expect(result).toEqual([event(value)]);
    expect(characters).toBeGreaterThan(50_000);
    expect(characters).toBeLessThan(4 * 50_000);
  });

  it.each([
    ['CR with one LF at its end', `${'data\r'.repeat(10_000)}\n`],
    ['LF with one CR at its end', `${'data\n'.repeat(10_000)}\r`],
    ['CRLF', `${'data\r\n'.repeat(10_000)}\r\n`],
  ])('looks at each character a bounded number of times in a chunk of ten thousand lines of %s', (_name, stream) => {
    const { characters } = searchedBy(() => eventsOf(stream));

    expect(characters).toBeGreaterThan(stream.length);
    expect(characters).toBeLessThan(4 * stream.length);
  });

  it('keeps the data of an unfinished event, not the chunks that it came in', () => {
    v8.setFlagsFromString('--expose-gc');
    const collect = vm.runInNewContext('gc') as () => void;
    const chunk = bytes(`:${'x'.repeat(1_000_000)}\ndata: sixteen letters.\n`);
    const parser = new FrameParser({ onEvent: () => {} });
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let pushed = 0; pushed < 64; pushed += 1) parser.push(chunk);
    collect();

    expect(process.memoryUsage().heapUsed - before).toBeLessThan(16_000_000);
    parser.push('\n');
  });
});

/** The standard, read naively: the whole stream at once, line by line. */
function specified(stream: string): ReturnType<typeof read> {
  const said: ReturnType<typeof read> = { events: [], retries: [], comments: [], lastEventId: '' };
  let [data, name, id] = ['', '', ''];
  const lines = stream.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  for (const line of lines.slice(0, -1)) {
    const [, field = '', colon, value = ''] = /^([^:]*)(?:(:) ?(.*))?$/s.exec(line) ?? [];
    if (line === '') {
      said.lastEventId = id;
      if (data !== '') said.events.push(event(data.slice(0, -1), id, name || 'message'));
      [data, name] = ['', ''];
    } else if (field === '' && colon) said.comments.push(line.slice(1));
    else if (field === 'event') name = value;
    else if (field === 'data') data += `${value}\n`;
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) said.retries.push(Number(value));
  }
  return said;
}

describe('FrameParser on any stream', () => {
  const lineEnds = ['\n', '\n', '\n', '\r', '\r\n', '\n\n', '\r\r', '\r\n\r\n'];
  const syntax = [':', ' ', ': ', '\ufeff', '\0', 'data', 'event', 'id', 'retry', 'data:', 'data: ', 'id: ', 'event: '];
  const texts = ['a', '0', '17', 'retry: 250', 'unknown', 'Data', 'é', '€', '𝄞', '\u2028', '\u0085', '\t'];
  const token = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...lineEnds) },
    { weight: 6, arbitrary: fc.constantFrom(...syntax) },
    { weight: 3, arbitrary: fc.constantFrom(...texts) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
  );
  const stream = fc.array(token, { maxLength: 80 }).map((tokens) => tokens.join(''));
  const places = fc.array(fc.nat(), { maxLength: 12 });

  /** Cuts a stream at these places; some chunks may be empty. */
  function cut<T extends Chunk>(whole: T, at: readonly number[]): T[] {
    const ends = at.map((place) => place % (whole.length + 1)).sort((a, b) => a - b);
    return [...ends, whole.length].map((end, index) => whole.slice(ends[index - 1] ?? 0, end) as T);
  }

  it('says what the standard says', () => {
    fc.assert(
      fc.property(stream, (text) => {
        expect(read([bytes(text)])).toEqual(specified(text));
      }),
      { numRuns: 300 },
    );
  });

  it('says the same however the bytes are cut', () => {
    fc.assert(
      fc.property(stream, places, (text, at) => {
        expect(read(cut(bytes(text), at))).toEqual(read([bytes(text)]));
      }),
      { numRuns: 300 },
    );
  });

  it('says the same however the text is cut, inside surrogate pairs as well', () => {
    fc.assert(
      fc.property(stream, places, (text, at) => {
        expect(read(cut(text, at))).toEqual(read([bytes(text)]));
      }),
      { numRuns: 300 },
    );
  });

  it('says the same byte by byte, malformed UTF-8 included', () => {
    const piece = fc.oneof(
      token.map((text) => [...bytes(text)]),
      fc.constantFrom([0xef], [0xbb, 0xbf], [0xf0, 0x9f], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xc0], [0xff], [0x80]),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const whole = Uint8Array.from(pieces.flat());
        expect(read(Array.from(whole, (byte) => Uint8Array.of(byte)))).toEqual(read([whole]));
      }),
      { numRuns: 300 },
    );
  });

  it('says the same as eventsource-parser', () => {
    fc.assert(
      fc.property(stream, places, (text, at) => {
        const theirs: EventSourceMessage[] = [];
        const theirRetries: number[] = [];
        const peer = createParser({
          onEvent: (message) => theirs.push(message),
          onRetry: (retryMs) => theirRetries.push(retryMs),
        });
        // It takes decoded text and looks for the mark's bytes there, so the mark has to be gone before.
        peer.feed(new TextDecoder().decode(bytes(text)));
        // It holds a CR that ends a chunk until it knows whether an LF follows; the standard ends the line at the CR.
        // One LF makes it a CRLF, which is the same line end.
        if (text.endsWith('\r')) peer.feed('\n');

        const ours = read(cut(bytes(text), at));
        expect(ours.retries).toEqual(theirRetries);
        expect(ours.events).toEqual(
          theirs.map(({ event: name = 'message', data, id }, index) => ({
            name,
            data,
            // It says an id only for the block that carried it; where the standard lets an older one hold, it says none.
            lastEventId: id ?? ours.events[index]?.lastEventId,
          })),
        );
      }),
      { numRuns: 300 },
    );
  });
});
