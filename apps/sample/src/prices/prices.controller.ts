/** Prices: a stream for each symbol, and trades that move them. */
import { BadRequestException, Body, Controller, Injectable, Param, Post, type PipeTransform } from '@nestjs/common';
import { SseChannel } from '@sse-channels/nest';
import { IsInt, IsOptional, IsPositive, Max, Min } from 'class-validator';
import { PriceBoard } from './price-board.js';
import { pricesChannel } from './prices.channel.js';

class Trade {
  @IsPositive() @Max(1_000_000) price!: number;
  @IsOptional() @IsInt() @Min(1) volume?: number;
}

/** Symbols are short and upper case: what is not one is refused before a stream opens. */
@Injectable()
class SymbolPipe implements PipeTransform<string, string> {
  transform(symbol: string): string {
    if (/^[A-Z][A-Z0-9.]{0,11}$/.test(symbol)) return symbol;
    throw new BadRequestException('A symbol is one to twelve upper case letters, digits and dots, such as ACME.');
  }
}

@Controller('prices')
export class PricesController {
  constructor(private readonly board: PriceBoard) {}

  @SseChannel(pricesChannel, ':symbol/events')
  events(@Param('symbol', SymbolPipe) symbol: string) {
    return pricesChannel.topic({ symbol });
  }

  @Post(':symbol')
  trade(@Param('symbol', SymbolPipe) symbol: string, @Body() { price, volume = 1 }: Trade) {
    return this.board.trade(symbol, price, volume);
  }
}
