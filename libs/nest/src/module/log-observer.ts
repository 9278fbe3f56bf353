/** Turns what the engine tells into Nest's log. */
import { Logger } from '@nestjs/common';
import type { BackplaneState, NodeInfo, Observer } from '@sse-channels/engine';
import type { EndReason, GapReason } from '@sse-channels/protocol';

/** Of a connection's id: by the whole of it a hub's stream can be changed. */
const ID_LENGTH = 8;

export class LogObserver implements Observer {
  readonly #logger = new Logger('SseChannels');

  connectionOpened(connectionId: string): void {
    this.#logger.debug(`Connection ${connectionId.slice(0, ID_LENGTH)} opened`);
  }

  connectionEnded(connectionId: string, reason: EndReason): void {
    this.#logger.debug(`Connection ${connectionId.slice(0, ID_LENGTH)} ended: ${reason}`);
  }

  gapTold(topic: string, reason: GapReason): void {
    this.#logger.debug(`Topic ${topic}: a client was told of a gap (${reason})`);
  }

  backplaneChanged(state: BackplaneState, reason: string): void {
    const text = `The backplane is ${state}: ${reason}`;
    if (state === 'down') this.#logger.error(text);
    else this.#logger.log(text);
  }

  warned(message: string): void {
    this.#logger.warn(message);
  }

  nodeJoined({ name, id, connections }: NodeInfo): void {
    this.#logger.log(`Node ${name} (${id}) is there, with ${connections} connections`);
  }

  nodeLeft({ name, id, heardMs }: NodeInfo, how: 'goodbye' | 'lease'): void {
    if (how === 'goodbye') this.#logger.log(`Node ${name} (${id}) is gone`);
    else this.#logger.warn(`Node ${name} (${id}) was not heard of for ${heardMs} ms and counts as gone`);
  }

  failed(error: unknown, context: string): void {
    const { stack, message } = error instanceof Error ? error : new Error(String(error));
    this.#logger.error(`Error while ${context}: ${message}`, stack);
  }
}
