/** What a server under test is to the bench: one module each, that starts it and publishes through it. */

/** The event that every server sends. */
export interface Tick {
  /** Counts up by one for each event of a channel. */
  sequence: number;
  /** What the load generator looks for; see `mark.ts`. */
  mark: string;
  /** Fills the event's JSON up to the wanted size. */
  body: string;
}

export interface SseServer {
  readonly port: number;
  /** The path of a channel's stream, with `{channel}` where its name goes, and `{connection}` where the connection's number does. */
  readonly path: string;
  /** Publishes; the promise, where there is one, settles when the server has taken the event. */
  publish(channel: string, event: Tick): unknown;
  /** Keeps events of the past for replay, and gives the `Last-Event-ID` of a client that missed all of them. */
  remember(channel: string, events: readonly Tick[]): string | Promise<string>;
  /** CPU and memory where the server is not this process. */
  usage?(): ProcessUsage;
  close?(): void;
}

export interface ProcessUsage {
  /** User and system time since the process began. */
  readonly cpuMicros: number;
  /** What of it the kernel took. */
  readonly kernelMicros: number;
  readonly rssBytes: number;
}

export interface StartOptions {
  /** How often an idle stream gets a heartbeat; null for the server's default, or none. */
  readonly heartbeatMs: number | null;
}

export type StartServer = (options: StartOptions) => Promise<SseServer>;
