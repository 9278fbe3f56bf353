/** oRPC's publisher on ioredis, with its replay ("resume") on, as its documentation sets it up. */
import { getEventMeta } from '@orpc/client';
import { IORedisPublisher } from '@orpc/experimental-publisher/ioredis';
import { Redis } from 'ioredis';

const RETENTION_S = 300;

export async function open({ url }) {
  const commander = new Redis(url);
  const listener = new Redis(url);
  commander.on('error', () => undefined);
  const publisher = new IORedisPublisher({ commander, listener, resumeRetentionSeconds: RETENTION_S });
  return {
    append: (topic, event) => publisher.publish(topic, event),
    async follow(topic, onEvent) {
      await publisher.subscribe(topic, (event) => onEvent(event.mark), { onError: () => undefined });
    },
    async newest(topic) {
      const [entry] = await commander.xrevrange(publisher.prefixKey(topic), '+', '-', 'COUNT', 1);
      return entry === undefined ? 0 : JSON.parse(entry[1][1]).json.sequence;
    },
    async placeBefore(topic, events) {
      const entries = await commander.xrevrange(publisher.prefixKey(topic), '+', '-', 'COUNT', events + 1);
      return { lastEventId: entries.at(-1)[0], newestId: entries[0][0] };
    },
    replay(topic, { lastEventId, newestId }) {
      return new Promise((resolve, reject) => {
        let events = 0;
        const subscribed = publisher.subscribe(
          topic,
          (event) => {
            events += 1;
            if (getEventMeta(event)?.id === newestId)
              subscribed.then((end) => end()).then(() => resolve(events), reject);
          },
          { lastEventId, onError: reject },
        );
      });
    },
  };
}
