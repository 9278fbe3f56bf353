/** `@SseChannel` and `@SseStream`: what a handler returns is checked by its decorator. */
import {
  Gap,
  heartbeat,
  Heartbeat,
  replayFrom,
  SseChannel,
  SseStream,
  type EventBus,
  type StreamInput,
  type TopicSelection,
} from '@sse-channels/nest';
import { of, type Observable } from 'rxjs';
import {
  OrderPaid,
  OrderPlaced,
  orderNoted,
  orderRemarked,
  ordersChannel,
  OrderShipped,
  OrderWeighed,
  quietChannel,
  shipsChannel,
} from './contract.js';
import { same, type Equal } from './equal.js';

const placed = new OrderPlaced();
const paid = new OrderPaid();
const orders = ordersChannel.topic({ orderId: 7 });

export class AcceptedChannels {
  @SseChannel(ordersChannel, 'topic/:id')
  topic(id: string) {
    return ordersChannel.topic({ orderId: id });
  }

  @SseChannel(ordersChannel)
  async later() {
    return orders;
  }

  @SseChannel(ordersChannel, ['a', 'b'], { start: { last: 3 } })
  several() {
    return [orders, { topic: orders, expiresAt: new Date() }];
  }

  @SseChannel(ordersChannel, 'options', { start: 'earliest' })
  options() {
    return {
      topic: orders,
      start: 'earliest' as const,
      filter: (event: object) => event instanceof OrderPlaced && event.total > 1,
      expiresAt: Date.now(),
    };
  }

  @SseChannel(ordersChannel, 'declared')
  declared(): TopicSelection<'orders/:orderId', typeof OrderPlaced | typeof OrderShipped | typeof orderNoted> {
    return {
      topic: orders,
      start: 'earliest',
      filter: (event) => {
        same<Equal<typeof event, OrderPlaced | OrderShipped | { note: string; tags: string[]; at: number }>>();
        return true;
      },
    };
  }

  @SseChannel(quietChannel)
  quiet() {
    return quietChannel.topic();
  }

  @SseChannel(ordersChannel, 'bound')
  bound(bus: EventBus) {
    return bus.topic(orders);
  }
}

export class RefusedChannels {
  // @ts-expect-error: another channel's topic
  @SseChannel(ordersChannel, 'other')
  other() {
    return quietChannel.topic();
  }

  // @ts-expect-error: another channel's topic among its own
  @SseChannel(ordersChannel, 'mixed')
  mixed() {
    return [orders, shipsChannel.topic({ fleet: 1, port: 2 })];
  }

  // @ts-expect-error: another channel's topic with options
  @SseChannel(ordersChannel, 'other-options')
  async otherOptions() {
    return { topic: quietChannel.topic(), start: { last: 1 } };
  }

  // @ts-expect-error: nothing
  @SseChannel(ordersChannel, 'nothing')
  nothing() {
    // Returns nothing.
  }

  // @ts-expect-error: sometimes nothing
  @SseChannel(ordersChannel, 'sometimes')
  sometimes(yes: boolean) {
    return yes ? orders : undefined;
  }

  // @ts-expect-error: a topic's name
  @SseChannel(ordersChannel, 'name')
  name() {
    return 'orders/7';
  }

  // @ts-expect-error: the channel
  @SseChannel(ordersChannel, 'channel')
  channel() {
    return ordersChannel;
  }

  // @ts-expect-error: a stream
  @SseChannel(ordersChannel, 'stream')
  stream(bus: EventBus) {
    return bus.stream(ordersChannel);
  }

  // @ts-expect-error: a filter for what the channel does not carry
  @SseChannel(ordersChannel, 'filter')
  filter() {
    return { topic: orders, filter: (event: OrderWeighed) => event.grams > 1 };
  }

  // @ts-expect-error: a start that there is not
  @SseChannel(ordersChannel, 'start', { start: 'oldest' })
  start() {
    return orders;
  }

