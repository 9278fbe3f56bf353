/** What tabs say to one another: those that listen what they want, the one that leads what came. */
import { SseChannelsError, type SseChannelsErrorCode } from '@sse-channels/protocol';
import type { ConnectionState, StateReason } from '../connection/connection-state.js';
import type { Incoming } from '../connection/receiver.js';
import { StreamError } from '../connection/stream-error.js';

/** A topic that a tab wants. */
export interface WantedTopic {
  readonly topic: string;
  /** Where the tab stands in it; null: at no place yet. */
  readonly place: string | null;
  /** Whether the tab was given it already, and goes on. */
  readonly begun: boolean;
}

/** All that a tab wants. */
export interface TabWants {
  readonly kind: 'want';
  readonly from: string;
  /** Where the tab stands in the stream; empty: nowhere. */
  readonly cursor: string;
  readonly topics: readonly WantedTopic[];
}

export type TabMessage =
  | TabWants
  /** Another tab leads from now on, and asks what is wanted. */
  | { readonly kind: 'lead' }
  /** What comes of a topic from now on is for that tab, too. */
  | { readonly kind: 'hear'; readonly to: string; readonly topic: string }
  | { readonly kind: 'event'; readonly event: Incoming; readonly cursor: string }
  | {
      readonly kind: 'state';
      readonly state: SentState;
      readonly topics: ReadonlyArray<readonly [topic: string, state: SentState]>;
      readonly cursor: string;
    }
  /** A topic ended for good, or was refused. */
  | {
      readonly kind: 'end';
      readonly topic: string;
      readonly reason: StateReason;
      readonly error: SentError | undefined;
    }
  /** Asks whether somebody leads: a state is the answer. */
  | { readonly kind: 'ping' }
  /** A tab has reason to believe that the network is back. */
  | { readonly kind: 'wake' };

/** An error loses its class on the way. */
interface SentError {
  readonly code: SseChannelsErrorCode;
  readonly message: string;
  readonly status: number | null;
  readonly body: string;
}

export type SentState = Omit<ConnectionState, 'error'> & { readonly error: SentError | undefined };

export function sentError(error: StreamError | undefined): SentError | undefined {
  return error && { code: error.code, message: error.message, status: error.status, body: error.body };
}

export function sentState(state: ConnectionState): SentState {
  return { ...state, error: sentError(state.error) };
}

export function receivedError(error: SentError | undefined): StreamError | undefined {
  return error && new StreamError(error.code, error.message, error);
}

export function receivedState(state: SentState): ConnectionState {
  return { ...state, error: receivedError(state.error) };
}

/** What the browser cannot do for tabs to share. */
export function notShared(cause: unknown): SseChannelsError {
  return new SseChannelsError('CALLBACK_FAILED', 'What was decoded cannot be sent to other tabs; decode plain data.', {
    cause,
  });
}
