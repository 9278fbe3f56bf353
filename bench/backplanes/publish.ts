/** The floor: a bare PUBLISH and SUBSCRIBE. Nothing is kept, what is missed is lost. */
import { createClient } from '@redis/client';
import type { BackplaneUnderTest, OpenOptions } from './backplane-under-test.js';

export async function open({ url }: OpenOptions): Promise<BackplaneUnderTest> {
  const connected = async (): Promise<ReturnType<typeof createClient>> => {
    const client = createClient({ url, commandOptions: { timeout: 0 } });
    client.on('error', () => undefined);
    await client.connect();
    return client as ReturnType<typeof createClient>;
  };
  const [publisher, subscriber] = await Promise.all([connected(), connected()]);
  return {
    append: (topic, event) => publisher.publish(topic, JSON.stringify(event)),
    follow: (topic, onEvent) => subscriber.subscribe(topic, onEvent),
  };
}
