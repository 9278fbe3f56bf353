/** The hooks: typed by what they listen to, as the client is by its contract. */
import { createSseClient, type SseClient } from '@sse-channels/client';
import { useChannel, useConnectionState, useLatest, useReduced, type LiveChannel } from '@sse-channels/react';
import type { ordersChannel, scalesChannel } from './contract.js';
import { same, type Equal } from './equal.js';

type Flat<T> = T extends object ? { [K in keyof T]: Flat<T[K]> } : T;
type Shipped = { orderId: string; carrier: string };
type Placed = { total: number; placedAt?: string; parcels?: { grams: number }[] };

export function Orders({ orderId, all }: { orderId: string; all: SseClient<typeof ordersChannel> }) {
  const orders = useChannel(
    (lastEventId) => createSseClient<typeof ordersChannel>(`/orders/${orderId}/events`, { lastEventId }),
    [orderId],
  );
  const shipped = useLatest(orders, 'order.shipped');
  same<Equal<Flat<typeof shipped>, Shipped | undefined>>();
  const first = useLatest(orders, 'order.shipped', { orderId, carrier: 'none' });
  same<Equal<Flat<typeof first>, Shipped>>();
  const orNull = useLatest(all, 'order.placed', null);
  same<Equal<Flat<typeof orNull>, Placed | null>>();

  const total = useReduced(
    all,
    (sum, event) => {
      same<Equal<(typeof event)['name'], 'order.placed' | 'order.shipped' | 'order.noted'>>();
      return event.name === 'order.placed' ? sum + event.data.total : sum;
    },
    0,
    (sum, { skipped = 0 }) => sum - skipped,
  );
  same<Equal<typeof total, number>>();

  orders.on('order.shipped', (data, event) => {
    same<Equal<Flat<typeof data>, Shipped>>();
    same<Equal<(typeof event)['name'], 'order.shipped'>>();
  });
  orders.on(({ name }) => void (name satisfies 'order.placed' | 'order.shipped' | 'order.noted'));
  orders.onGap(({ topic, reason }) => void [topic, reason]);
  const { status } = useConnectionState(orders);
  useConnectionState(all);
  void (status satisfies 'connecting' | 'open' | 'stale' | 'closed');

  // Names that are not types: any passes, known ones stay exact.
  const scales = useChannel(() => createSseClient<typeof scalesChannel>('/scales'), []);
  const placed = useLatest(scales, 'order.placed');
  same<Equal<Flat<typeof placed>, Placed | undefined>>();
  const weighed = useLatest(scales, 'order.weighed');
  same<Equal<Flat<typeof weighed>, { grams: number } | undefined>>();

  // Nothing is known.
  const anything: LiveChannel = useChannel(() => createSseClient('/anything'), []);
  const whatever = useLatest(anything, 'whatever');
  same<Equal<typeof whatever, unknown>>();

  // @ts-expect-error no event of this channel
  useLatest(orders, 'order.lost');
  // @ts-expect-error no event of this channel
  orders.on('order.lost', () => undefined);
  // @ts-expect-error no field of this event
  void shipped?.weight;
  // @ts-expect-error what is opened can be closed
  useChannel(() => ({ on: () => () => undefined }), []);
  // @ts-expect-error what it uses has to be said
  useChannel(() => createSseClient('/anything'));
  // @ts-expect-error a value of another kind
  useReduced(orders, () => 'text', 0);
}
