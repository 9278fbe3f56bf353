/** The contract of the notifications: one topic for each user. */
import { defineChannel, SseEvent } from '@sse-channels/nest';
import { IsISO8601, IsString, IsUUID, MaxLength } from 'class-validator';

@SseEvent('notification.raised')
export class NotificationRaised {
  static readonly eventName = 'notification.raised';

  @IsUUID() id!: string;
  @IsString() @MaxLength(120) title!: string;
  @IsString() @MaxLength(2_000) body!: string;
  @IsISO8601() at!: string;
}

export const notificationsChannel = defineChannel('notifications/:user', {
  events: [NotificationRaised],
  replay: { maxEvents: 100, maxAgeMs: 86_400_000 },
});
