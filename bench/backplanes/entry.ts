/** The backplanes that take part, and on which engine each. */
import type { EngineKind } from './engine.js';

export interface Entry {
  /** What a node opens; see `node.ts`. */
  readonly opener: string;
  /** Null: one process is both nodes. */
  readonly engine: EngineKind | null;
  /** Whether nothing that was appended may be missing; false for what promises less. @default true */
  readonly whole?: boolean;
}

/** The floor: the same messages without a log. */
export const FLOOR = 'publish';

export const ENTRIES: Readonly<Record<string, Entry>> = {
  memory: { opener: 'memory', engine: null },
  journal: { opener: 'journal', engine: null },
  'journal-unsynced': { opener: 'journal-unsynced', engine: null },
  'redis-everysec': { opener: 'redis', engine: 'redis-everysec' },
  'redis-always': { opener: 'redis', engine: 'redis-always' },
  'nats-default': { opener: 'nats', engine: 'nats-default' },
  'nats-always': { opener: 'nats', engine: 'nats-always' },
  [FLOOR]: { opener: 'publish', engine: 'redis-everysec', whole: false },
  'socket.io': { opener: 'socket.io', engine: 'redis-everysec', whole: false },
  orpc: { opener: 'orpc', engine: 'redis-everysec', whole: false },
};
