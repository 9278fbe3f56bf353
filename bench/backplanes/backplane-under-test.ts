/** What a backplane under test is to the bench: ours, peers and a bare PUBLISH alike, opened in a node's process. */
import type { Tick } from '../sse-server.js';

/** Called with each event of a topic. @param text what holds the event's mark */
export type OnEvent = (text: string) => void;

export interface BackplaneUnderTest {
  /** Resolves when the event is taken: kept, or, where nothing is kept, passed on. */
  append(topic: string, event: Tick): Promise<unknown>;
  /** Resolves when every event of the topic that is appended from now on will be handed over. */
  follow(topic: string, onEvent: OnEvent): Promise<void>;
  /** The newest event's sequence, as the log has it. Absent where there is no log of a topic. */
  newest?(topic: string): Promise<number>;
  /** The place in a topic after which so many events were kept. Absent where nothing can be replayed. */
  placeBefore?(topic: string, events: number): Promise<unknown>;
  /** Reads all events after a place; gives how many they were. */
  replay?(topic: string, place: unknown): Promise<number>;
  /** Losses that it told of. Absent where it does not tell. */
  readonly gaps?: number;
}

export interface OpenOptions {
  /** The engine's address; empty where there is none. */
  readonly url: string;
  /** Where a backplane without an engine may keep files. */
  readonly directory: string;
}

export type OpenBackplane = (options: OpenOptions) => Promise<BackplaneUnderTest>;
