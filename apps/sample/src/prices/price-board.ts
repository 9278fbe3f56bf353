/** The last price of each symbol, wherever it was traded, and the random walk that keeps them moving. */
import { randomUUID } from 'node:crypto';
import {
  Injectable,
  Logger,
  ServiceUnavailableException,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import { EventBus, Gap, replayFrom, type Cursor } from '@sse-channels/nest';
import type { Subscription } from 'rxjs';
import { untilConfirmed } from '../log/confirmed.js';
import { ThisNode } from '../node/this-node.js';
import { PriceTicked, pricesChannel } from './prices.channel.js';

/** What is listed: where it begins, and how often it ticks on each node. */
const LISTED = [
  { symbol: 'ACME', price: 120, everyMs: 125 },
  { symbol: 'GLOBEX', price: 48, everyMs: 250 },
  { symbol: 'INITECH', price: 310, everyMs: 400 },
  { symbol: 'UMBRELLA', price: 76, everyMs: 600 },
];
/** Symbols that are remembered; whoever trades more pushes the longest unused one out. */
const MAX_SYMBOLS = 1_000;
/** Trades of a symbol that wait for the log; more are refused. */
const MAX_WAITING = 100;

interface Quote {
  /** Of the last trade, on whichever node. */
  price: number;
  /** Trades that this node told. */
  sequence: number;
  /** Trades that are not in the log yet. */
  waiting: number;
  /** Settles when the last of them is. */
  turn: Promise<unknown>;
}

@Injectable()
export class PriceBoard implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #quotes = new Map<string, Quote>();
  readonly #logger = new Logger('Prices');
  readonly #closing = new AbortController();
  #timers: NodeJS.Timeout[] = [];
  #following: Subscription | undefined;

  constructor(
    private readonly bus: EventBus,
    private readonly node: ThisNode,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const histories = await Promise.all(
      LISTED.map(({ symbol }) => this.bus.topic(pricesChannel.topic({ symbol })).read({ limit: 10_000 })),
    );
    for (const [index, { symbol, price }] of LISTED.entries()) {
      this.#quoteOf(symbol, histories[index]?.events.at(-1)?.event.price ?? price);
    }
    // All nodes walk on from the last price of any of them: no leader, no lock; the order of the log is the order of the trades.
    this.#following = this.bus
      .stream(pricesChannel)
      .pipe(replayFrom(histories[0]?.cursor))
      .subscribe({
        next: (item) => {
          if (!(item instanceof Gap)) this.#quoteOf(item.event.symbol, item.event.price).price = item.event.price;
        },
        error: (error: unknown) => this.#logger.error(error),
      });
    this.#timers = LISTED.map(({ symbol, price, everyMs }) =>
      setInterval(() => void this.#walk(symbol, price), everyMs),
    );
  }

  onModuleDestroy(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#following?.unsubscribe();
    this.#closing.abort();
  }

  /**
   * A trade sets a symbol's price, and everyone who watches it sees the tick.
   * @throws ServiceUnavailableException where too many wait for the log
   */
  async trade(
    symbol: string,
    price: number,
    volume: number,
  ): Promise<{ node: string; sequence: number; cursor: Cursor }> {
    const quote = this.#quoteOf(symbol, price);
    if (quote.waiting >= MAX_WAITING) {
      throw new ServiceUnavailableException(`${quote.waiting} trades of ${symbol} wait for the log; try again later.`);
    }
    // One after the other: what is told again must not be overtaken by the next.
    const told = quote.turn.then(() => this.#tell(symbol, price, volume, quote));
    quote.waiting += 1;
    quote.turn = told
      .catch(() => undefined)
      .finally(() => {
        quote.waiting -= 1;
      });
    return told;
  }

  async #tell(symbol: string, price: number, volume: number, quote: Quote) {
    const node = this.node.id;
    const sequence = quote.sequence + 1;
    const tick = { symbol, price, volume, at: new Date().toISOString(), node, sequence };
    const topic = pricesChannel.topic({ symbol });
    const options = { idempotencyKey: randomUUID() };
    const cursor = await untilConfirmed(
      () => this.bus.publish(topic, PriceTicked, tick, options),
      this.#closing.signal,
    );
    quote.sequence = sequence;
    return { node, sequence, cursor };
  }

  /** A step up or down, drawn back a little to where the symbol began. */
  async #walk(symbol: string, home: number): Promise<void> {
    const { price: last, waiting } = this.#quoteOf(symbol, home);
    if (waiting > 0) return;
    const step = last * (0.0025 * (Math.random() - 0.5) * 2) + (home - last) * 0.004;
    const price = Math.max(0.01, Math.round((last + step) * 100) / 100);
    try {
      await this.trade(symbol, price, 1 + Math.floor(Math.random() * 200));
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#logger.error(error);
    }
  }

  #quoteOf(symbol: string, price: number): Quote {
    const quote = this.#quotes.get(symbol) ?? { price, sequence: 0, waiting: 0, turn: Promise.resolve() };
    // The longest unused one stands first.
    this.#quotes.delete(symbol);
    this.#quotes.set(symbol, quote);
    if (this.#quotes.size > MAX_SYMBOLS) this.#quotes.delete(this.#quotes.keys().next().value as string);
    return quote;
  }
}
