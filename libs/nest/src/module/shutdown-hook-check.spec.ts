import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { ShutdownHookCheck } from './shutdown-hook-check.js';

const warnings: unknown[][] = [];

class Warnings extends ConsoleLogger {
  override warn(...line: unknown[]): void {
    warnings.push(line);
  }
}

describe('the check for a listener of SIGTERM', () => {
  const listener = (): void => undefined;
  let others: NodeJS.SignalsListener[];

  beforeEach(() => {
    warnings.length = 0;
    others = process.listeners('SIGTERM');
    process.removeAllListeners('SIGTERM');
    Logger.overrideLogger(new Warnings());
  });

  afterEach(() => {
    process.removeListener('SIGTERM', listener);
    for (const other of others) process.on('SIGTERM', other);
    Logger.overrideLogger(false);
  });

  it('warns where nobody listens, and says it once', () => {
    const check = new ShutdownHookCheck();

    check.check();
    check.check();

    expect(warnings).toEqual([
      [
        'Nobody listens for SIGTERM: a deploy will cut open streams instead of ending them. Call app.enableShutdownHooks() before app.listen().',
        'SseChannels',
      ],
    ]);
  });

  it('is silent where somebody listens, even when that one stops later', () => {
    const check = new ShutdownHookCheck();

    process.on('SIGTERM', listener);
    check.check();
    process.removeListener('SIGTERM', listener);
    check.check();

    expect(warnings).toEqual([]);
  });

  it('looks anew for each application', () => {
    new ShutdownHookCheck().check();
    new ShutdownHookCheck().check();

    expect(warnings).toHaveLength(2);
  });
});
