/** One stream for all that a page shows: each topic is given, or refused, by the route of its own channel. */
import { Controller } from '@nestjs/common';
import { SseHub } from '@sse-channels/nest';
import { liveChannels } from './live.channels.js';

@Controller('live')
export class LiveController {
  @SseHub('', { channels: liveChannels, maxTopics: 20 })
  live(): void {
    // Nothing that every page gets unasked.
  }
}
