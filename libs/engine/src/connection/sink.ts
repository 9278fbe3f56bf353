/** A sink: the way out to one peer. Hosts make sinks of HTTP responses; the engine writes bytes. */

/** What a sink tells its connection. */
export interface SinkListener {
  /** The peer took what was written; more may be. */
  onDrain(): void;
  /** The way out is gone: the peer left, or everything was sent after `end()`. Called once. */
  onClose(): void;
  /** Bytes were waiting and the peer took none of them for the sink's write deadline. */
  onStall(): void;
  /** No more is wanted than what is due now: the sink is an answer, and no stream. */
  onEnough(): void;
}

/** What a sink knows of its peer. */
export interface PeerState {
  readonly address: string | null;
  /** Bytes that the peer's socket has taken. */
  readonly writtenBytes: number;
  /** Bytes that wait for the peer. */
  readonly waitingBytes: number;
}

export interface Sink {
  /** Sets the one listener. A sink that closed before calls `onClose` at once. */
  listen(listener: SinkListener): void;
  /**
   * Writes bytes, which the caller does not change afterwards: they may be shared with other sinks.
   * @returns false when the peer does not keep up; then nothing more is written until `onDrain`
   */
  write(bytes: Buffer): boolean;
  /** Sends what was written and closes. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
  /** What is known of the peer now. */
  readonly peerState?: PeerState;
}
