/** Where the sample keeps its logs: what `BACKPLANE` says. */
import { resolve } from 'node:path';
import { MemoryBackplane, type Backplane } from '@sse-channels/nest';
import { NatsBackplane } from '@sse-channels/nats';
import { RedisBackplane } from '@sse-channels/redis';

const KNOWN = 'memory, journal:<directory>, redis://<host>:<port> or nats://<host>:<port>';
/** The process before this one may still be ending its streams. */
const JOURNAL_WAIT_MS = 15_000;

/**
 * @param where the default is this process's memory
 * @throws Error for what is not known, with the list of what is
 */
export function backplaneAt(where = 'memory'): Backplane {
  if (where === 'memory') return new MemoryBackplane();
  const directory = /^journal:(.+)$/.exec(where)?.[1];
  if (directory !== undefined) {
    return new MemoryBackplane({ journal: { directory: resolve(directory), waitMs: JOURNAL_WAIT_MS } });
  }
  if (/^rediss?:\/\//.test(where)) return new RedisBackplane({ url: where });
  if (where.startsWith('nats://')) return new NatsBackplane({ servers: where.split(',') });
  // Without what follows the first colon: it may hold a password.
  throw new Error(`BACKPLANE is "${where.replace(/(?<=:).+/s, '…')}"; it may be ${KNOWN}.`);
}
