/** The channels of one application: told apart, so that no topic belongs to two of them. */
import { SseChannelsError, type Channel } from '@sse-channels/protocol';

export class ChannelRegistry {
  readonly #channels = new Set<Channel>();

  /**
   * Makes a channel known; once is enough, more often does nothing.
   * @throws SseChannelsError `CHANNEL_CONFLICT` when a topic could belong to this channel and to another one
   */
  register(channel: Channel<any, any>): void {
    if (this.#channels.has(channel)) return;
    for (const other of this.#channels) {
      if (!channel.topicPattern.overlaps(other.topicPattern)) continue;
      throw new SseChannelsError(
        'CHANNEL_CONFLICT',
        channel.pattern === other.pattern
          ? `Channel "${channel.pattern}" is defined twice; export one definition and import it everywhere.`
          : `Channels "${channel.pattern}" and "${other.pattern}" share topics; begin one of them with another word.`,
      );
    }
    this.#channels.add(channel);
  }

  [Symbol.iterator](): IterableIterator<Channel> {
    return this.#channels.values();
  }
}
