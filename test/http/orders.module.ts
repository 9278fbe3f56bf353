/** The application that the HTTP tests talk to: a channel per order, streams of one connection, guards, pipes, filters. */
import {
  BadRequestException,
  Body,
  CanActivate,
  Controller,
  ExecutionContext,
  ForbiddenException,
  Get,
  Header,
  Injectable,
  Module,
  NestInterceptor,
  CallHandler,
  Param,
  ParseIntPipe,
  Post,
  Query,
  SseSignal,
  UseGuards,
  UseInterceptors,
  Version,
} from '@nestjs/common';
import {
  defineChannel,
  defineEvent,
  EventBus,
  formatCursor,
  formatOffset,
  LastEventId,
  replayFrom,
  SseChannel,
  SseChannelsModule,
  SseConnection,
  SseEvent,
  SseStream,
} from '@sse-channels/nest';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, Min, ValidateNested } from 'class-validator';
import { from, map, Observable, of, throwError, concat } from 'rxjs';
import { z } from 'zod';

export class Parcel {
  @IsInt() @Min(1) grams!: number;
}

@SseEvent('order.placed')
export class OrderPlaced {
  @IsInt() number!: number;
  @IsOptional() @ValidateNested() @Type(() => Parcel) parcel?: Parcel;
}

@SseEvent('order.shipped')
export class OrderShipped {
  @IsInt() number!: number;
  @IsString() carrier!: string;
}

export const orderNoted = defineEvent('order.noted', z.object({ note: z.string().min(1) }).nullable());

export const ordersChannel = defineChannel('orders/:orderId', {
  events: [OrderPlaced, OrderShipped, orderNoted],
  replay: { maxEvents: 20 },
});

export const parcelsChannel = defineChannel('parcels/:depot', { events: [OrderShipped], compression: true });
export const quietChannel = defineChannel('quiet', { events: [OrderPlaced], heartbeatMs: 20, retryMs: 1_000 });

@SseEvent('progress.made')
export class ProgressMade {
  @IsInt() percent!: number;
}

@Injectable()
export class KeyGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    if (headers['x-key'] === 'wrong') throw new ForbiddenException('That key opens nothing');
    return headers['x-key'] === 'right';
  }
}

@Injectable()
export class TraceInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const response = context.switchToHttp().getResponse<{
      setHeader?: (name: string, value: string) => void;
      header: (name: string, value: string) => void;
    }>();
    response.header('x-trace', 'traced');
    return next.handle();
  }
}

/** What streams of one connection told of their lives. */
export const witnessed: string[] = [];

@Controller('orders')
export class OrdersController {
  constructor(private readonly bus: EventBus) {}

  @Post(':orderId/ship')
  async ship(@Param('orderId') orderId: string, @Body() body: OrderShipped): Promise<{ cursor: string }> {
    return { cursor: await this.bus.publish(ordersChannel.topic({ orderId }), OrderShipped, body) };
  }

