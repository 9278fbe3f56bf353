/** What the page of these tests follows. */
import { defineChannel, SseEvent } from '@sse-channels/nest';
import { IsInt } from 'class-validator';

@SseEvent('number.counted')
export class Counted {
  static readonly eventName = 'number.counted';

  @IsInt() number!: number;
}

export const countsChannel = defineChannel('counts/:name', { events: [Counted], heartbeatMs: 500, retryMs: 20 });
