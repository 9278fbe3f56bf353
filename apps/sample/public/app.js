/** The page of the sample: puts its panels together and lets one button cut and restore all of their streams. */
import { ConnectionStatus } from './connection-status.js';
import { ControlLog } from './control-log.js';
import { byId } from './element.js';
import { NotificationList } from './notification-list.js';
import { PriceBoard } from './price-board.js';
import { ReportProgress } from './report-progress.js';
import { bindThemeToggle, onThemeChange } from './theme.js';
import { Toasts } from './toasts.js';

const SYMBOLS = ['ACME', 'GLOBEX', 'INITECH', 'UMBRELLA'];

const toasts = new Toasts(byId('toasts', HTMLElement));
const controlLog = new ControlLog(byId('control-log', HTMLOListElement));
const status = new ConnectionStatus(toggleConnection);

/**
 * The first cursor this page was given. One cursor places a client in all topics of a log space, so a symbol or an inbox
 * that is opened later begins here: with everything since the page was.
 */
const origin = { cursor: '', atMs: 0 };

const prices = new PriceBoard(SYMBOLS, {
  onControl: (symbol, name, data) => {
    if (origin.cursor === '') {
      origin.cursor = prices.stream.cursor;
      origin.atMs = Date.now();
    }
    controlLog.add(symbol, name, data);
  },
  onChange: showStatus,
  origin: () => origin,
  toasts,
});
const notifications = new NotificationList({
  onControl: (user, name, data) => controlLog.add(user, name, data),
  origin: () => origin,
  toasts,
});
const report = new ReportProgress((name, data) => controlLog.add('report', name, data));

prices.start();
bindThemeToggle(byId('theme-toggle', HTMLButtonElement));
onThemeChange(() => prices.recolour());

// For tests of the page: what arrived, in the order of its arrival.
Object.defineProperty(window, 'tradingFloor', {
  value: Object.freeze({
    get received() {
      return Object.freeze(prices.received);
    },
  }),
});

function toggleConnection() {
  const { state } = prices.stream;
  const isDown = state === 'cut' || state === 'closed';
  for (const panel of [prices, notifications, report]) {
    if (isDown) panel.restore();
    else panel.cut();
  }
}

function showStatus() {
  status.showState(prices.stream.state);
  status.showCursor(prices.stream.cursor);
  status.showNode(prices.stream.node);
  status.showCounts(prices.counts);
}
