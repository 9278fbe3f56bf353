/** Points out that SIGTERM would cut streams, where nobody listens for it. */
import { Injectable, Logger } from '@nestjs/common';

@Injectable()
export class ShutdownHookCheck {
  readonly #logger = new Logger('SseChannels');
  #checked = false;

  /** Called when a stream opens: by then an application has enabled its hooks, or forgotten to. Warns once. */
  check(): void {
    if (this.#checked) return;
    this.#checked = true;
    if (process.listenerCount('SIGTERM') > 0) return;
    this.#logger.warn(
      'Nobody listens for SIGTERM: a deploy will cut open streams instead of ending them. Call app.enableShutdownHooks() before app.listen().',
    );
  }
}
