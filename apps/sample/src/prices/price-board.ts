/** The last price of each symbol, and the random walk that keeps them moving. */
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { EventBus, type Cursor } from '@sse-channels/nest';
import { PriceTicked, pricesChannel } from './prices.channel.js';

/** What is listed: where it begins, and how often it ticks. */
const LISTED = [
  { symbol: 'ACME', price: 120, everyMs: 125 },
  { symbol: 'GLOBEX', price: 48, everyMs: 250 },
  { symbol: 'INITECH', price: 310, everyMs: 400 },
  { symbol: 'UMBRELLA', price: 76, everyMs: 600 },
];
/** Symbols that are remembered; whoever trades more pushes the longest unused one out. */
const MAX_SYMBOLS = 1_000;

interface Quote {
  price: number;
  sequence: number;
}

@Injectable()
export class PriceBoard implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #quotes = new Map<string, Quote>();
  #timers: NodeJS.Timeout[] = [];

  constructor(private readonly bus: EventBus) {}

  onApplicationBootstrap(): void {
    this.#timers = LISTED.map(({ symbol, price, everyMs }) => {
      this.#quotes.set(symbol, { price, sequence: 0 });
      return setInterval(() => void this.#walk(symbol, price), everyMs);
    });
  }

  onModuleDestroy(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** A trade sets a symbol's price, and everyone who watches it sees the tick. */
  async trade(symbol: string, price: number, volume: number): Promise<{ sequence: number; cursor: Cursor }> {
    const sequence = (this.#quotes.get(symbol)?.sequence ?? 0) + 1;
    this.#quotes.delete(symbol);
    this.#quotes.set(symbol, { price, sequence });
    if (this.#quotes.size > MAX_SYMBOLS) this.#quotes.delete(this.#quotes.keys().next().value as string);
    const at = new Date().toISOString();
    const cursor = await this.bus.publish(pricesChannel.topic({ symbol }), PriceTicked, {
      symbol,
      price,
      volume,
      at,
      sequence,
    });
    return { sequence, cursor };
  }

  /** A step up or down, drawn back a little to where the symbol began. */
  #walk(symbol: string, home: number): Promise<unknown> {
    const last = this.#quotes.get(symbol)?.price ?? home;
    const step = last * (0.0025 * (Math.random() - 0.5) * 2) + (home - last) * 0.004;
    const price = Math.max(0.01, Math.round((last + step) * 100) / 100);
    return this.trade(symbol, price, 1 + Math.floor(Math.random() * 200));
  }
}
