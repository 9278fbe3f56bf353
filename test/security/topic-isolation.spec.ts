import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus, SseChannelsError, type Topic } from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import fc from 'fast-check';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';
import { NotesModule, notesChannel, NoteTaken } from './notes.module.js';

/** Pairs of parameters that read alike once they are joined with whatever separates them. */
const lookalikes = [
  ['a_b', 'c', 'a', 'b_c'],
  ['a/b', 'c', 'a', 'b/c'],
  ['a%2Fb', 'c', 'a/b', 'c'],
  ['a~b', 'c', 'a', 'b~c'],
  ['*', 'c', 'a', 'c'],
  ['a:b', 'c', 'a', 'b:c'],
  ['A', 'c', 'a', 'c'],
  ['é', 'c', 'e\u0301', 'c'],
] as const;

const nameOf = (owner: string, title: string): string => notesChannel.topic({ owner, title }).name;

describe('the name of a topic (CVE-2026-39972)', () => {
  it('belongs to one set of parameters alone, and leads back to it', () => {
    const parameter = fc.oneof(
      fc.string({ minLength: 1, unit: 'binary' }).filter((text) => text.isWellFormed()),
      fc.string({ minLength: 1, unit: fc.constantFrom('a', '_', '/', '%', '2', 'F', '*', '.', '~', ':', ' ') }),
    );
    fc.assert(
      fc.property(parameter, parameter, parameter, parameter, (owner, title, otherOwner, otherTitle) => {
        const same = owner === otherOwner && title === otherTitle;

        const topic = notesChannel.topic({ owner, title });

        expect(topic.name === nameOf(otherOwner, otherTitle)).toBe(same);
        expect(topic.params).toEqual({ owner, title });
        expect(topic.name).toMatch(/^notes\/[\w%-]+\/[\w%-]+$/);
      }),
    );
  });

  it.each([
    ['missing', {}],
    ['empty', { owner: '', title: 'x' }],
    ['an object', { owner: { a: 1 }, title: 'x' }],
    ['a list', { owner: ['ada'], title: 'x' }],
    ['no safe integer', { owner: 1.5, title: 'x' }],
    ['a lone surrogate', { owner: '\udc00', title: 'x' }],
    ['too large', { owner: 'x'.repeat(4_097), title: 'x' }],
    ['unknown', { owner: 'a', title: 'x', other: 'y' }],
    ['inherited', Object.create({ owner: 'a', title: 'x' })],
    ['of a prototype', JSON.parse('{"owner":"a","title":"x","__proto__":{"owner":"b"}}')],
  ])('is not made of a parameter that is %s', (_what, params) => {
    const make = (): Topic => notesChannel.topic(params as { owner: string; title: string });

    expect(make).toThrow(SseChannelsError);
    expect(make).toThrow(/^Parameter "\w+" of channel "notes\/:owner\/:title" /);
  });
});

describe.each(adapters)('on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const clients: SseTestClient[] = [];

  const follow = async (owner: string, title: string, lastEventId?: string): Promise<SseTestClient> => {
    const path = `/notes/${encodeURIComponent(owner)}/${encodeURIComponent(title)}/events`;
    const client = await SseTestClient.connect(running.url + path, lastEventId === undefined ? {} : { lastEventId });
    clients.push(client);
    return client.opened();
  };

  beforeEach(async () => {
    running = await startApp(make, NotesModule);
    bus = running.app.get(EventBus);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  it.each(lookalikes)(
    'who follows %s and %s gets nothing of %s and %s, live or replayed (CVE-2026-39972)',
    async (owner, title, otherOwner, otherTitle) => {
      const mine = await follow(owner, title);
      const theirs = await follow(otherOwner, otherTitle);
      const opened = mine.cursor;

      await bus.publish(notesChannel.topic({ owner: otherOwner, title: otherTitle }), NoteTaken, { text: 'theirs' });
      await bus.publish(notesChannel.topic({ owner, title }), NoteTaken, { text: 'mine' });
      await mine.receive(1);
      await theirs.receive(1);
      const replayed = await follow(owner, title, opened);
      await replayed.receive(1);

      const texts = (client: SseTestClient): string[] => client.named('note.taken').map(({ data }) => data.text);
      expect([texts(mine), texts(theirs), texts(replayed)]).toEqual([['mine'], ['theirs'], ['mine']]);
    },
  );
});
