/** The page of the sample: puts its panels together, all on one connection, which one button cuts and restores. */
import 'uplot/dist/uPlot.min.css';
import { byId } from './element.js';
import { ConnectionLog } from './live/connection-log.js';
import { ConnectionStatus } from './live/connection-status.js';
import { sayState, type Saying } from './live/connection-words.js';
import { LiveConnection } from './live/live-connection.js';
import { NotificationList } from './notifications/notification-list.js';
import { PriceBoard } from './prices/price-board.js';
import { replayWords } from './prices/price-book.js';
import { SYMBOLS } from './prices/symbols.js';
import { ReportProgress } from './reports/report-progress.js';
import { onThemeChange, otherTheme, toggleTheme } from './theme.js';
import { Toasts } from './toasts.js';

const connection = new LiveConnection();
const toasts = new Toasts(byId('toasts', HTMLElement));
const log = new ConnectionLog(byId('control-log', HTMLOListElement));
const onSaying = (of: string, saying: Saying): void => log.add(of, saying);
const status = new ConnectionStatus(() => {
  if (connection.shown.status === 'cut') connection.restore();
  else connection.cut();
});
const prices = new PriceBoard(SYMBOLS, { connection, toasts, onSaying, onChange: showStatus });
const panels = [
  prices,
  new NotificationList({ connection, toasts, onSaying }),
  new ReportProgress({ connection, onSaying }),
];

/** The counts when the connection was lost. */
let countsBefore = prices.counts;

connection.subscribe(() => {
  if (connection.shown.status !== 'open') countsBefore = prices.counts;
  for (const panel of panels) panel.refresh();
  showStatus();
});
let said = '';
connection.client.onState((state) => {
  const { name, words, tone } = sayState(state, connection.shown.node);
  // Each try is a state of its own; the first one is said.
  const now = `${state.status} ${state.reason}`;
  if (now !== said) onSaying('stream', { name, words, tone });
  said = now;
});
connection.onReplayed((back) => {
  const words = replayWords(back, connection.shown.node, countsBefore, prices.counts);
  countsBefore = prices.counts;
  if (words !== null) toasts.say(words.text, words);
});

const themeToggle = byId('theme-toggle', HTMLButtonElement);
const labelToggle = (): void => themeToggle.setAttribute('aria-label', `Switch to the ${otherTheme()} theme`);
themeToggle.addEventListener('click', toggleTheme);
onThemeChange(labelToggle);
onThemeChange(() => prices.recolour());
labelToggle();

// For tests of the page: what arrived, in the order of its arrival.
Object.defineProperty(window, 'tradingFloor', {
  value: Object.freeze({
    get received() {
      return Object.freeze(prices.received);
    },
  }),
});

function showStatus(): void {
  status.show(connection.shown, connection.client.cursor, prices.counts);
}
