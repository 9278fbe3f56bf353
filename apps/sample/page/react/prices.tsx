/** The prices: a tab a symbol, the chart of the one that is looked at, trades by hand. */
import { useEffect, useRef, useState, type KeyboardEvent } from 'react';
import { useLatest } from '@sse-channels/react';
import { NodeList } from '../prices/node-list.js';
import type { PriceBook } from '../prices/price-book.js';
import { PriceChart } from '../prices/price-chart.js';
import { moveWords } from '../prices/price-move.js';
import { postJson } from '../request.js';
import { onThemeChange } from '../theme.js';
import type { Toasts } from '../toasts.js';
import { amount } from '../words.js';
import { connection, useShown } from './floor-connection.js';
import type { PriceChannel } from './use-price-book.js';

type Listed = ReadonlyArray<readonly [PriceChannel, PriceBook]>;

const LEGEND = { live: 'Live', replayed: 'Replayed', cut: 'Not connected', missed: 'Missed', volume: 'Volume' };

export function Prices({ listed, toasts }: { readonly listed: Listed; readonly toasts: Toasts | null }) {
  const [index, setIndex] = useState(0);
  const tabs = useRef<HTMLDivElement>(null);
  const book = listed[index]?.[1];
  if (book === undefined) return null;

  const onKey = (event: KeyboardEvent): void => {
    const last = listed.length - 1;
    const targets: Readonly<Record<string, number>> = {
      ArrowLeft: index === 0 ? last : index - 1,
      ArrowRight: index === last ? 0 : index + 1,
      Home: 0,
      End: last,
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    setIndex(target);
    tabs.current?.querySelectorAll('button')[target]?.focus();
  };

  return (
    <section className="card card-prices" id="prices" aria-label="Prices" tabIndex={-1}>
      <div className="tabs" role="tablist" aria-label="Symbol" ref={tabs} onKeyDown={onKey}>
        {listed.map(([channel, { symbol }], at) => (
          <Tab key={symbol} symbol={symbol} channel={channel} isSelected={at === index} onSelect={() => setIndex(at)} />
        ))}
      </div>
      <div role="tabpanel" id="symbol-panel" className="prices-panel" aria-labelledby={`symbol-tab-${book.symbol}`}>
        <div className="quote">
          <Quote book={book} />
          <Trade key={book.symbol} symbol={book.symbol} toasts={toasts} />
        </div>
        <Chart book={book} />
        <ul className="legend" aria-label="Legend of the chart">
          {Object.entries(LEGEND).map(([name, words]) => (
            <li key={name}>
              <span className={`swatch swatch-${name}`} aria-hidden="true" />
              {words}
            </li>
          ))}
        </ul>
        <Nodes channels={listed.map(([channel]) => channel)} />
      </div>
    </section>
  );
}

function Tab(props: {
  readonly symbol: string;
  readonly channel: PriceChannel;
  readonly isSelected: boolean;
  readonly onSelect: () => void;
}) {
  const { symbol, channel, isSelected, onSelect } = props;
  const tick = useLatest(channel, 'price.ticked');
  return (
    <button
      type="button"
      className="tab"
      role="tab"
      id={`symbol-tab-${symbol}`}
      data-testid={`symbol-tab-${symbol}`}
      aria-controls="symbol-panel"
      aria-selected={isSelected}
      tabIndex={isSelected ? 0 : -1}
      onClick={onSelect}
    >
      <span className="tab-symbol">{symbol}</span>
      <span className="tab-price mono">{tick === undefined ? '–' : amount(tick.price)}</span>
    </button>
  );
}

function Quote({ book: { symbol, points } }: { readonly book: PriceBook }) {
  const latest = points.at(-1);
  const { direction, words } = moveWords(points);
  return (
    <div className="quote-now">
      <p className="quote-symbol">{symbol} · last trade</p>
      <p className="quote-price" data-testid="latest-price" data-move={direction}>
        {latest === undefined ? '–' : amount(latest.price)}
      </p>
      <p className="quote-move" data-move={direction}>
        {words}
      </p>
    </div>
  );
}

function Trade({ symbol, toasts }: { readonly symbol: string; readonly toasts: Toasts | null }) {
  const [price, setPrice] = useState('');
  const trade = async (): Promise<void> => {
    try {
      await postJson(`/prices/${encodeURIComponent(symbol)}`, { price: Number(price) });
      setPrice('');
      if (connection.shown.status !== 'open') {
        toasts?.say(`Traded ${symbol}`, { detail: 'You will see it when the connection is back.' });
      }
    } catch (error) {
      toasts?.say('The trade was refused', { tone: 'bad', detail: (error as Error).message });
    }
  };
  return (
    <form
      className="trade"
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        void trade();
      }}
    >
      <label className="label" htmlFor="trade-price">
        Trade by hand
      </label>
      <div className="trade-row">
        <input
          className="field field-price mono"
          id="trade-price"
          data-testid="trade-price"
          type="number"
          inputMode="decimal"
          min="0.01"
          step="0.01"
          placeholder="Price"
          required
          value={price}
          onChange={({ target }) => setPrice(target.value)}
        />
        <button type="submit" className="button" data-testid="trade-button">
          Trade
        </button>
      </div>
    </form>
  );
}

function Chart({ book }: { readonly book: PriceBook }) {
  const root = useRef<HTMLDivElement>(null);
  const chart = useRef<PriceChart>(null);
  const shown = useShown();
  useEffect(() => {
    if (root.current === null) return undefined;
    const made = (chart.current = new PriceChart(root.current));
    const leave = onThemeChange(() => made.recolour());
    return () => {
      leave();
      made.end();
    };
  }, []);
  useEffect(() => chart.current?.show(book, shown), [book, shown]);
  return (
    <div
      className="chart"
      data-testid="price-chart"
      role="img"
      aria-label={`Price chart of ${book.symbol}`}
      ref={root}
    />
  );
}

function Nodes({ channels }: { readonly channels: readonly PriceChannel[] }) {
  const root = useRef<HTMLUListElement>(null);
  useEffect(() => {
    if (root.current === null) return undefined;
    const list = new NodeList(root.current);
    const leaves = channels.map((channel) => channel.on('price.ticked', ({ node }) => list.count(node)));
    return () => {
      for (const leave of leaves) leave();
      list.end();
    };
    // The channels are the same for as long as the page is.
  }, [...channels]);
  return (
    <div className="nodes">
      <h2 className="label" id="nodes-heading">
        Nodes
      </h2>
      <ul className="node-list" data-testid="node-list" aria-labelledby="nodes-heading" ref={root} />
    </div>
  );
}
