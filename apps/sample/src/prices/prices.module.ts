/** Everything about prices. */
import { Module } from '@nestjs/common';
import { PriceBoard } from './price-board.js';
import { PricesController } from './prices.controller.js';

@Module({ controllers: [PricesController], providers: [PriceBoard] })
export class PricesModule {}
