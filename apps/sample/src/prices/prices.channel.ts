/** The contract of the prices: who shows them imports it, as a type or as it is. */
import { defineChannel, SseEvent } from '@sse-channels/nest';
import { IsISO8601, IsInt, IsPositive, IsString, Min } from 'class-validator';

@SseEvent('price.ticked')
export class PriceTicked {
  static readonly eventName = 'price.ticked';

  @IsString() symbol!: string;
  @IsPositive() price!: number;
  /** Shares traded. */
  @IsInt() @Min(1) volume!: number;
  @IsISO8601() at!: string;
  /** Where it was traded. */
  @IsString() node!: string;
  /** Counts up by one for each tick of a symbol on a node, so that anyone can see that none is missing. */
  @IsInt() @Min(1) sequence!: number;
}

export const pricesChannel = defineChannel('prices/:symbol', {
  events: [PriceTicked],
  replay: { maxEvents: 4_000, maxAgeMs: 900_000 },
  // Prices are public: their size gives nothing away.
  compression: true,
});