  // @ts-expect-error: a start that there is not, from the handler
  @SseChannel(ordersChannel, 'own-start')
  ownStart() {
    return { topic: orders, start: 'oldest' as const };
  }

  // @ts-expect-error: a pattern is no channel
  @SseChannel('orders/:orderId', 'pattern')
  pattern() {
    return orders;
  }
}

export class AcceptedStreams {
  @SseStream('observable', { events: [OrderPlaced, orderNoted] })
  observable(): Observable<OrderPlaced> {
    return of(placed);
  }

  @SseStream('inferred', { events: [OrderPlaced, orderNoted], method: 'POST' })
  inferred() {
    return of(placed, orderNoted.of({ note: 'n', at: 7 }));
  }

  @SseStream('generator', { events: [OrderPlaced, OrderShipped] })
  async *generator() {
    yield placed;
    yield new OrderShipped();
  }

  @SseStream({ events: [OrderPlaced] })
  async promised() {
    return of(placed);
  }

  @SseStream('control', { events: [OrderPlaced] })
  control() {
    return of(placed).pipe(heartbeat(1_000));
  }

  @SseStream('placed', { events: [OrderPlaced, orderNoted] })
  placed() {
    return of(
      { event: placed, cursor: 'run~1-0' },
      { event: orderNoted.of({ note: 'n', at: 7 }), cursor: 'run~2-0' },
    ).pipe(replayFrom(null));
  }

  @SseStream('bus', { events: [OrderPlaced, OrderShipped, orderNoted] })
  bus(bus: EventBus) {
    return bus.stream(ordersChannel).pipe(replayFrom(null));
  }

  @SseStream('declared', { events: [OrderPlaced, orderNoted] })
  declared(): StreamInput<typeof OrderPlaced> {
    return of(placed, new Gap('orders/7', 'reset', 'run~1-0'), new Heartbeat());
  }
}

export class RefusedStreams {
  // @ts-expect-error: an event that is not declared
  @SseStream('undeclared', { events: [OrderPlaced] })
  undeclared() {
    return of(paid);
  }

  // @ts-expect-error: an event that is not declared among others
  @SseStream('mixed', { events: [OrderPlaced] })
  mixed() {
    return of(placed, paid);
  }

  // @ts-expect-error: a schema event that is not declared
  @SseStream('schema', { events: [orderNoted] })
  schema() {
    return of(orderRemarked.of({ note: 'n', at: 7 }));
  }

  // @ts-expect-error: a generator of an event that is not declared
  @SseStream('generator', { events: [OrderPlaced] })
  async *generator() {
    yield placed;
    yield paid;
  }

  // @ts-expect-error: a placed event that is not declared
  @SseStream('placed', { events: [OrderPlaced] })
  placed() {
    return of({ event: paid, cursor: 'run~1-0' });
  }

  // @ts-expect-error: a channel with an event that is not declared
  @SseStream('bus', { events: [OrderPlaced, orderNoted] })
  bus(bus: EventBus) {
    return bus.stream(ordersChannel);
  }

  // @ts-expect-error: plain data
  @SseStream('plain', { events: [OrderPlaced] })
  plain() {
    return of({ amount: 1 });
  }

  // @ts-expect-error: text
  @SseStream('text', { events: [OrderPlaced] })
  text() {
    return of('text');
  }

  // @ts-expect-error: an event in place of a stream
  @SseStream('single', { events: [OrderPlaced] })
  single() {
    return placed;
  }

  // @ts-expect-error: a list in place of a stream
  @SseStream('list', { events: [OrderPlaced] })
  list() {
    return [placed];
  }

  // @ts-expect-error: nothing
  @SseStream('nothing', { events: [OrderPlaced] })
  nothing() {
    // Returns nothing.
  }

  // @ts-expect-error: a method that there is not
  @SseStream('method', { events: [OrderPlaced], method: 'PUT' })
  method() {
    return of(placed);
  }

  // @ts-expect-error: no events
  @SseStream('eventless', {})
  eventless() {
    return of(placed);
  }
}
