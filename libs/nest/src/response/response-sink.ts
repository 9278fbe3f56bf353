/** A sink that is an HTTP response: Node's own, of HTTP/1 or HTTP/2, behind Express or Fastify. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Sink, SinkListener } from '@sse-channels/engine';
import { chunkOf, chunkSocketOf } from './chunked-writer.js';
import { isGone, onGone } from './peer.js';
import type { VanishedPeers } from './vanished-peers.js';

export class ResponseSink implements Sink {
  readonly #response: ServerResponse;
  readonly #writeDeadlineMs: number;
  readonly #vanishedPeers: VanishedPeers | undefined;
  /** Where chunks are written past the response; null where that is not safe. */
  #socket: Socket | null = null;
  #closed = false;

  /**
   * @param writeDeadlineMs how long bytes may wait for a peer that takes none of them
   * @param vanishedPeers notices a peer that is gone without a word, as far as the system can
   */
  constructor(response: ServerResponse, writeDeadlineMs: number, vanishedPeers?: VanishedPeers) {
    this.#response = response;
    this.#writeDeadlineMs = writeDeadlineMs;
    this.#vanishedPeers = vanishedPeers;
  }

  listen(listener: SinkListener): void {
    const response = this.#response;
    if (isGone(response)) {
      this.#closed = true;
      return listener.onClose();
    }
    const onDrain = (): void => {
      if (this.#closed) return;
      response.setTimeout(0);
      listener.onDrain();
    };
    const onEnd = (): void => this.destroy();
    this.#socket = chunkSocketOf(response);
    response.on('drain', onDrain);
    // The response tells only of its own writes that they were drained.
    this.#socket?.on('drain', onDrain);
    // A peer that closed its half cannot be an event stream's reader any more; HTTP/2 has no such thing.
    const socket = response.req.httpVersionMajor === 1 ? response.socket : null;
    socket?.once('end', onEnd);
    // Only armed while bytes are waiting. Node looks at the kernel's progress before it says "timeout", so a slow reader is not
    // taken for one that stopped.
    response.on('timeout', () => {
      if (!this.#closed && response.writableLength > 0) listener.onStall();
    });
    const unwatch = this.#vanishedPeers?.watch(response.req.socket, () => listener.onStall());
    // A reset between two writes; "close" follows it.
    response.on('error', () => undefined);
    // The response, not the request: a body that was read closes the request early.
    onGone(response, () => {
      this.#closed = true;
      socket?.off('drain', onDrain);
      socket?.off('end', onEnd);
      unwatch?.();
      listener.onClose();
    });
  }

  write(bytes: Buffer): boolean {
    if (this.#closed || this.#response.destroyed) return false;
    const more = this.#socket === null ? this.#response.write(bytes) : this.#socket.write(chunkOf(bytes));
    if (!more) this.#response.setTimeout(this.#writeDeadlineMs);
    return more;
  }

  end(): void {
    if (this.#closed) return;
    this.#response.setTimeout(this.#writeDeadlineMs);
    this.#response.end();
  }

  destroy(): void {
    this.#response.destroy();
  }
}
