/** Channels and topics: parameters come from the pattern. */
import { defineChannel, type Channel, type Topic } from '@sse-channels/nest';
import type { ParamsOf } from '@sse-channels/protocol';
import {
  OrderPlaced,
  OrderShipped,
  ordersChannel,
  OrderWeighed,
  quietChannel,
  shipsChannel,
  type orderNoted,
} from './contract.js';
import { same, type Equal } from './equal.js';

type Param = string | number;

same<Equal<ParamsOf<'orders/:orderId'>, { orderId: Param }>>();
same<Equal<ParamsOf<'ships/:fleet/at/:port'>, { fleet: Param; port: Param }>>();
same<Equal<ParamsOf<':only'>, { only: Param }>>();
same<Equal<ParamsOf<string>, { [name: string]: Param }>>();

same<
  Equal<typeof ordersChannel, Channel<'orders/:orderId', typeof OrderPlaced | typeof OrderShipped | typeof orderNoted>>
>();

export function accepted(text: string): void {
  const topic = ordersChannel.topic({ orderId: 7 });
  same<Equal<typeof topic, Topic<'orders/:orderId', typeof OrderPlaced | typeof OrderShipped | typeof orderNoted>>>();
  same<Equal<typeof topic.params, { readonly orderId: string }>>();
  same<Equal<typeof topic.name, string>>();

  const port = shipsChannel.topic({ fleet: 'north', port: 3 });
  same<Equal<typeof port.params, { readonly fleet: string; readonly port: string }>>();

  const quiet = quietChannel.topic();
  same<Equal<keyof typeof quiet.params, never>>();

  const named = ordersChannel.topicNamed(text);
  same<Equal<typeof named, typeof topic | null>>();

  // A pattern that is known at run time only takes any parameters.
  const late = defineChannel(text, { events: [OrderWeighed] });
  late.topic({ whatever: 1 });

  // What is made for one pattern or event fits where all are taken.
  const anyChannel: Channel = ordersChannel;
  const anyTopic: Topic = quiet;
  const wider: Topic<string, typeof OrderPlaced | typeof OrderShipped | typeof OrderWeighed> = quiet;
  void [anyChannel, anyTopic, wider];
}

export function refused(): void {
  // @ts-expect-error: the parameter is missing
  ordersChannel.topic();
  // @ts-expect-error: the parameter is missing
  ordersChannel.topic({});
  // @ts-expect-error: one of two parameters is missing
  shipsChannel.topic({ fleet: 'north' });
  // @ts-expect-error: the parameter is misspelt
  ordersChannel.topic({ orderID: 7 });
  // @ts-expect-error: a parameter too many
  ordersChannel.topic({ orderId: 7, other: 1 });
  // @ts-expect-error: a parameter is a string or a number
  ordersChannel.topic({ orderId: true });
  // @ts-expect-error: a parameter is a string or a number
  ordersChannel.topic({ orderId: undefined });
  // @ts-expect-error: the pattern has no parameter
  quietChannel.topic({ orderId: 7 });
  // @ts-expect-error: no such parameter
  void ordersChannel.topic({ orderId: 7 }).params.other;
  // @ts-expect-error: parameters come back as strings
  const number: number = ordersChannel.topic({ orderId: 7 }).params.orderId;
  // @ts-expect-error: a topic of one channel is not one of another
  const other: Topic<'quiet', typeof OrderWeighed> = ordersChannel.topic({ orderId: 7 });
  // @ts-expect-error: a channel declares events
  defineChannel('none', {});
  // @ts-expect-error: a plain object is no event
  defineChannel('plain', { events: [{ total: 1 }] });
  // @ts-expect-error: an option that there is not
  defineChannel('option', { events: [OrderPlaced], reply: {} });
  // @ts-expect-error: a bound that there is not
  defineChannel('bound', { events: [OrderPlaced], replay: { maxEvent: 1 } });
  // @ts-expect-error: a wrong type
  defineChannel('wrong', { events: [OrderPlaced], heartbeatMs: '15s' });
  void [number, other];
}
