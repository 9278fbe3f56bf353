import { describe, expect, it } from '@jest/globals';
import { checkOptions, type RedisBackplaneOptions } from './options.js';

const url = 'redis://localhost:6379';
const nodes = [{ host: 'redis-1', port: 6379 }];

describe('the options of the Redis backplane', () => {
  it('has one partition on a server and sixteen on a cluster', () => {
    expect(checkOptions({ url }).partitions).toBe(1);
    expect(checkOptions({ cluster: { nodes } }).partitions).toBe(16);
  });

  it('knows the database, whichever way it is told', () => {
    expect(checkOptions({ url: `${url}/3` }).database).toBe(3);
    expect(checkOptions({ client: { database: 4 } }).database).toBe(4);
    expect(checkOptions({ url: 'unix:/tmp/redis.sock?db=5' }).database).toBe(5);
    expect(checkOptions({ url }).database).toBe(0);
  });

  it.each<[string, RedisBackplaneOptions, RegExp]>([
    ['nothing', {}, /needs one of "url" .*; 0 were given/],
    ['two ways to connect', { url, cluster: { nodes } }, /2 were given/],
    ['a cluster without nodes', { cluster: { nodes: [] } }, /"cluster.nodes"/],
    ['a sentinel without a name', { sentinel: { name: '', sentinels: nodes } }, /"sentinel.name"/],
    ['an address of another kind', { url: 'http://localhost' }, /must begin with redis:/],
    ['a prefix with braces', { url, prefix: '{a}' }, /"prefix" .* is \{a\}; it must be 1 to 64 characters/],
    ['no partitions', { url, partitions: 0 }, /"partitions" .* is 0; it must be a whole number from 1 to 1024/],
    ['half a time-out', { url, appendTimeoutMs: 0.5 }, /"appendTimeoutMs"/],
    [
      'a prefix of the client',
      { url, client: { keyPrefix: 'a:' } },
      /"client.keyPrefix" .* the option "prefix" does it/,
    ],
  ])('refuses %s', (_, options, message) => {
    expect(() => checkOptions(options)).toThrow(message);
  });
});
