/** A sink for tests: keeps what is written; a test says when it is full, drained, stalled and closed. */
import type { Sink, SinkListener } from '@sse-channels/engine';

export class RecordingSink implements Sink {
  /** Every write, in order; the very buffers, so that sharing can be seen. */
  readonly writes: Buffer[] = [];
  /** How many writes came although the last one had answered false. */
  writesWhileFull = 0;
  ended = false;
  destroyed = false;
  /** Asked at each write: whether the sink is full after it. */
  fills: () => boolean = () => false;

  #full = false;
  #closed = false;
  #listener: SinkListener | undefined;

  listen(listener: SinkListener): void {
    this.#listener = listener;
    if (this.#closed) listener.onClose();
  }

  write(bytes: Buffer): boolean {
    if (this.ended || this.destroyed) throw new Error('A write after the end.');
    if (this.#full) this.writesWhileFull += 1;
    this.writes.push(bytes);
    this.#full = this.#full || this.fills();
    return !this.#full;
  }

  end(): void {
    this.ended = true;
    if (!this.#full) this.close();
  }

  destroy(): void {
    this.destroyed = true;
    this.close();
  }

  /** Everything that was written. */
  get text(): string {
    return Buffer.concat(this.writes).toString('utf8');
  }

  get full(): boolean {
    return this.#full;
  }

  /** The peer took what was written. */
  drain(): void {
    if (!this.#full) return;
    this.#full = false;
    if (this.ended) this.close();
    else if (!this.#closed) this.#listener?.onDrain();
  }

  /** The peer took nothing for too long. */
  stall(): void {
    this.#listener?.onStall();
  }

  /** The peer left, or everything was sent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener?.onClose();
  }
}
