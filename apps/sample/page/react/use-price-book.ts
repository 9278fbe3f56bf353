/** What the page knows of a symbol, as a value that its events are folded into. */
import { useChannel, useReduced, type LiveChannel } from '@sse-channels/react';
import type { EventOf } from '@sse-channels/client';
import type { pricesChannel } from '../../src/prices/prices.channel.js';
import { emptyBook, withGap, withTick, type PriceBook } from '../prices/price-book.js';
import { connection } from './floor-connection.js';

export type PriceChannel = LiveChannel<EventOf<typeof pricesChannel>>;

export function usePriceBook(symbol: string): readonly [PriceChannel, PriceBook] {
  const prices = useChannel(
    (lastEventId) => connection.client.subscribe('prices/:symbol', { symbol }, { lastEventId }),
    [symbol],
  );
  const book = useReduced(
    prices,
    (last: PriceBook, { data }) => withTick(last, data, connection.returnOf(data.at)),
    emptyBook(symbol),
    withGap,
  );
  return [prices, book];
}
