/** Which server holds which partition: one server, the primary that sentinels name, or the primaries of a cluster. */
import type { RedisClientOptions } from '@redis/client';
import { Link } from './link.js';
import type { CheckedOptions, RedisAddress } from './options.js';
import type { Partition } from './partition.js';

const FIXED = 'the server';

/** A server, by a name that is the same as long as it is the same server, and how to connect to it. */
export interface Located {
  readonly address: string;
  readonly options: RedisClientOptions;
}

export interface Topology {
  /** Whether pub/sub goes by slots, as in a cluster. */
  readonly sharded: boolean;
  /** Whether partitions may move to another server. */
  readonly moves: boolean;
  /** Where each partition lives now, by its number. @throws rejects when nobody answers */
  locate(): Promise<readonly Located[]>;
}

export function topologyOf({ subject }: CheckedOptions, partitions: readonly Partition[]): Topology {
  if (subject.kind === 'server') {
    const located: Located = { address: FIXED, options: subject.client };
    return { sharded: false, moves: false, locate: () => Promise.resolve(partitions.map(() => located)) };
  }
  const { client = {}, addressMap = (address: RedisAddress) => address } = subject;
  if (subject.kind === 'sentinel') {
    return {
      sharded: false,
      moves: true,
      locate: async () => {
        const asked = await anyOf(subject.sentinels, subject.sentinelClient ?? {}, async (link) => {
          const answer = await link.send<[string, string] | null>([
            'SENTINEL',
            'GET-MASTER-ADDR-BY-NAME',
            subject.name,
          ]);
          if (answer === null) throw new Error(`the sentinels know no primary named "${subject.name}"`);
          return answer;
        });
        const primary = at(client, addressMap({ host: asked[0], port: Number(asked[1]) }));
        return partitions.map(() => primary);
      },
    };
  }
  let known: readonly RedisAddress[] = subject.nodes;
  let slots: number[] | undefined;
  return {
    sharded: true,
    moves: true,
    locate: () =>
      anyOf([...known, ...subject.nodes], client, async (link, asked) => {
        slots ??= await Promise.all(partitions.map(({ floor }) => link.send<number>(['CLUSTER', 'KEYSLOT', floor])));
        const ranges = await link.send<Array<[from: number, to: number, primary: [string, number]]>>([
          'CLUSTER',
          'SLOTS',
        ]);
        // A node that does not know how it is called is called as we did.
        const addresses = ranges.map(([, , [host, port]]): RedisAddress =>
          host === '' ? { host: asked.host, port } : addressMap({ host, port }),
        );
        known = addresses;
        return slots.map((slot) => {
          const address = addresses[ranges.findIndex(([from, to]) => slot >= from && slot <= to)];
          if (address === undefined) throw new Error(`nobody in the cluster serves slot ${slot}`);
          return at(client, address);
        });
      }),
  };
}

function at(client: RedisClientOptions, { host, port }: RedisAddress): Located {
  const socket = { ...client.socket, host, port } as NonNullable<RedisClientOptions['socket']>;
  return { address: `${host}:${port}`, options: { ...client, socket } };
}

/** Asks one after the other. */
async function anyOf<T>(
  addresses: readonly RedisAddress[],
  client: RedisClientOptions,
  ask: (link: Link, address: RedisAddress) => Promise<T>,
): Promise<T> {
  let last: unknown;
  for (const address of addresses) {
    const link = new Link(at(client, address).options, { onReady: () => undefined, onLost: () => undefined });
    try {
      await link.open();
      return await ask(link, address);
    } catch (error) {
      last = error;
    } finally {
      await link.close();
    }
  }
  throw last;
}
