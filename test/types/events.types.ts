/** Events: classes and schemas, their names and their data. */
import {
  defineEvent,
  SseEvent,
  TypedEvent,
  type EventDefinition,
  type EventInput,
  type EventInstance,
  type EventName,
  type EventOutput,
} from '@sse-channels/nest';
import { z } from 'zod';
import { OrderPlaced, orderNoted, OrderWeighed, type Parcel } from './contract.js';
import { same, type Equal } from './equal.js';

type Flat<T> = { [K in keyof T]: T[K] };
type NoteIn = { note: string; tags?: string[] | undefined; at: unknown };
type NoteOut = { note: string; tags: string[]; at: number };

same<Equal<EventName<typeof OrderPlaced>, 'order.placed'>>();
same<Equal<EventName<typeof orderNoted>, 'order.noted'>>();
same<Equal<EventName<typeof OrderWeighed>, string>>();

same<Equal<Flat<EventInput<typeof OrderPlaced>>, { total: number; placedAt?: Date; parcels?: Parcel[] }>>();
same<Equal<Flat<EventInput<typeof orderNoted>>, NoteIn>>();
same<Equal<EventOutput<typeof OrderPlaced>, OrderPlaced>>();
same<Equal<EventOutput<typeof orderNoted>, NoteOut>>();
same<Equal<EventInstance<typeof OrderPlaced>, OrderPlaced>>();
same<Equal<EventInstance<typeof orderNoted>, TypedEvent<'order.noted', NoteIn, NoteOut>>>();
same<Equal<typeof orderNoted, EventDefinition<'order.noted', NoteIn, NoteOut>>>();

export function accepted(name: string): void {
  const noted = orderNoted.of({ note: 'n', at: '7' });
  same<Equal<typeof noted, TypedEvent<'order.noted', NoteIn, NoteOut>>>();
  const nothing = defineEvent('order.forgotten', z.null());
  nothing.of(null);
  // A name that is known at run time only is checked there.
  defineEvent(name, z.null());
  SseEvent(name);
  defineEvent('order.counted', z.object({ id: z.number() }), { key: 'id' });
  // @ts-expect-error -- no property of it
  defineEvent('order.counted', z.object({ id: z.number() }), { key: 'di' });

  @SseEvent('order.plain')
  class WithoutName {}
  abstract class Base {
    id!: string;
  }
  @SseEvent('order.derived')
  class Derived extends Base {
    static readonly eventName = 'order.derived';
    constructor(readonly total: number) {
      super();
    }
  }
  void [WithoutName, Derived];
}

export function refused(): void {
  // @ts-expect-error: a field is missing
  orderNoted.of({ note: 'n' });
  // @ts-expect-error: a field is misspelt
  orderNoted.of({ not: 'n', at: 7 });
  // @ts-expect-error: a field has another type
  orderNoted.of({ note: 7, at: 7 });
  // @ts-expect-error: null is not what the schema takes
  orderNoted.of(null);
  // @ts-expect-error: a class is no schema
  defineEvent('order.class', OrderPlaced);
  // @ts-expect-error: a schema of another kind
  defineEvent('order.object', { note: 'string' });

  // @ts-expect-error: EventSource dispatches that name itself
  defineEvent('error', z.null());
  // @ts-expect-error: EventSource dispatches that name itself
  defineEvent('open', z.null());
  // @ts-expect-error: EventSource dispatches that name itself
  defineEvent('message', z.null());
  // @ts-expect-error: names that begin with "$" are the library's
  defineEvent('$gap', z.null());
  // @ts-expect-error: a name is needed
  defineEvent('', z.null());
  // @ts-expect-error: EventSource dispatches that name itself
  SseEvent('message');
  // @ts-expect-error: names that begin with "$" are the library's
  SseEvent('$open');
  // @ts-expect-error: a name is needed
  SseEvent('');
  // @ts-expect-error: a name is text
  SseEvent(7);

  // @ts-expect-error: the class says another name than its decorator
  @SseEvent('order.named')
  class OtherName {
    static readonly eventName = 'order.renamed';
  }
  // @ts-expect-error: the class says a name that is none
  @SseEvent('order.numbered')
  class NumberedName {
    static readonly eventName = 7;
  }
  class Method {
    // @ts-expect-error: an event is a class, not a method
    @SseEvent('order.method')
    method(): void {
      // Only here to be decorated.
    }
  }
  void [OtherName, NumberedName, Method];
}
