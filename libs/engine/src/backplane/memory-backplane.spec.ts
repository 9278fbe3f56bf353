import { describe, it } from '@jest/globals';
import { backplaneContract } from '@sse-channels/testing';
import { MemoryBackplane } from './memory-backplane.js';

describe('MemoryBackplane keeps the contract', () => {
  for (const { name, run } of backplaneContract(() => new MemoryBackplane())) it(name, run);
});
