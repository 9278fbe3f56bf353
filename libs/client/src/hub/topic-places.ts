/** Where topics stand, as one text that a storage keeps, and where they stood in an earlier life of the page. */
import type { SseChannelsError } from '@sse-channels/protocol';
import { failureOf } from '../connection/stream-error.js';

export interface TopicPlaces {
  /**
   * Takes in what was kept; what is no such text is told, and counts as nothing.
   * @returns whether there was anything
   */
  restore(text: string): boolean;
  /** @returns where a topic stood, once; null: nowhere */
  take(topic: string): string | null;
  /** What to keep of where these topics stand. */
  textOf(topics: Iterable<string>): string;
}

export function createTopicPlaces(
  cursorOf: (topic: string) => string,
  onError: (error: SseChannelsError) => void,
): TopicPlaces {
  let kept: Partial<Record<string, string>> = {};
  return {
    restore(text) {
      if (text === '') return false;
      try {
        kept = JSON.parse(text) as typeof kept;
        return true;
      } catch (error) {
        onError(failureOf('storage', error));
        return false;
      }
    },
    take(topic) {
      const place = kept[topic] ?? null;
      delete kept[topic];
      return place;
    },
    textOf(topics) {
      const places = Array.from(topics, (topic) => [topic, cursorOf(topic)] as const);
      return JSON.stringify(Object.fromEntries(places.filter(([, place]) => place !== '')));
    },
  };
}
