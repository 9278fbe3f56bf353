/** The way to the server: a fetch that tells which node answered, and that can be cut like a cable. */
import type { Fetch } from '@sse-channels/client';

export class Line {
  #cut = new AbortController();
  #node = '';

  get isCut(): boolean {
    return this.#cut.signal.aborted;
  }

  /** The node that serves the stream, or served it last; empty before the first. */
  get node(): string {
    return this.#node;
  }

  readonly fetch: Fetch = async (url, init) => {
    const signals = [this.#cut.signal, ...(init.signal ? [init.signal] : [])];
    const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) });
    const isStream = response.headers.get('Content-Type')?.startsWith('text/event-stream') ?? false;
    if (isStream) this.#node = response.headers.get('X-Node') ?? '';
    return response;
  };

  /** Ends what is under way, and lets nothing through. */
  cut(): void {
    this.#cut.abort();
  }

  restore(): void {
    if (this.isCut) this.#cut = new AbortController();
  }
}
