import { describe, expect, it, jest } from '@jest/globals';
import { createSseClient, type SseClient } from '@sse-channels/client';
import { createElement, StrictMode, type ReactElement } from 'react';
import { renderToString } from 'react-dom/server';
import type { Opened } from './listenable.js';
import { createLiveChannel } from './live-channel.js';
import { useChannel } from './use-channel.js';
import { useConnectionState } from './use-connection-state.js';
import { useLatest } from './use-latest.js';
import { useReduced } from './use-reduced.js';

interface Prices {
  readonly 'price.ticked': { readonly price: number };
}

type PriceTicked = Parameters<Parameters<SseClient<Prices>['on']>[0]>[0];

/** Something to open, by hand. */
function opening() {
  const opened: Array<Opened<PriceTicked> & { readonly tell: (price: number, cursor: string) => void }> = [];
  const cursors: Array<string | undefined> = [];
  const closed: number[] = [];
  return {
    opened,
    cursors,
    closed,
    open(lastEventId: string | undefined) {
      const handlers = new Set<(event: PriceTicked) => unknown>();
      const state = {
        status: 'open',
        reason: 'opened',
        transport: 'stream',
        retryInMs: null,
        error: undefined,
      } as const;
      const number = opened.length;
      let cursor = '';
      cursors.push(lastEventId);
      const made = {
        state,
        get cursor() {
          return cursor;
        },
        on(handler: (event: PriceTicked) => unknown) {
          handlers.add(handler);
          return () => void handlers.delete(handler);
        },
        onGap: () => () => undefined,
        onState(handler: (told: typeof state) => unknown) {
          handler(state);
          return () => undefined;
        },
        close: () => void closed.push(number),
        tell(price: number, at: string) {
          cursor = at;
          for (const handler of handlers) handler({ name: 'price.ticked', data: { price }, cursor, topic: null });
        },
      };
      opened.push(made);
      return made;
    },
  };
}

describe('on a server', () => {
  it('hooks open nothing and give what they begin with', () => {
    const fetch = jest.fn<typeof globalThis.fetch>();
    const open = jest.fn(() => createSseClient<Prices>('/prices', { fetch }));

    function Price(): ReactElement {
      const prices = useChannel(open, []);
      const latest = useLatest(prices, 'price.ticked');
      const { price } = useLatest(prices, 'price.ticked', { price: 42 });
      const sum = useReduced(prices, (last, { data }) => last + data.price, 0);
      const { status } = useConnectionState(prices);
      return createElement('p', null, [latest?.price ?? 'none', price, sum, status].join(' '));
    }

    expect(renderToString(createElement(StrictMode, null, createElement(Price)))).toBe('<p>none 42 0 connecting</p>');
    expect(open).not.toHaveBeenCalled();
    expect(fetch).not.toHaveBeenCalled();
  });
});

describe('a live channel', () => {
  it('is opened by the first who listens and closed after the last', async () => {
    const { open, opened, closed } = opening();
    const channel = createLiveChannel(open);
    const heard: number[] = [];
    const states: string[] = [];

    channel.onState(({ status }) => states.push(status));
    const leaves = [
      channel.on('price.ticked', ({ price }) => heard.push(price)),
      channel.on(({ data }) => heard.push(data.price)),
    ];
    opened[0]?.tell(1, 'a');
    leaves[0]?.();
    leaves[0]?.();
    opened[0]?.tell(2, 'b');
    await Promise.resolve();
    expect(closed).toEqual([]);
    leaves[1]?.();
    await Promise.resolve();

    expect([opened.length, closed, heard]).toEqual([1, [0], [1, 1, 2]]);
    expect(states).toEqual(['connecting', 'open', 'connecting']);
  });

  it('stays open where the one who leaves comes back at once', async () => {
    const { open, opened, closed } = opening();
    const channel = createLiveChannel(open);

    channel.hold()();
    const leave = channel.hold();
    await Promise.resolve();

    expect([opened.length, closed]).toEqual([1, []]);
    leave();
    await Promise.resolve();
    expect([opened.length, closed]).toEqual([1, [0]]);
  });

  it('goes on, when it is opened again, from where it was when the last one left', async () => {
    const { open, opened, cursors } = opening();
    const channel = createLiveChannel(open);

    const leave = channel.on(() => undefined);
    opened[0]?.tell(1, 'a');
    leave();
    opened[0]?.tell(2, 'b');
    await Promise.resolve();
    channel.hold();

    expect(cursors).toEqual([undefined, 'a']);
  });
});
