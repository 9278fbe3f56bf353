/** The prices: a tab a symbol, each with its own stream, of which only the shown one is open. */
import { byId, counted, element, setText } from './element.js';
import { EventStream } from './event-stream.js';
import { gapWords } from './control-log.js';
import { NodeList } from './node-list.js';
import { PriceChart } from './price-chart.js';
import { postJson } from './request.js';
import { SequenceTally } from './sequence-tally.js';

/** @typedef {import('./event-stream.js').Place} Place */
/** @typedef {import('./event-stream.js').Replay} Replay */
/** @typedef {import('./connection-status.js').Counts} Counts */
/** @typedef {{ replayed: number, missed: number, doubled: number }} BookCounts */
/** @typedef {{ symbol: string, price: number, volume: number, at: string, node: string, sequence: number }} PriceTicked */
/** @typedef {{ symbol: string, node: string, sequence: number, cursor: string, replayed: boolean }} ReceivedPrice */

/**
 * @typedef {object} PricePoint
 * @property {number} atMs
 * @property {number} price
 * @property {number} volume
 * @property {string} node where it was traded
 * @property {number} sequence
 * @property {boolean} replayed
 * @property {number} missedBefore events that should lie between the point before and this one
 * @property {boolean} isGapBefore whether the log itself could not say what lies there
 */
/** @typedef {{ fromMs: number, toMs: number, count: number }} Band A time without connection that was filled by a replay. */

/**
 * @typedef {object} PriceBook What the page knows of one symbol.
 * @property {string} symbol
 * @property {EventStream} stream
 * @property {PricePoint[]} points oldest first
 * @property {Band[]} bands oldest first
 * @property {SequenceTally} tally
 * @property {BookCounts} counts
 * @property {BookCounts} countsAtResume
 * @property {boolean} isGapAhead whether the log had a gap and no event has come since
 * @property {boolean} isCutByHand whether the reader of the page cut it, and so waits for word of the replay
 */

/** Three minutes of the busiest symbol on three nodes. */
const POINT_LIMIT = 4_500;
const BAND_LIMIT = 20;
const RECEIVED_LIMIT = 20_000;

