import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { LogObserver } from './log-observer.js';

const lines: unknown[][] = [];

class Lines extends ConsoleLogger {
  override debug(...line: unknown[]): void {
    lines.push(['debug', ...line]);
  }
  override log(...line: unknown[]): void {
    lines.push(['log', ...line]);
  }
  override warn(...line: unknown[]): void {
    lines.push(['warn', ...line]);
  }
  override error(...line: unknown[]): void {
    lines.push(['error', ...line]);
  }
}

describe('the log observer', () => {
  beforeEach(() => {
    lines.length = 0;
    Logger.overrideLogger(new Lines());
  });

  afterEach(() => Logger.overrideLogger(false));

  it('tells the course of a connection, by how its id begins, and its gaps for those who debug', () => {
    const observer = new LogObserver();

    observer.connectionOpened('cQWty0lgeShsK8eQ');
    observer.gapTold('orders/7', 'trimmed');
    observer.connectionEnded('cQWty0lgeShsK8eQ', 'slow');

    expect(lines).toEqual([
      ['debug', 'Connection cQWty0lg opened', 'SseChannels'],
      ['debug', 'Topic orders/7: a client was told of a gap (trimmed)', 'SseChannels'],
      ['debug', 'Connection cQWty0lg ended: slow', 'SseChannels'],
    ]);
  });

  it('tells that the backplane is away as an error, and that it is back', () => {
    const observer = new LogObserver();

    observer.backplaneChanged('down', 'the connection was refused.');
    observer.backplaneChanged('live', 'connected again.');
    observer.warned('appendfsync is everysec.');

    expect(lines).toEqual([
      ['error', 'The backplane is down: the connection was refused.', undefined, 'SseChannels'],
      ['log', 'The backplane is live: connected again.', 'SseChannels'],
      ['warn', 'appendfsync is everysec.', 'SseChannels'],
    ]);
  });

  it('tells which nodes come and go, and warns of one that did not say so', () => {
    const observer = new LogObserver();
    const node = {
      id: 'x1',
      name: 'eu-1',
      here: false,
      connections: 812,
      startedAt: 1,
      draining: false,
      heardMs: 15_200,
    };

    observer.nodeJoined(node);
    observer.nodeLeft(node, 'goodbye');
    observer.nodeLeft(node, 'lease');

    expect(lines).toEqual([
      ['log', 'Node eu-1 (x1) is there, with 812 connections', 'SseChannels'],
      ['log', 'Node eu-1 (x1) is gone', 'SseChannels'],
      ['warn', 'Node eu-1 (x1) was not heard of for 15200 ms and counts as gone', 'SseChannels'],
    ]);
  });

  it('tells a failure as an error, with its stack', () => {
    const error = new Error('no such table');

    new LogObserver().failed(error, 'serving connection c1');

    expect(lines).toEqual([['error', 'Error while serving connection c1: no such table', error.stack, 'SseChannels']]);
  });

  it.each([
    ['a string', 'broken', 'broken'],
    ['nothing', undefined, 'undefined'],
    ['an object', { status: 500 }, '[object Object]'],
  ])('tells of %s that was thrown in place of an error', (_what, thrown, message) => {
    new LogObserver().failed(thrown, 'reading the log of "orders/7"');

    expect(lines).toEqual([
      ['error', `Error while reading the log of "orders/7": ${message}`, expect.any(String), 'SseChannels'],
    ]);
  });
});