  @SseChannel(ordersChannel, ':orderId/events')
  events(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(ordersChannel, ':orderId/earliest', { start: 'earliest' })
  earliest(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(ordersChannel, ':orderId/last')
  last(@Param('orderId') orderId: string, @Query('n', ParseIntPipe) n: number) {
    return { topic: ordersChannel.topic({ orderId }), start: { last: n } };
  }

  @SseChannel(ordersChannel, ':orderId/even')
  even(@Param('orderId') orderId: string) {
    return {
      topic: ordersChannel.topic({ orderId }),
      filter: (event: object | null) => event instanceof OrderPlaced && event.number % 2 === 0,
    };
  }

  @SseChannel(ordersChannel, ':one/and/:other')
  both(@Param('one') one: string, @Param('other') other: string) {
    return [ordersChannel.topic({ orderId: one }), ordersChannel.topic({ orderId: other })];
  }

  @SseChannel(ordersChannel, ':orderId/expiring')
  expiring(@Param('orderId') orderId: string) {
    return { topic: ordersChannel.topic({ orderId }), expiresAt: Date.now() + 50 };
  }

  @SseChannel(ordersChannel, ':orderId/guarded')
  @UseGuards(KeyGuard)
  @UseInterceptors(TraceInterceptor)
  @Header('x-order', 'guarded')
  @Header('cache-control', 'private')
  guarded(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(ordersChannel, 'numbered/:number')
  async numbered(@Param('number', ParseIntPipe) number: number) {
    if (number === 0) throw new BadRequestException('Orders begin at 1');
    return ordersChannel.topic({ orderId: number });
  }

  @SseChannel(ordersChannel, ':orderId/lost')
  lost(): any {
    return undefined;
  }

  @Version('2')
  @SseChannel(ordersChannel, ':orderId/versioned')
  versioned(@Param('orderId') orderId: string) {
    return ordersChannel.topic({ orderId });
  }

  @SseChannel(parcelsChannel, 'parcels/:depot')
  parcels(@Param('depot') depot: string) {
    return parcelsChannel.topic({ depot });
  }

  @SseChannel(quietChannel, 'quiet')
  quiet() {
    return quietChannel.topic();
  }

  @Get('plain')
  plain() {
    return { plain: true };
  }
}

@Controller('streams')
export class StreamsController {
  constructor(private readonly bus: EventBus) {}

  @SseStream('count/:to', { events: [ProgressMade] })
  count(@Param('to', ParseIntPipe) to: number): Observable<ProgressMade> {
    return from(Array.from({ length: to }, (_, n) => progress(n + 1)));
  }

  @SseStream('generated/:to', { events: [ProgressMade] })
  async *generated(@Param('to', ParseIntPipe) to: number): AsyncGenerator<ProgressMade> {
    try {
      for (let n = 1; n <= to; n += 1) yield progress(n);
    } finally {
      witnessed.push('generator ended');
    }
  }

  @SseStream('promised', { events: [ProgressMade] })
  async promised(): Promise<Observable<ProgressMade>> {
    return of(progress(100));
  }

  @SseStream('posted', { events: [ProgressMade], method: 'POST' })
  posted(@Body() body: { percent: number }): Observable<ProgressMade> {
    return of(progress(body.percent));
  }

  @SseStream('rejected', { events: [ProgressMade] })
  async rejected(): Promise<Observable<ProgressMade>> {
    throw new ForbiddenException('Not for you');
  }

  @SseStream('thrown', { events: [ProgressMade] })
  thrown(): Observable<ProgressMade> {
    throw new BadRequestException('Not like this');
  }

  @SseStream('not-a-stream', { events: [ProgressMade] })
  notAStream(): any {
    return 42;
  }

  @SseStream('failing', { events: [ProgressMade] })
  failing(): Observable<ProgressMade> {
    return concat(
      of(progress(1)),
      throwError(() => new Error('secret: the database password')),
    );
  }

  @SseStream('refusing', { events: [ProgressMade] })
  refusing(): Observable<ProgressMade> {
    return concat(
      of(progress(1)),
      throwError(() => new ForbiddenException('Your grant was withdrawn')),
    );
  }

  @SseStream('invalid', { events: [ProgressMade] })
  invalid(): Observable<ProgressMade> {
    return of(progress('much' as unknown as number));
  }

  @SseStream('undeclared', { events: [ProgressMade] })
  undeclared(): any {
    return of(Object.assign(new OrderShipped(), { number: 1, carrier: 'DHL' }));
  }

  @SseStream('endless', { events: [ProgressMade] })
  endless(@SseSignal() signal: AbortSignal, @SseConnection() connection: SseConnection): Observable<ProgressMade> {
    signal.addEventListener('abort', () => witnessed.push('nest signal aborted'));
    connection.signal.addEventListener('abort', () => witnessed.push('connection signal aborted'));
    return new Observable((subscriber) => {
      subscriber.next(progress(1));
      return () => witnessed.push('observable unsubscribed');
    });
  }

  @SseStream('told', { events: [ProgressMade, orderNoted] })
  told(@LastEventId() lastEventId: string | null, @SseConnection() connection: SseConnection) {
    return of(orderNoted.of({ note: JSON.stringify({ lastEventId, connection: connection.id }) }));
  }

  @SseStream('numbered/:to', { events: [ProgressMade] })
  numbered(@Param('to', ParseIntPipe) to: number, @LastEventId() lastEventId: string | null) {
    return from(Array.from({ length: to }, (_, n) => n + 1)).pipe(
      map((n) => ({ event: progress(n), cursor: formatCursor('run1', formatOffset(n, 0)) })),
      replayFrom(lastEventId),
    );
  }

  @SseStream('piped/:orderId', { events: [OrderPlaced, OrderShipped, orderNoted] })
  piped(@Param('orderId') orderId: string, @LastEventId() lastEventId: string | null) {
    return this.bus.stream(ordersChannel.topic({ orderId })).pipe(replayFrom(lastEventId));
  }
}

export function progress(percent: number): ProgressMade {
  return Object.assign(new ProgressMade(), { percent });
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 10_000, retryMs: 2_000 })],
  controllers: [OrdersController, StreamsController],
})
export class OrdersModule {}