const amount = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export class PriceBoard {
  #panel = byId('symbol-panel', HTMLElement);
  #tabList = byId('symbol-tabs', HTMLElement);
  #symbolLabel = byId('quote-symbol', HTMLElement);
  #price = byId('latest-price', HTMLElement);
  #move = byId('latest-move', HTMLElement);
  #form = byId('trade-form', HTMLFormElement);
  #tradePrice = byId('trade-price', HTMLInputElement);
  #chart = new PriceChart(byId('price-chart', HTMLElement));
  #nodes = new NodeList(byId('node-list', HTMLUListElement));
  /** @type {Map<string, { tab: HTMLButtonElement, price: HTMLElement }>} */
  #tabs = new Map();
  /** @type {Map<string, PriceBook>} */
  #books = new Map();
  /** @type {ReceivedPrice[]} */
  #received = [];
  #receivedCount = 0;
  #symbols;
  #symbol;
  #isCut = false;
  #options;

  /**
   * @param {readonly string[]} symbols
   * @param {object} options
   * @param {(symbol: string, name: string, data: any) => void} options.onControl
   * @param {() => void} options.onChange the shown stream's state or cursor, or a count, is another
   * @param {() => Place} options.origin where a symbol begins that is looked at for the first time
   * @param {import('./toasts.js').Toasts} options.toasts
   */
  constructor(symbols, options) {
    this.#symbols = symbols;
    this.#symbol = symbols[0] ?? '';
    this.#options = options;
    this.#makeTabs();
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#trade();
    });
  }

  /** Opens the first symbol. */
  start() {
    this.#open(this.#symbol);
  }

  /** The shown symbol's stream. */
  get stream() {
    return this.#book().stream;
  }

  /** Every price event in the order of its arrival, all symbols; the oldest go once there are very many. */
  get received() {
    return this.#received.slice();
  }

  /** @returns {Counts} over all symbols */
  get counts() {
    const sum = { reconnects: 0, received: this.#receivedCount, replayed: 0, missed: 0, doubled: 0 };
    for (const { stream, counts } of this.#books.values()) {
      sum.reconnects += stream.reconnects;
      sum.replayed += counts.replayed;
      sum.missed += counts.missed;
      sum.doubled += counts.doubled;
    }
    return sum;
  }

  cut() {
    this.#isCut = true;
    this.#book().isCutByHand = true;
    this.#book().stream.cut();
  }

  restore() {
    this.#isCut = false;
    this.#book().isCutByHand = true;
    this.#book().stream.restore();
  }

  /** Takes the theme's colours anew. */
  recolour() {
    this.#chart.recolour();
  }

  #makeTabs() {
    for (const symbol of this.#symbols) {
      const price = element('span', { class: 'tab-price mono' }, '–');
      const tab = element(
        'button',
        {
          type: 'button',
          class: 'tab',
          role: 'tab',
          id: `symbol-tab-${symbol}`,
          'data-testid': `symbol-tab-${symbol}`,
          'aria-controls': this.#panel.id,
        },
        element('span', { class: 'tab-symbol' }, symbol),
        price,
      );
      tab.addEventListener('click', () => this.#open(symbol));
      this.#tabs.set(symbol, { tab, price });
      this.#tabList.append(tab);
    }
    this.#tabList.addEventListener('keydown', (event) => {
      const last = this.#symbols.length - 1;
      const here = this.#symbols.indexOf(this.#symbol);
      /** @type {Record<string, number>} */
      const targets = {
        ArrowLeft: here === 0 ? last : here - 1,
        ArrowRight: here === last ? 0 : here + 1,
        Home: 0,
        End: last,
      };
      const symbol = this.#symbols[targets[event.key] ?? -1];
      if (symbol === undefined) return;
      event.preventDefault();
      this.#open(symbol);
      this.#tabs.get(symbol)?.tab.focus();
    });
  }

  /** @param {string} symbol */
  #open(symbol) {
    this.#symbol = symbol;
    // Only the shown symbol holds a connection: over HTTP/1.1 a browser has six for a whole site. The others keep their cursor.
    for (const [other, { stream }] of this.#books) if (other !== symbol) stream.cut();
    for (const [other, { tab }] of this.#tabs) {
      tab.setAttribute('aria-selected', String(other === symbol));
      tab.tabIndex = other === symbol ? 0 : -1;
    }
    this.#panel.setAttribute('aria-labelledby', `symbol-tab-${symbol}`);
    const book = this.#book();
    this.#showQuote(book);
    this.#chart.show(book);
    if (!this.#isCut) book.stream.restore();
    this.#options.onChange();
  }

  /** @returns {PriceBook} */
  #book() {
    const symbol = this.#symbol;
    let book = this.#books.get(symbol);
    if (book === undefined) {
      const none = () => ({ replayed: 0, missed: 0, doubled: 0 });
      book = {
        symbol,
        stream: this.#makeStream(symbol),
        points: [],
        bands: [],
        tally: new SequenceTally(),
        counts: none(),
        countsAtResume: none(),
        isGapAhead: false,
        isCutByHand: false,
      };
      this.#books.set(symbol, book);
    }
    return book;
  }

  /** @param {string} symbol */
  #makeStream(symbol) {
    const book = () => /** @type {PriceBook} */ (this.#books.get(symbol));
    return new EventStream(
      `/prices/${encodeURIComponent(symbol)}/events`,
      ['price.ticked'],
      {
        onEvent: (_name, data, arrival) => this.#take(book(), data, arrival),
        onControl: (name, data) => {
          this.#options.onControl(symbol, name, data);
          this.#options.onChange();
        },
        onState: () => {
          this.#chart.update();
          this.#options.onChange();
        },
        onResume: (replay) => {
          book().countsAtResume = { ...book().counts };
          book().isGapAhead ||= replay.gap !== null;
          book().bands.push({ fromMs: replay.sinceMs, toMs: replay.untilMs, count: 0 });
          if (book().bands.length > BAND_LIMIT) book().bands.shift();
        },
        onReplayed: (replay) => this.#tellReplay(book(), replay),
      },
      this.#options.origin(),
    );
  }

  /**
   * @param {PriceBook} book
   * @param {PriceTicked} data
   * @param {import('./event-stream.js').Arrival} arrival
   */
  #take(book, data, { cursor, replayed }) {
    const atMs = Date.parse(data.at);
    const { missed, doubled } = book.tally.take(data.node, data.sequence);
    this.#nodes.count(data.node);
    book.counts.missed += missed;
    if (replayed) book.counts.replayed += 1;
    if (doubled) book.counts.doubled += 1;
    this.#receivedCount += 1;
    this.#received.push(
      Object.freeze({ symbol: data.symbol, node: data.node, sequence: data.sequence, cursor, replayed }),
    );
    if (this.#received.length > RECEIVED_LIMIT) this.#received.splice(0, RECEIVED_LIMIT / 10);
    if (!doubled) {
      const { price, volume, node, sequence } = data;
      const isGapBefore = book.isGapAhead;
      book.points.push({ atMs, price, volume, node, sequence, replayed, missedBefore: missed, isGapBefore });
      book.isGapAhead = false;
      if (book.points.length > POINT_LIMIT) book.points.shift();
      const band = book.bands.at(-1);
      if (replayed && band !== undefined) band.count += 1;
    }
    this.#showQuote(book);
    this.#chart.update();
    this.#options.onChange();
  }

  /** @param {PriceBook} book */
  #showQuote({ symbol, points }) {
    const tab = this.#tabs.get(symbol);
    const latest = points.at(-1);
    if (tab !== undefined && latest !== undefined) setText(tab.price, amount.format(latest.price));
    if (symbol !== this.#symbol) return;
    setText(this.#symbolLabel, `${symbol} · last trade`);
    setText(this.#price, latest === undefined ? '–' : amount.format(latest.price));
    if (latest === undefined) {
      this.#showMove('none', 'no price yet');
      return;
    }
    const before = points.at(-2) ?? latest;
    const change = latest.price - before.price;
    const percent = (change / before.price) * 100;
    const direction = change > 0 ? 'up' : change < 0 ? 'down' : 'none';
    const sign = change > 0 ? '▲' : change < 0 ? '▼' : '■';
    this.#showMove(direction, `${sign} ${amount.format(Math.abs(change))} (${amount.format(Math.abs(percent))} %)`);
  }

  /** @param {'up' | 'down' | 'none'} direction @param {string} text */
  #showMove(direction, text) {
    this.#price.dataset.move = direction;
    this.#move.dataset.move = direction;
    setText(this.#move, text);
  }

  /** @param {PriceBook} book @param {Replay} replay */
  #tellReplay(book, replay) {
    const { counts, countsAtResume, isCutByHand, symbol } = book;
    const lost = counts.missed - countsAtResume.missed;
    const doubled = counts.doubled - countsAtResume.doubled;
    book.countsAtResume = { ...counts };
    book.isCutByHand = false;
    const isWhole = lost === 0 && doubled === 0 && replay.gap === null;
    // A reconnection that nobody asked for, and that missed nothing, is not worth a word.
    if (replay.count === 0 && isWhole && !isCutByHand) return;
    const awaySeconds = ((replay.untilMs - replay.sinceMs) / 1000).toFixed(1);
    const detail = replay.gap === null ? '' : ` · ${gapWords(replay.gap)}`;
    const movedWords = replay.isMoved ? ` · served by ${book.stream.node} now` : '';
    // Where the log itself has a gap, a sequence without holes proves nothing.
    const lostWords = lost > 0 ? lost : replay.gap === null ? 'none' : 'unknown how many';
    const sum = `${lostWords} lost, ${doubled === 0 ? 'none' : doubled} doubled`;
    this.#options.toasts.say(`Replayed ${counted(replay.count, 'event')}, ${sum}`, {
      tone: isWhole ? 'good' : 'bad',
      detail: `${symbol} · ${awaySeconds} s away${detail}${movedWords}`,
    });
  }

  async #trade() {
    const symbol = this.#symbol;
    try {
      await postJson(`/prices/${encodeURIComponent(symbol)}`, { price: Number(this.#tradePrice.value) });
      this.#tradePrice.value = '';
      if (this.#isCut) {
        this.#options.toasts.say(`Traded ${symbol}`, { detail: 'You will see it when the connection is back.' });
      }
    } catch (error) {
      this.#options.toasts.say('The trade was refused', { tone: 'bad', detail: /** @type {Error} */ (error).message });
    }
  }
}
