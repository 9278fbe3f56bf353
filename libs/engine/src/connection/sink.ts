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

/** A way past a sink, for bytes that many are given alike: one object less to touch at each delivery, which is waiting for memory most of all. */
export interface DirectWay {
  /** What is written to; false when the peer does not keep up, which the sink has to be told by `onFull`. */
  readonly target: Pick<Sink, 'write'>;
  /** Bytes as they are written there: the same ones for the same bytes. */
  readonly encode: (bytes: Buffer) => Buffer;
}

export interface Sink {
  /** Sets the one listener. A sink that closed before calls `onClose` at once. */
  listen(listener: SinkListener): void;
  /**
   * Writes bytes, which the caller does not change afterwards: they may be shared with other sinks.
   * @returns false when the peer does not keep up; then nothing more is written until `onDrain`
   */
  write(bytes: Buffer): boolean;
  /** The way past it; null where there is none, for now or ever. @default none */
  readonly directWay?: DirectWay | null;
  /** The peer did not take all that was written past it. */
  onFull?(): void;
  /** Sends what was written and closes. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
  /** What is known of the peer now. */
  readonly peerState?: PeerState;
}
