/** Notifications: each user's own inbox, behind a guard. */
import { randomUUID } from 'node:crypto';
import { Body, Controller, Param, Post, UseGuards } from '@nestjs/common';
import { EventBus, SseChannel } from '@sse-channels/nest';
import { IsOptional, IsString, Length, MaxLength } from 'class-validator';
import { NotificationRaised, notificationsChannel } from './notifications.channel.js';
import { OwnInboxGuard } from './own-inbox.guard.js';

class NewNotification {
  @IsString() @Length(1, 120) title!: string;
  @IsOptional() @IsString() @MaxLength(2_000) body?: string;
}

@Controller('notifications')
export class NotificationsController {
  constructor(private readonly bus: EventBus) {}

  @SseChannel(notificationsChannel, ':user/events')
  @UseGuards(OwnInboxGuard)
  events(@Param('user') user: string) {
    return notificationsChannel.topic({ user });
  }

  @Post(':user')
  async raise(@Param('user') user: string, @Body() { title, body = '' }: NewNotification) {
    const id = randomUUID();
    const at = new Date().toISOString();
    const cursor = await this.bus.publish(notificationsChannel.topic({ user }), NotificationRaised, {
      id,
      title,
      body,
      at,
    });
    return { id, cursor };
  }
}
