/** The prices: a tab a symbol, each its own topic of the one connection. */
import { byId, element, setText } from '../element.js';
import { sayGap, sayState, type Saying } from '../live/connection-words.js';
import type { LiveConnection } from '../live/live-connection.js';
import { postJson } from '../request.js';
import type { Toasts } from '../toasts.js';
import { amount } from '../words.js';
import { NodeList } from './node-list.js';
import { emptyBook, sumOf, withGap, withTick, type Counts, type PriceBook, type PriceTicked } from './price-book.js';
import { PriceChart } from './price-chart.js';
import { moveWords } from './price-move.js';

interface ReceivedPrice {
  readonly symbol: string;
  readonly node: string;
  readonly sequence: number;
  readonly cursor: string;
  readonly replayed: boolean;
}

export interface PriceBoardOptions {
  readonly connection: LiveConnection;
  readonly toasts: Toasts;
  /** A book is another. */
  readonly onChange: () => void;
  readonly onSaying: (of: string, saying: Saying) => void;
}

const RECEIVED_LIMIT = 20_000;

export class PriceBoard {
  readonly #panel = byId('symbol-panel', HTMLElement);
  readonly #tabList = byId('symbol-tabs', HTMLElement);
  readonly #symbolLabel = byId('quote-symbol', HTMLElement);
  readonly #price = byId('latest-price', HTMLElement);
  readonly #move = byId('latest-move', HTMLElement);
  readonly #form = byId('trade-form', HTMLFormElement);
  readonly #tradePrice = byId('trade-price', HTMLInputElement);
  readonly #chart = new PriceChart(byId('price-chart', HTMLElement));
  readonly #nodes = new NodeList(byId('node-list', HTMLUListElement));
  readonly #tabs = new Map<string, { readonly tab: HTMLButtonElement; readonly price: HTMLElement }>();
  readonly #books: Map<string, PriceBook>;
  readonly #received: ReceivedPrice[] = [];
  readonly #options: PriceBoardOptions;
  #symbol: string;

  constructor(symbols: readonly [string, ...string[]], options: PriceBoardOptions) {
    this.#symbol = symbols[0];
    this.#options = options;
    this.#books = new Map(symbols.map((symbol) => [symbol, emptyBook(symbol)]));
    for (const symbol of symbols) this.#addTab(symbol);
    this.#tabList.addEventListener('keydown', (event) => this.#onKey(event, symbols));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#trade();
    });
    for (const symbol of symbols) this.#follow(symbol);
    this.#select(this.#symbol);
  }

  /** Every price event in the order of its arrival, all symbols; the oldest go once there are very many. */
  get received(): readonly ReceivedPrice[] {
    return this.#received.slice();
  }

  /** Over all symbols. */
  get counts(): Counts {
    return sumOf(this.#books.values());
  }

  /** Takes the theme's colours anew. */
  recolour(): void {
    this.#chart.recolour();
  }

  /** The connection is another. */
  refresh(): void {
    this.#chart.show(this.#book, this.#options.connection.shown);
  }

  get #book(): PriceBook {
    return this.#books.get(this.#symbol) ?? emptyBook(this.#symbol);
  }

  #follow(symbol: string): void {
    const { connection, onSaying, onChange } = this.#options;
    const prices = connection.client.subscribe('prices/:symbol', { symbol });
    prices.on('price.ticked', (tick, { cursor }) => this.#take(tick, cursor));
    prices.onGap((gap) => {
      this.#books.set(symbol, withGap(this.#books.get(symbol) ?? emptyBook(symbol)));
      onSaying(symbol, sayGap(gap));
      onChange();
    });
    prices.onState((state) => {
      if (state.status === 'closed') onSaying(symbol, sayState(state));
    });
  }

  #take(tick: PriceTicked, cursor: string): void {
    const { symbol, node, sequence } = tick;
    const back = this.#options.connection.returnOf(tick.at);
    const book = withTick(this.#books.get(symbol) ?? emptyBook(symbol), tick, back);
    this.#books.set(symbol, book);
    this.#nodes.count(node);
    this.#received.push(Object.freeze({ symbol, node, sequence, cursor, replayed: back !== null }));
    if (this.#received.length > RECEIVED_LIMIT) this.#received.splice(0, RECEIVED_LIMIT / 10);
    this.#showQuote(book);
    if (symbol === this.#symbol) this.refresh();
    this.#options.onChange();
  }

  #addTab(symbol: string): void {
    const price = element('span', { class: 'tab-price mono' }, '–');
    const attributes = {
      type: 'button',
      class: 'tab',
      role: 'tab',
      id: `symbol-tab-${symbol}`,
      'data-testid': `symbol-tab-${symbol}`,
      'aria-controls': this.#panel.id,
    };
    const tab = element('button', attributes, element('span', { class: 'tab-symbol' }, symbol), price);
    tab.addEventListener('click', () => this.#select(symbol));
    this.#tabs.set(symbol, { tab, price });
    this.#tabList.append(tab);
  }

  #onKey(event: KeyboardEvent, symbols: readonly string[]): void {
    const last = symbols.length - 1;
    const here = symbols.indexOf(this.#symbol);
    const targets: Readonly<Record<string, number>> = {
      ArrowLeft: here === 0 ? last : here - 1,
      ArrowRight: here === last ? 0 : here + 1,
      Home: 0,
      End: last,
    };
    const symbol = symbols[targets[event.key] ?? -1];
    if (symbol === undefined) return;
    event.preventDefault();
    this.#select(symbol);
    this.#tabs.get(symbol)?.tab.focus();
  }

  #select(symbol: string): void {
    this.#symbol = symbol;
    for (const [other, { tab }] of this.#tabs) {
      tab.setAttribute('aria-selected', String(other === symbol));
      tab.tabIndex = other === symbol ? 0 : -1;
    }
    this.#panel.setAttribute('aria-labelledby', `symbol-tab-${symbol}`);
    this.#showQuote(this.#book);
    this.refresh();
  }

  #showQuote({ symbol, points }: PriceBook): void {
    const tab = this.#tabs.get(symbol);
    const latest = points.at(-1);
    if (tab !== undefined && latest !== undefined) setText(tab.price, amount(latest.price));
    if (symbol !== this.#symbol) return;
    const { direction, words } = moveWords(points);
    setText(this.#symbolLabel, `${symbol} · last trade`);
    setText(this.#price, latest === undefined ? '–' : amount(latest.price));
    this.#price.dataset['move'] = direction;
    this.#move.dataset['move'] = direction;
    setText(this.#move, words);
  }

  async #trade(): Promise<void> {
    const symbol = this.#symbol;
    const { connection, toasts } = this.#options;
    try {
      await postJson(`/prices/${encodeURIComponent(symbol)}`, { price: Number(this.#tradePrice.value) });
      this.#tradePrice.value = '';
      if (connection.shown.status !== 'open') {
        toasts.say(`Traded ${symbol}`, { detail: 'You will see it when the connection is back.' });
      }
    } catch (error) {
      toasts.say('The trade was refused', { tone: 'bad', detail: (error as Error).message });
    }
  }
}
