/** A topic's name from its channel's pattern and parameters, as the server makes it. */
import { encodeParam, SseChannelsError } from '@sse-channels/protocol';

/** @throws SseChannelsError `INVALID_TOPIC_PARAMETER` for one that is missing or empty */
export function topicName(pattern: string, params: Readonly<Record<string, string | number>> = {}): string {
  return pattern.replace(/:([^/]+)/g, (_, name: string) => {
    const value = String(params[name] ?? '');
    if (value !== '') return encodeParam(value);
    throw new SseChannelsError('INVALID_TOPIC_PARAMETER', `Parameter "${name}" of channel "${pattern}" is missing.`);
  });
}
