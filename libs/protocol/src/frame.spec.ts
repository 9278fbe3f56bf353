import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FrameParser, type ParsedEvent } from './frame-parser.js';
import { encodeFrame, type Frame } from './frame.js';

const refused = (message: string) => expect.objectContaining({ code: 'INVALID_FRAME', message }) as unknown as Error;

describe('encodeFrame', () => {
  it('writes the fields in one order, each on a line of its own, and ends the block', () => {
    const frame = { data: '{"carrier":"DHL"}', event: 'order.shipped', id: 'e~1-0', retry: 3000, comment: 'hello' };

    expect(encodeFrame(frame)).toBe(
      ': hello\nretry: 3000\nid: e~1-0\nevent: order.shipped\ndata: {"carrier":"DHL"}\n\n',
    );
  });

  it('writes only the fields that are there, empty ones included', () => {
    expect(encodeFrame({})).toBe('\n');
    expect(encodeFrame({ id: 'e~1-0' })).toBe('id: e~1-0\n\n');
    expect(encodeFrame({ comment: '', id: '', event: '', data: '', retry: 0 })).toBe(
      ': \nretry: 0\nid: \nevent: \ndata: \n\n',
    );
  });

  it('writes each line of the data as a data line, whatever ends it', () => {
    expect(encodeFrame({ data: 'a\nb\rc\r\nd' })).toBe('data: a\ndata: b\ndata: c\ndata: d\n\n');
    expect(encodeFrame({ data: '\n\r\n' })).toBe('data: \ndata: \ndata: \n\n');
  });

  it('lets no data or comment start a field of its own', () => {
    expect(encodeFrame({ data: 'a\nid: forged\n\nevent: forged' })).toBe(
      'data: a\ndata: id: forged\ndata: \ndata: event: forged\n\n',
    );
    expect(encodeFrame({ comment: 'a\r\ndata: forged\n\n' })).toBe(': a\n: data: forged\n: \n: \n\n');
  });

  it('keeps leading spaces, colons, NUL and byte order marks of the data', () => {
    expect(encodeFrame({ data: ' :\ufeff\0' })).toBe('data:  :\ufeff\0\n\n');
  });

  it.each([
    ['id', { id: 'a\nb' }, '"a\\nb"'],
    ['id', { id: 'a\r' }, '"a\\r"'],
    ['id', { id: '\0' }, '"\\u0000"'],
    ['id', { id: 'a\ud834' }, '"a\\ud834"'],
    ['event', { event: 'x\ndata: forged' }, '"x\\ndata: forged"'],
    ['event', { event: '\r' }, '"\\r"'],
    ['event', { event: 'a\0b' }, '"a\\u0000b"'],
    ['event', { event: '\udd1e' }, '"\\udd1e"'],
  ])('refuses an %s that the format cannot carry: %j', (field, frame, printed) => {
    expect(() => encodeFrame(frame)).toThrow(
      refused(
        `The ${field} ${printed} has a CR, LF, NUL or lone surrogate, which the event stream format cannot carry; remove it.`,
      ),
    );
  });

  it('refuses data that UTF-8 would change', () => {
    expect(() => encodeFrame({ data: 'a\ud834' })).toThrow(
      refused(
        'The data has a lone surrogate, which UTF-8 cannot carry; write it as JSON, which escapes it, or see toWellFormed().',
      ),
    );
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 53, '3000', null])('refuses a retry of %j', (retry) => {
    expect(() => encodeFrame({ retry: retry as number })).toThrow(
      refused(`retry must be a whole number of milliseconds of at least 0, not ${retry}.`),
    );
  });
});

describe('encodeFrame, read by FrameParser', () => {
  const lineEnd = /\r\n|\r|\n/g;
  const text = fc.string({
    unit: fc.oneof(
      fc.constantFrom('\n', '\r', ' ', ':', '\0', '\ufeff'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    ),
  });
  const field = text.map((value) => value.replaceAll(/[\r\n\0]/g, ''));
  const frame: fc.Arbitrary<Frame> = fc.record(
    { id: field, event: field, data: text, comment: text, retry: fc.maxSafeNat() },
    { requiredKeys: [] },
  );

  it('gives back every field, whatever is in it and however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 6 }), fc.integer({ min: 1, max: 40 }), (frames, chunkBytes) => {
        const events: ParsedEvent[] = [];
        const retries: number[] = [];
        const comments: string[] = [];
        const parser = new FrameParser({
          onEvent: (event) => events.push(event),
          onRetry: (retryMs) => retries.push(retryMs),
          onComment: (comment) => comments.push(comment),
        });
        const wire = new TextEncoder().encode(frames.map(encodeFrame).join(''));
        for (let start = 0; start < wire.length; start += chunkBytes) {
          parser.push(wire.subarray(start, start + chunkBytes));
        }

        let lastEventId = '';
        const sent: ParsedEvent[] = [];
        for (const { id, event, data } of frames) {
          lastEventId = id ?? lastEventId;
          if (data !== undefined) {
            sent.push({ name: event || 'message', data: data.replaceAll(lineEnd, '\n'), lastEventId });
          }
        }
        expect(events).toEqual(sent);
        expect(parser.lastEventId).toBe(lastEventId);
        expect(retries).toEqual(frames.flatMap(({ retry }) => retry ?? []));
        expect(comments).toEqual(
          frames.flatMap(({ comment }) => comment?.split(lineEnd).map((line) => ` ${line}`) ?? []),
        );
      }),
      { numRuns: 300 },
    );
  });
});
