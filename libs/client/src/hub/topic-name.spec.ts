import { describe, expect, it } from '@jest/globals';
import { TopicPattern } from '@sse-channels/protocol';
import fc from 'fast-check';
import { topicName } from './topic-name.js';

describe("a topic's name", () => {
  it('is the one that the server makes, whatever the parameters hold', () => {
    const pattern = new TopicPattern('ships/:fleet/at/:port_2');
    const param = fc.oneof(
      fc.string({ minLength: 1, unit: 'grapheme', maxLength: 50 }),
      fc.maxSafeInteger(),
      fc.constantFrom('a/b', '%2F', ":fleet!'()*.~", '..'),
    );
    fc.assert(
      fc.property(param, param, (fleet, port) => {
        const params = { fleet, port_2: port };
        expect(topicName(pattern.source, params)).toBe(pattern.format(params));
      }),
    );
  });

  it('without a parameter is the pattern', () => {
    expect(topicName('news')).toBe('news');
  });

  it.each([[{}], [{ orderId: '' }], [{ other: 1 }]])(
    'needs every parameter (%j)',
    (params: Record<string, string | number>) => {
      expect(() => topicName('orders/:orderId', params)).toThrow(
        expect.objectContaining({ code: 'INVALID_TOPIC_PARAMETER' }),
      );
    },
  );
});
