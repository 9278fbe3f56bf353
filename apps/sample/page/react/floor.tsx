/** The trading floor: its panels, and what a return of the connection brought. */
import { useEffect, useRef, useState } from 'react';
import { replayWords, sumOf } from '../prices/price-book.js';
import { SYMBOLS } from '../prices/symbols.js';
import { Toasts } from '../toasts.js';
import { ConnectionPanel } from './connection-panel.js';
import { connection, useShown } from './floor-connection.js';
import { Ledger } from './ledger.js';
import { Masthead } from './masthead.js';
import { Notifications } from './notifications.js';
import { Prices } from './prices.js';
import { Report } from './report.js';
import { usePriceBook } from './use-price-book.js';

export function Floor() {
  const listed = [
    usePriceBook(SYMBOLS[0]),
    usePriceBook(SYMBOLS[1]),
    usePriceBook(SYMBOLS[2]),
    usePriceBook(SYMBOLS[3]),
  ];
  const counts = sumOf(listed.map(([, book]) => book));
  const shown = useShown();
  const [toasts, setToasts] = useState<Toasts | null>(null);
  /** The counts now, and when the connection was lost. */
  const now = useRef(counts);
  const before = useRef(counts);

  useEffect(() => {
    now.current = counts;
    if (shown.status !== 'open') before.current = counts;
  });
  useEffect(
    () =>
      connection.onReplayed((back) => {
        const words = replayWords(back, connection.shown.node, before.current, now.current);
        before.current = now.current;
        if (words !== null) toasts?.say(words.text, words);
      }),
    [toasts],
  );

  return (
    <>
      <a className="skip-link" href="#prices">
        Skip to the prices
      </a>
      <Masthead />
      <main className="floor">
        <Ledger counts={counts} />
        <Prices listed={listed} toasts={toasts} />
        <Notifications toasts={toasts} />
        <ConnectionPanel channels={listed.map(([channel, { symbol }]) => [symbol, channel] as const)} />
        <Report />
      </main>
      <footer className="foot">
        <p>
          The same floor in React: every value here is a hook&apos;s, all by one connection. Cut it, wait, restore it:
          what you missed is replayed from the log, in order, once.
        </p>
      </footer>
      <div
        className="toasts"
        data-testid="toast"
        role="status"
        aria-live="polite"
        aria-atomic="false"
        ref={(root) => setToasts((last) => last ?? (root === null ? null : new Toasts(root)))}
      />
    </>
  );
}
