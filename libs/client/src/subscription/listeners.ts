/** Those who listen: to events, to gaps, to the state. */
import type { GapReason, SseChannelsError } from '@sse-channels/protocol';
import type { ConnectionState } from '../connection/connection-state.js';
import type { ClientEvent } from '../contract/contract.js';
import { createListening, type Listening } from './listening.js';

/** The stream could not give every event; what it still has follows. */
export interface ClientGap {
  /** The topic's name; empty where the stream has none. */
  readonly topic: string;
  readonly reason: GapReason;
  /** With the reason `skipped`: how many events are not given. */
  readonly skipped?: number;
  /** Where the client stands after it; empty: before the first event. */
  readonly cursor: string;
}

export interface Listeners {
  readonly events: Listening<[ClientEvent]>;
  readonly gaps: Listening<[ClientGap]>;
  readonly states: Listening<[ConnectionState]>;
}

/** @param report told what a handler failed with */
export function createListeners(report: (error: SseChannelsError) => void): Listeners {
  return { events: createListening(report), gaps: createListening(report), states: createListening(report) };
}
