import { describe, expect, it } from '@jest/globals';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { selectionOf } from './topic-selection.js';

@SseEvent('price.changed')
class PriceChanged {}

const pricesChannel = defineChannel('prices/:item', { events: [PriceChanged] });
const othersChannel = defineChannel('others/:item', { events: [PriceChanged] });
const topic = pricesChannel.topic({ item: 'gold' });
const select = (entry: unknown) => selectionOf(entry, pricesChannel, 'Prices.gold');

describe('what a handler of a channel returns', () => {
  it('is a topic, or a topic with options', () => {
    const filter = () => true;
    const expiresAt = new Date();

    expect(select(topic)).toEqual({ topic });
    expect(select({ topic, start: undefined })).toEqual({ topic });
    expect(select({ topic, start: { last: 3 }, filter, expiresAt })).toEqual({
      topic,
      start: { last: 3 },
      filter,
      expiresAt,
    });
    expect(select({ topic, expiresAt: 0 })).toEqual({ topic, expiresAt: 0 });
  });

  it.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    ['prices/gold', 'a value of type string'],
    [pricesChannel, 'an instance of Channel'],
    [{ topic: 'prices/gold' }, 'an instance of Object'],
    [Object.create(null), 'an instance of nothing'],
    [() => topic, 'a value of type function'],
    [[topic], 'an instance of Array'],
  ])('is refused when it is no topic (case %#)', (entry, what) => {
    expect(() => select(entry)).toThrow(
      refused(
        'INVALID_HANDLER_RESULT',
        `Prices.gold returned ${what}; return a topic of its channel: channel.topic({ … }).`,
      ),
    );
  });

  it("is refused when it is another channel's topic", () => {
    const other = othersChannel.topic({ item: 'gold' });
    for (const entry of [other, { topic: other }]) {
      expect(() => select(entry)).toThrow(
        refused(
          'INVALID_HANDLER_RESULT',
          'Prices.gold streams channel "prices/:item" but returned the topic "others/gold" of "others/:item".',
        ),
      );
    }
  });

  it.each(['soon', new Date('never'), NaN, {}])('is refused with the end %p', (expiresAt) => {
    expect(() => select({ topic, expiresAt })).toThrow(
      /^Prices\.gold returned expiresAt .*; give a Date or milliseconds since 1970\.$/,
    );
  });

  it('is refused with a start that is none', () => {
    expect(() => select({ topic, start: 'oldest' })).toThrow(
      refused(
        'INVALID_OPTION',
        'Channel "prices/:item": start must be "latest", "earliest" or { last: n } with n of at least 1, not "oldest".',
      ),
    );
  });
});

function refused(code: string, message: string): Error {
  return expect.objectContaining({ code, message }) as unknown as Error;
}
