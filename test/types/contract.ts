/** The contract that the type tests are about: classes with and without a name as a type, schemas, channels. */
import { defineChannel, defineEvent, SseEvent } from '@sse-channels/nest';
import { z } from 'zod';

export class Parcel {
  grams!: number;
}

@SseEvent('order.placed')
export class OrderPlaced {
  static readonly eventName = 'order.placed';
  total!: number;
  placedAt?: Date;
  parcels?: Parcel[];

  describe(): string {
    return `an order of ${this.total}`;
  }
}

@SseEvent('order.shipped')
export class OrderShipped {
  static readonly eventName = 'order.shipped';
  orderId!: string;
  carrier!: string;
}

/** Has the same properties as `OrderShipped`. */
@SseEvent('order.returned')
export class OrderReturned {
  static readonly eventName = 'order.returned';
  orderId!: string;
  carrier!: string;
}

/** Its name is known at run time only. */
@SseEvent('order.weighed')
export class OrderWeighed {
  grams!: number;
}

/** Is on none of the channels. */
@SseEvent('order.paid')
export class OrderPaid {
  amount!: number;
  currency!: string;
}

export const orderNoted = defineEvent(
  'order.noted',
  z.object({ note: z.string(), tags: z.array(z.string()).default([]), at: z.coerce.number() }),
);

/** Is on none of the channels, and has the data of `orderNoted`. */
export const orderRemarked = defineEvent('order.remarked', orderNoted.schema);

export const ordersChannel = defineChannel('orders/:orderId', { events: [OrderPlaced, OrderShipped, orderNoted] });
export const shipsChannel = defineChannel('ships/:fleet/at/:port', { events: [OrderShipped, OrderReturned] });
export const scalesChannel = defineChannel('scales', { events: [OrderWeighed, OrderPlaced] });
export const quietChannel = defineChannel('quiet', { events: [OrderWeighed] });
