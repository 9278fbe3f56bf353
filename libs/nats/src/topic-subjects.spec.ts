import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TopicSubjects } from './topic-subjects.js';

const subjects = new TopicSubjects('sse');

describe('the subjects of topics', () => {
  it('have a token for each segment, and a wildcard where a filter has one', () => {
    expect(subjects.ofLog('orders/42')).toBe('sse.log.orders.42');
    expect(subjects.ofLive('orders/*')).toBe('sse.live.orders.*');
    expect(subjects.ofLog('a/%2A')).toBe('sse.log.a.%2A');
  });

  it('hold nothing that means something to NATS, and tell names apart and back, whatever is in them', () => {
    const seen = new Map<string, string>();
    const name = fc
      .array(fc.string({ unit: 'binary', maxLength: 12 }), { minLength: 1, maxLength: 4 })
      .map((segments) =>
        segments.map((segment) => segment.toWellFormed().replaceAll('/', '|').replaceAll('*', '+')).join('/'),
      );
    fc.assert(
      fc.property(name, (topic) => {
        const subject = subjects.ofLog(topic) as string;
        expect(subject).toMatch(/^sse\.log(\.[A-Za-z0-9_%=-]+)+$/);
        expect(seen.get(subject) ?? topic).toBe(topic);
        seen.set(subject, topic);
        expect(subjects.topicOf(subject)).toBe(topic);
        expect(subjects.topicOf(subjects.ofLive(topic) as string)).toBe(topic);
      }),
    );
  });

  it('hash a segment that is too long, alone, so that filters find it; the record must say the name', () => {
    const long = 'x'.repeat(3_000);
    const subject = subjects.ofLog(`a/${long}/b`) as string;
    expect(subject.length).toBeLessThan(100);
    expect(subject.split('.').length).toBe(5);
    expect([subjects.topicOf(subject), subjects.tells(`a/${long}`), subjects.tells('a/b')]).toEqual([
      null,
      false,
      true,
    ]);
    expect(subjects.ofLog(`a/${'y'.repeat(3_000)}/b`)).not.toBe(subject);
  });

  it('are refused for a name of more segments than a line of the protocol has room for', () => {
    expect(subjects.ofLog(Array.from({ length: 2_000 }, () => 'ab').join('/'))).toBeNull();
  });

  it('of somebody else tell no topic', () => {
    expect(subjects.topicOf('other.log.a')).toBeNull();
  });
});
