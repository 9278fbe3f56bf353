/** What a turn brought, framed for SSE and for HTTP/1.1 once: the same Buffer is written to each socket of a channel, once. */
import type { Socket } from 'node:net';
import type { Tick } from '../sse-server.js';
import { frameOf, join } from './frame.js';

const HEARTBEAT = chunk(':\n\n');

export class SharedChunks {
  readonly #channels = new Map<string, Set<Socket>>();
  readonly #past = new Map<string, Buffer>();
  readonly #due = new Map<string, string>();

  /** @param resumes whether it missed what is kept */
  join(channel: string, socket: Socket, resumes: boolean): void {
    const missed = resumes ? this.#past.get(channel) : undefined;
    if (missed !== undefined) socket.write(missed);
    join(this.#channels, channel, socket);
  }

  leave(channel: string, socket: Socket): void {
    this.#channels.get(channel)?.delete(socket);
  }

  publish(channel: string, event: Tick): void {
    if (this.#due.size === 0) setImmediate(() => this.#flush());
    this.#due.set(channel, (this.#due.get(channel) ?? '') + frameOf(event));
  }

  /** @returns the cursor of who missed all of them */
  remember(channel: string, events: readonly Tick[]): string {
    this.#past.set(channel, chunk(events.map(frameOf).join('')));
    return '0';
  }

  beat(everyMs: number | null): void {
    if (everyMs === null) return;
    setInterval(() => {
      for (const sockets of this.#channels.values()) for (const socket of sockets) socket.write(HEARTBEAT);
    }, everyMs);
  }

  #flush(): void {
    for (const [channel, frames] of this.#due) {
      const bytes = chunk(frames);
      for (const socket of this.#channels.get(channel) ?? []) socket.write(bytes);
    }
    this.#due.clear();
  }
}

function chunk(frames: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(frames).toString(16)}\r\n${frames}\r\n`);
}
