/** `bus.publish` and `bus.publishMany`: a topic takes the events of its channel, with their data. */
import type { BusTopic, Cursor, EventBus, History } from '@sse-channels/nest';
import {
  OrderPaid,
  OrderPlaced,
  orderNoted,
  orderRemarked,
  OrderReturned,
  ordersChannel,
  OrderShipped,
  OrderWeighed,
  quietChannel,
  scalesChannel,
  shipsChannel,
} from './contract.js';
import { same, type Equal } from './equal.js';

const orders = ordersChannel.topic({ orderId: 7 });
const scales = scalesChannel.topic();

export async function accepted(
  bus: EventBus,
  placed: OrderPlaced,
  some: Array<OrderPlaced | OrderShipped>,
): Promise<void> {
  const cursor = await bus.publish(orders, OrderPlaced, { total: 1 });
  same<Equal<typeof cursor, Cursor>>();
  const published = bus.publish(orders, placed);
  same<Equal<typeof published, Promise<Cursor>>>();
  const many = bus.publishMany(orders, [placed, orderNoted.of({ note: 'n', at: 1 })]);
  same<Equal<typeof many, Promise<Cursor[]>>>();

  await bus.publish(orders, OrderPlaced, { total: 1, placedAt: new Date(), parcels: [{ grams: 1 }] });
  await bus.publish(orders, OrderPlaced, placed);
  await bus.publish(orders, OrderShipped, { orderId: '7', carrier: 'DHL' });
  await bus.publish(orders, orderNoted, { note: 'n', at: '7' });
  await bus.publish(orders, orderNoted, { note: 'n', at: 7, tags: ['t'] });
  await bus.publish(orders, orderNoted.of({ note: 'n', at: 7 }));
  await bus.publish(scales, OrderWeighed, { grams: 1 });
  await bus.publish(quietChannel.topic(), OrderWeighed, { grams: 1 });
  await bus.publish(shipsChannel.topic({ fleet: 1, port: 2 }), OrderReturned, { orderId: '7', carrier: 'DHL' });
  await bus.publishMany(orders, []);
  await bus.publishMany(orders, some);
  for (const event of some) await bus.publish(orders, event);

  await bus.toPrincipal('7').publish(OrderShipped, { orderId: '7', carrier: 'DHL' });
  await bus.toPrincipal('7').publish(placed);

  const topic = bus.topic(orders);
  same<
    Equal<typeof topic, BusTopic<'orders/:orderId', typeof OrderPlaced | typeof OrderShipped | typeof orderNoted>>
  >();
  const own = topic.publish(OrderPlaced, { total: 1 });
  same<Equal<typeof own, Promise<Cursor>>>();
  await topic.publish(placed);
  await bus.publish(topic, OrderPlaced, { total: 1 });
  const history = await topic.read({ after: cursor, limit: 10 });
  same<
    Equal<typeof history, History<typeof OrderPlaced | typeof OrderShipped | typeof orderNoted, 'orders/:orderId'>>
  >();
  for (const delivery of history.events) {
    if (delivery.name === 'order.placed') same<Equal<typeof delivery.event, OrderPlaced>>();
  }
}

export function refused(bus: EventBus, placed: OrderPlaced, paid: OrderPaid): void {
  // @ts-expect-error: a field of the event is missing
  void bus.toPrincipal('7').publish(OrderShipped, { orderId: '7' });
  // @ts-expect-error: the event is on another channel
  void bus.publish(quietChannel.topic(), OrderPlaced, { total: 1 });
  // @ts-expect-error: the event is on no channel
  void bus.publish(orders, OrderPaid, { amount: 1, currency: 'EUR' });
  // @ts-expect-error: the schema event is on no channel
  void bus.publish(orders, orderRemarked, { note: 'n', at: 7 });
  // @ts-expect-error: an instance of an event that is on no channel
  void bus.publish(orders, paid);
  // @ts-expect-error: an instance of an event of another channel
  void bus.publish(quietChannel.topic(), placed);
  // @ts-expect-error: data of a schema event that is on no channel
  void bus.publish(orders, orderRemarked.of({ note: 'n', at: 7 }));
  // @ts-expect-error: plain data does not say which event it is
  void bus.publish(orders, { note: 'n', at: 7 });
  // @ts-expect-error: the data is missing
  void bus.publish(orders, OrderPlaced);
  // @ts-expect-error: a field is missing
  void bus.publish(orders, OrderPlaced, {});
  // @ts-expect-error: a field is misspelt
  void bus.publish(orders, OrderPlaced, { totl: 1 });
  // @ts-expect-error: a field too many
  void bus.publish(orders, OrderPlaced, { total: 1, carrier: 'DHL' });
  // @ts-expect-error: a field has another type
  void bus.publish(orders, OrderPlaced, { total: '1' });
  // @ts-expect-error: an optional field has another type
  void bus.publish(orders, OrderPlaced, { total: 1, placedAt: 'today' });
  // @ts-expect-error: a nested field is misspelt
  void bus.publish(orders, OrderPlaced, { total: 1, parcels: [{ gram: 1 }] });
  // @ts-expect-error: the data of another event of the channel
  void bus.publish(orders, OrderPlaced, { orderId: '7', carrier: 'DHL' });
  // @ts-expect-error: the data does not fit the schema
  void bus.publish(orders, orderNoted, { note: 7, at: 7 });
  // @ts-expect-error: null does not fit the schema
  void bus.publish(orders, orderNoted, null);
  // @ts-expect-error: a channel is no topic
  void bus.publish(ordersChannel, OrderPlaced, { total: 1 });
  // @ts-expect-error: a name is no topic
  void bus.publish('orders/7', OrderPlaced, { total: 1 });
  // @ts-expect-error: one of several is on no channel
  void bus.publishMany(orders, [placed, paid]);
  // @ts-expect-error: one of several is a schema event that is on no channel
  void bus.publishMany(orders, [placed, orderRemarked.of({ note: 'n', at: 7 })]);
  // @ts-expect-error: not a list
  void bus.publishMany(orders, placed);
  // @ts-expect-error: a bound topic takes the events of its channel too
  void bus.topic(orders).publish(OrderPaid, { amount: 1, currency: 'EUR' });
  // @ts-expect-error: a bound topic takes the data of its events too
  void bus.topic(orders).publish(OrderPlaced, { total: '1' });
  // @ts-expect-error: a bound topic takes the instances of its events too
  void bus.topic(orders).publish(paid);
  // @ts-expect-error: an option that there is not
  void bus.topic(orders).read({ before: 'cursor' });
}
