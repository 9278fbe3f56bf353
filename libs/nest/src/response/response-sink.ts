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
    const close = (): void => {
      if (this.#closed) return;
      this.#closed = true;
      listener.onClose();
    };
    if (isGone(response)) return close();
    const onDrain = (): void => {
      if (this.#closed) return;
      response.setTimeout(0);
      listener.onDrain();
    };
    response.on('drain', onDrain);
    const chunkSocket = chunkSocketOf(response);
    if (chunkSocket !== null) {
      this.#socket = chunkSocket;
      // The response tells only of its own writes that they were drained.
      chunkSocket.on('drain', onDrain);
      onGone(response, () => chunkSocket.off('drain', onDrain));
    }
    // Only armed while bytes are waiting. Node looks at the kernel's progress before it says "timeout", so a slow reader is not
    // taken for one that stopped.
    response.on('timeout', () => {
      if (!this.#closed && response.writableLength > 0) listener.onStall();
    });
    // The response, not the request: a body that was read closes the request early.
    onGone(response, close);
    const unwatch = this.#vanishedPeers?.watch(response.req.socket, () => listener.onStall());
    if (unwatch !== undefined) onGone(response, unwatch);
    // A reset between two writes; "close" follows it.
    response.on('error', () => undefined);
    // A peer that closed its half cannot be an event stream's reader any more; HTTP/2 has no such thing.
    const { socket } = response;
    if (socket !== null && response.req.httpVersionMajor === 1) {
      const onEnd = (): void => this.destroy();
      socket.once('end', onEnd);
      response.once('close', () => socket.off('end', onEnd));
    }
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
