/** Between a node and its engine: cuts the node's connections, and lets none through until it is mended. */
import { connect } from 'node:net';
import { FaultyLink } from '../../test/faulty-link.js';

export class Proxy {
  #mended = Promise.resolve();
  #mend = (): void => undefined;
  #link: FaultyLink | undefined;

  /** @param port the engine's, on this machine */
  constructor(private readonly port: number) {}

  /** Gives the port on which it listens. */
  async open(): Promise<number> {
    this.#link = await FaultyLink.listen(async () => {
      await this.#mended;
      return connect({ host: '127.0.0.1', port: this.port, noDelay: true });
    });
    return this.#link.port;
  }

  /** Cuts every connection; those that are made from now on wait. */
  cut(): void {
    this.#mended = new Promise((resolve) => {
      this.#mend = resolve;
    });
    this.#link?.cut();
  }

  mend(): void {
    this.#mend();
  }

  async close(): Promise<void> {
    this.mend();
    await this.#link?.close();
  }
}
