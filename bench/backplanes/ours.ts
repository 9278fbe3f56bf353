/** Our backplanes, followed as the hub follows them. */
import {
  ContinuousTail,
  MemoryBackplane,
  type Backplane,
  type ContinuousTailListener,
  type EventRecord,
} from '@sse-channels/engine';
import { NatsBackplane } from '@sse-channels/nats';
import type { Retention } from '@sse-channels/protocol';
import { RedisBackplane } from '@sse-channels/redis';
import { parseMark } from '../mark.js';
import type { Tick } from '../sse-server.js';
import type { BackplaneUnderTest, OnEvent, OpenBackplane } from './backplane-under-test.js';

/** A channel's, where nothing else is said. */
const RETENTION: Retention = { maxEvents: 1_000, maxAgeMs: 300_000, maxBytes: 1_048_576 };
/** What the hub reads at a time. */
const PAGE_RECORDS = 256;

export const openMemory: OpenBackplane = () => opened(new MemoryBackplane());

export const openJournal: OpenBackplane = ({ directory }) => opened(new MemoryBackplane({ journal: { directory } }));

export const openJournalUnsynced: OpenBackplane = ({ directory }) =>
  opened(new MemoryBackplane({ journal: { directory, fsync: false } }));

export const openRedis: OpenBackplane = ({ url }) => opened(new RedisBackplane({ url }));

export const openNats: OpenBackplane = ({ url }) => opened(new NatsBackplane({ servers: url }));

async function opened(backplane: Backplane): Promise<BackplaneUnderTest> {
  await backplane.ready({});
  return new Ours(backplane);
}

class Ours implements BackplaneUnderTest {
  gaps = 0;

  constructor(private readonly backplane: Backplane) {}

  append(topic: string, event: Tick): Promise<unknown> {
    return this.backplane.append(topic, { name: 'ticked', data: JSON.stringify(event) }, RETENTION);
  }

  async follow(topic: string, onEvent: OnEvent): Promise<void> {
    const listener: ContinuousTailListener = {
      onRecord: ({ data }: EventRecord) => onEvent(data),
      onGap: () => {
        this.gaps += 1;
      },
      onError: (error) => {
        throw error;
      },
    };
    await new ContinuousTail(this.backplane, topic, listener).open();
  }

  async newest(topic: string): Promise<number> {
    const { records } = await this.backplane.read(topic, { last: 1 }, 1);
    return records[0] === undefined ? 0 : parseMark(records[0].data).sequence;
  }

  async placeBefore(topic: string, events: number): Promise<string> {
    return (await this.backplane.read(topic, { last: events }, 1)).from;
  }

  async replay(topic: string, place: unknown): Promise<number> {
    let after = place as string;
    let events = 0;
    for (;;) {
      const { intact, records, more } = await this.backplane.read(topic, after, PAGE_RECORDS);
      if (!intact) throw new Error(`The log of ${topic} no longer reaches back to ${after}`);
      events += records.length;
      if (!more) return events;
      after = records.at(-1)?.offset ?? after;
    }
  }
}
