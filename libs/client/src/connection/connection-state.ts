/** What a connection is doing, as something that can be shown. */
import type { EndReason } from '@sse-channels/protocol';
import type { StreamError } from './stream-error.js';

/**
 * `connecting`: not yet open for the first time. `open`: live. `stale`: was open and is not now; what it brought may be out of
 * date. `closed`: for good.
 */
export type ConnectionStatus = 'connecting' | 'open' | 'stale' | 'closed';

/**
 * Why. `started`: nothing has happened yet. `opened`: the stream is there. `cut`: it ended without a word. `silent`: nothing came for
 * too long. `unreachable`: no answer. `refused`: a status that is not a stream's. `woken`: the network or the page is back. `hidden`:
 * the page is not seen. `idle`: nothing is listened to. The others are the server's own, from `$closing`; `client-left` is `close()` and the signal.
 */
export type StateReason =
  'started' | 'opened' | 'cut' | 'silent' | 'unreachable' | 'refused' | 'woken' | 'hidden' | 'idle' | EndReason;

/** What a connection is doing, and why. */
export interface ConnectionState {
  readonly status: ConnectionStatus;
  readonly reason: StateReason;
  /** How it is, or was last, held: as a stream, or by asking again and again. */
  readonly transport: 'stream' | 'long-poll';
  /** Milliseconds from this state on to the next try; 0: it is being made; null: none is due. */
  readonly retryInMs: number | null;
  /** What went wrong; undefined where nothing did. */
  readonly error: StreamError | undefined;
}

/** Whether there is anything new to show. */
export function differs(state: ConnectionState, other: ConnectionState): boolean {
  return (Object.keys(state) as Array<keyof ConnectionState>).some((key) => state[key] !== other[key]);
}

/** What becomes of a state when the application closes what it is of. */
export const LEFT = { status: 'closed', reason: 'client-left', retryInMs: null, error: undefined } as const;

/** The state before anything was opened; on a server there is no other. */
export const INITIAL_STATE: ConnectionState = {
  status: 'connecting',
  reason: 'started',
  transport: 'stream',
  retryInMs: null,
  error: undefined,
};
