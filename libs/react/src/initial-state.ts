/** The state before anything was opened; on a server there is no other. */
import type { ConnectionState } from '@sse-channels/client';

export const INITIAL_STATE: ConnectionState = Object.freeze({
  status: 'connecting',
  reason: 'started',
  transport: 'stream',
  retryInMs: null,
  error: undefined,
});
