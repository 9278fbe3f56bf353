/** A sink that is an HTTP response: Node's own, of HTTP/1 or HTTP/2, behind Express or Fastify. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { DirectWay, PeerState, Sink, SinkListener } from '@sse-channels/engine';
import { chunkOf, chunkSocketOf } from './chunked-writer.js';
import { isGone, onGone } from './peer.js';
import type { GzipStream } from './shared-gzip.js';
import type { VanishedPeers, WatchedPeer } from './vanished-peers.js';

/** Where a response or a socket keeps its sink: the listeners are the same functions for all, or each would cost memory at rest. */
const SINK = Symbol('sink');

/** What a middleware that compresses makes of a response: writes go to its compressor, which holds back until it is told. */
type Flushable = ServerResponse & { flush?(): void };

/** What has a sink. */
interface Tapped {
  [SINK]?: ResponseSink;
}

function onDrain(this: Tapped): void {
  this[SINK]?.drained();
}

function onEnd(this: Tapped): void {
  this[SINK]?.destroy();
}

function onTimeout(this: Tapped): void {
  this[SINK]?.timedOut();
}

function onClose(this: ServerResponse & Tapped): void {
  this[SINK]?.closed();
}

/** A reset between two writes; "close" follows it. */
function onError(): void {}

/** Sinks that were full in this turn: nearly always the kernel takes what is waiting as soon as the turn is over, and no timer is needed. */
let full: ResponseSink[] = [];

function setDeadlineSoon(sink: ResponseSink): void {
  if (full.push(sink) === 1) setImmediate(setDeadlines);
}

function setDeadlines(): void {
  const sinks = full;
  full = [];
  for (const sink of sinks) sink.turnOver();
}

export class ResponseSink implements Sink, WatchedPeer {
  // What a delivery touches comes first: fields lie in the order in which they are declared.
  /** Where chunks are written past the response; null where that is not safe. */
  #chunkSocket: Socket | null = null;
  readonly #gzip: GzipStream | undefined;
  readonly #response: ServerResponse;
  readonly #writeDeadlineMs: number;
  readonly #vanishedPeers: VanishedPeers | undefined;
  #listener: SinkListener | undefined;
  /** The peer has not taken what was written. */
  #isFull = false;
  #hasDeadline = false;
  #hearsTimeout = false;

  /**
   * @param writeDeadlineMs how long bytes may wait for a peer that takes none of them
   * @param vanishedPeers notices a peer that is gone without a word, as far as the system can
   * @param gzip compresses; the response says so in its headers
   */
  constructor(response: ServerResponse, writeDeadlineMs: number, vanishedPeers?: VanishedPeers, gzip?: GzipStream) {
    this.#response = response;
    this.#writeDeadlineMs = writeDeadlineMs;
    this.#vanishedPeers = vanishedPeers;
    this.#gzip = gzip;
  }

  get peer(): Socket {
    return this.#response.req.socket;
  }

  listen(listener: SinkListener): void {
    const response: Flushable & Tapped = this.#response;
    if (isGone(response)) return listener.onClose();
    this.#listener = listener;
    response[SINK] = this;
    // The compressor's listeners are called on the compressor, which has no sink.
    response.on('drain', response.flush === undefined ? onDrain : () => this.drained());
    response.on('error', onError);
    this.#chunkSocket = chunkSocketOf(response);
    const socket: (Socket & Tapped) | null = response.req.httpVersionMajor === 1 ? response.socket : null;
    // Null for HTTP/2, and for a response that waits for its socket behind another.
    if (socket !== null) {
      socket[SINK] = this;
      // The response tells only of its own writes that they were drained.
      if (this.#chunkSocket !== null) socket.on('drain', onDrain);
      // A peer that closed its half cannot be an event stream's reader any more; HTTP/2 has no such thing.
      socket.on('end', onEnd);
    }
    this.#vanishedPeers?.watch(this);
    // The response, not the request: a body that was read closes the request early.
    onGone(response, onClose);
  }

  write(plain: Buffer): boolean {
    const bytes = this.#gzip === undefined ? plain : this.#gzip.encode(plain);
    const socket = this.#chunkSocket;
    // In a fan-out, not to touch the response is to leave out a miss of the processor's cache. A socket that is destroyed, or has
    // been ended, takes nothing and says so.
    const more =
      socket !== null ? socket.write(chunkOf(bytes)) : !this.#response.destroyed && this.#writeThrough(bytes);
    if (!more) this.onFull();
    return more;
  }

  get directWay(): DirectWay | null {
    const target = this.#chunkSocket;
    return target === null || this.#gzip !== undefined ? null : { target, encode: chunkOf };
  }

  onFull(): void {
    if (this.#isFull) return;
    this.#isFull = true;
    setDeadlineSoon(this);
  }

  end(): void {
    if (this.#listener === undefined) return;
    this.#setDeadline();
    this.#response.end(this.#gzip?.end());
  }

  destroy(): void {
    this.#response.destroy();
  }

  get peerState(): PeerState {
    const { writableLength, req } = this.#response;
    const { remoteAddress, bytesWritten, writableLength: waiting } = req.socket;
    // A socket of HTTP/2 is shared with other streams.
    const own = req.httpVersionMajor === 1;
    return {
      address: remoteAddress ?? null,
      writtenBytes: own ? bytesWritten : 0,
      waitingBytes: own ? waiting : writableLength,
    };
  }

  onVanished(): void {
    this.#listener?.onStall();
  }

  /** The peer took what was written. */
  drained(): void {
    if (this.#listener === undefined) return;
    this.#isFull = false;
    if (this.#hasDeadline) {
      this.#hasDeadline = false;
      this.#response.setTimeout(0);
    }
    this.#listener.onDrain();
  }

  /** The turn is over in which the peer was given more than it took. */
  turnOver(): void {
    if (this.#isFull && !this.#hasDeadline && this.#listener !== undefined) this.#setDeadline();
  }

  /**
   * The deadline has passed. Node looks at the kernel's progress before it says so: a slow reader is not taken for one that
   * stopped.
   */
  timedOut(): void {
    if (this.#response.writableLength > 0) this.#listener?.onStall();
  }

  /** The way out is gone. */
  closed(): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    this.#listener = undefined;
    // By now the response may have none.
    const socket: Socket & Tapped = this.#response.req.socket;
    if (socket[SINK] === this) {
      socket.off('drain', onDrain);
      socket.off('end', onEnd);
      delete socket[SINK];
    }
    this.#chunkSocket = null;
    this.#vanishedPeers?.unwatch(this);
    listener.onClose();
  }

  /** Writes by the response, and through what a middleware put in its way. */
  #writeThrough(bytes: Buffer): boolean {
    const response: Flushable = this.#response;
    const more = response.write(bytes);
    response.flush?.();
    return more;
  }

  /** Armed only while bytes are waiting. */
  #setDeadline(): void {
    if (!this.#hearsTimeout) {
      this.#hearsTimeout = true;
      this.#response.on('timeout', onTimeout);
    }
    this.#hasDeadline = true;
    this.#response.setTimeout(this.#writeDeadlineMs);
  }
}
