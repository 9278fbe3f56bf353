/** `bus.stream` and the operators: what a listener receives is told apart by its name. */
import {
  Gap,
  heartbeat,
  Heartbeat,
  ofEvent,
  replayFrom,
  type Delivery,
  type EventBus,
  type EventStream,
  type Topic,
} from '@sse-channels/nest';
import { filter, map, type Observable } from 'rxjs';
import {
  OrderPaid,
  OrderPlaced,
  orderNoted,
  OrderReturned,
  ordersChannel,
  OrderShipped,
  OrderWeighed,
  scalesChannel,
  shipsChannel,
} from './contract.js';
import { same, type Equal } from './equal.js';

type OrderTypes = typeof OrderPlaced | typeof OrderShipped | typeof orderNoted;
type Placed = Delivery<typeof OrderPlaced, 'orders/:orderId'>;
type Shipped = Delivery<typeof OrderShipped, 'orders/:orderId'>;
type Noted = Delivery<typeof orderNoted, 'orders/:orderId'>;
type Of<Stream> = Stream extends Observable<infer Item> ? Item : never;

export function accepted(bus: EventBus, cursor: string | null): void {
  const stream = bus.stream(ordersChannel);
  same<Equal<typeof stream, EventStream<OrderTypes, 'orders/:orderId'>>>();
  same<Equal<Of<typeof stream>, Placed | Shipped | Noted>>();
  const ofTopic = bus.stream(ordersChannel.topic({ orderId: 7 }));
  same<Equal<typeof ofTopic, typeof stream>>();
  const ofBound = bus.topic(ordersChannel.topic({ orderId: 7 })).stream();
  same<Equal<typeof ofBound, typeof stream>>();

  stream.subscribe((delivery) => {
    same<Equal<typeof delivery.name, 'order.placed' | 'order.shipped' | 'order.noted'>>();
    same<Equal<typeof delivery.topic.params, { readonly orderId: string }>>();
    same<Equal<typeof delivery.cursor, string>>();
    switch (delivery.name) {
      case 'order.placed':
        same<Equal<typeof delivery.event, OrderPlaced>>();
        same<Equal<typeof delivery.topic, Topic<'orders/:orderId', typeof OrderPlaced>>>();
        break;
      case 'order.shipped':
        same<Equal<typeof delivery.event, OrderShipped>>();
        break;
      case 'order.noted':
        same<Equal<typeof delivery.event, { note: string; tags: string[]; at: number }>>();
        break;
      default:
        same<Equal<typeof delivery, never>>();
    }
  });

  const replayed = stream.pipe(replayFrom(cursor));
  same<Equal<Of<typeof replayed>, Placed | Shipped | Noted | Gap>>();
  const beating = stream.pipe(heartbeat(15_000));
  same<Equal<Of<typeof beating>, Placed | Shipped | Noted | Heartbeat>>();
  const both = stream.pipe(replayFrom(cursor), heartbeat(15_000));
  same<Equal<Of<typeof both>, Placed | Shipped | Noted | Gap | Heartbeat>>();
  both.subscribe((item) => {
    if (item instanceof Gap) return same<Equal<typeof item, Gap>>();
    if (item instanceof Heartbeat) return same<Equal<typeof item, Heartbeat>>();
    return same<Equal<typeof item, Placed | Shipped | Noted>>();
  });

  const placed = stream.pipe(ofEvent(OrderPlaced));
  same<Equal<Of<typeof placed>, Placed>>();
  const noted = stream.pipe(ofEvent(orderNoted));
  same<Equal<Of<typeof noted>, Noted>>();
  const told = stream.pipe(replayFrom(cursor), heartbeat(15_000), ofEvent(OrderShipped));
  same<Equal<Of<typeof told>, Shipped | Gap | Heartbeat>>();
  const none = stream.pipe(ofEvent(OrderPaid));
  same<Equal<Of<typeof none>, never>>();

  // Two events with the same properties are told apart by their names.
  const returned = bus.stream(shipsChannel).pipe(ofEvent(OrderReturned));
  same<Equal<Of<typeof returned>, Delivery<typeof OrderReturned, 'ships/:fleet/at/:port'>>>();

  // A class that has no name as a type is told by its properties.
  const weighed = bus.stream(scalesChannel).pipe(ofEvent(OrderWeighed));
  same<Equal<Of<typeof weighed>, Delivery<typeof OrderWeighed, 'scales'>>>();
  const narrowed = bus.stream(scalesChannel).pipe(
    filter(({ event }) => event instanceof OrderWeighed),
    map(({ cursor: at }) => at),
  );
  same<Equal<Of<typeof narrowed>, string>>();
}

/** Observables of an application's own. */
export function own(
  instances: Observable<OrderPlaced | OrderShipped>,
  placedItems: Observable<{ event: OrderPlaced; cursor: string }>,
): void {
  const shipped = instances.pipe(ofEvent(OrderShipped));
  same<Equal<Of<typeof shipped>, OrderShipped>>();
  const beating = instances.pipe(heartbeat(1_000));
  same<Equal<Of<typeof beating>, OrderPlaced | OrderShipped | Heartbeat>>();
  const placed = placedItems.pipe(ofEvent(OrderPlaced));
  same<Equal<Of<typeof placed>, { event: OrderPlaced; cursor: string }>>();
  const replayed = placedItems.pipe(replayFrom(null));
  same<Equal<Of<typeof replayed>, { event: OrderPlaced; cursor: string } | Gap>>();
}

export function refused(bus: EventBus): void {
  const stream = bus.stream(ordersChannel);
  // @ts-expect-error: no event of that name
  stream.subscribe(({ name }) => name === 'order.paid');
  stream.subscribe((delivery) => {
    // @ts-expect-error: not every event has that field
    void delivery.event.carrier;
    // @ts-expect-error: that event has no such field
    if (delivery.name === 'order.placed') void delivery.event.carrier;
    // @ts-expect-error: what is received is shared and is not changed
    delivery.cursor = '';
  });
  // @ts-expect-error: a gap has no event
  stream.pipe(replayFrom(null)).subscribe(({ event }) => event);
  // @ts-expect-error: a heartbeat has no event
  stream.pipe(heartbeat(1)).subscribe(({ event }) => event);
  // @ts-expect-error: milliseconds are a number
  stream.pipe(heartbeat('15s'));
  // @ts-expect-error: a cursor is text
  stream.pipe(replayFrom(7));
  // @ts-expect-error: a name is no event
  stream.pipe(ofEvent('order.placed'));
  // @ts-expect-error: a name is no channel
  bus.stream('orders/7');
  // @ts-expect-error: a parameterless call has no topic
  bus.stream();
}
