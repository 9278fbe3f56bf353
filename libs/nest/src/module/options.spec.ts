import { describe, expect, it } from '@jest/globals';
import { MemoryBackplane } from '@sse-channels/engine';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { DEFAULT_SETTINGS, resolveSettings, type SseChannelsModuleOptions } from './options.js';

@SseEvent('price.changed')
class PriceChanged {}

const pricesChannel = defineChannel('prices', { events: [PriceChanged] });

const MAX_TIMER_MS = 2_147_483_647;
const KNOWN =
  'heartbeatMs, retryMs, maxConnectionAgeMs, writeDeadlineMs, drainGraceMs, flushWindowMs, maxBufferedBytes, unknownProperties, channels, backplane';
const CHANNELS =
  'SseChannelsModule needs channels to be a list of channels; make them with defineChannel("orders/:orderId", { … }).';
const BACKPLANE =
  'SseChannelsModule needs backplane to have the methods ready, append, read, tail, close; pass an instance of a backplane, or leave it out.';

describe('the settings', () => {
  it('are the defaults where nothing is given, or undefined is', () => {
    const undefinedOptions = { heartbeatMs: undefined, unknownProperties: undefined, channels: undefined };

    expect(resolveSettings({})).toEqual(DEFAULT_SETTINGS);
    expect(resolveSettings(undefinedOptions as unknown as SseChannelsModuleOptions)).toEqual(DEFAULT_SETTINGS);
    expect(DEFAULT_SETTINGS).toEqual({
      heartbeatMs: 15_000,
      retryMs: 3_000,
      maxConnectionAgeMs: null,
      writeDeadlineMs: 60_000,
      drainGraceMs: 1_000,
      flushWindowMs: 0,
      maxBufferedBytes: 1_048_576,
      unknownProperties: 'reject',
    });
  });

  it('take what is given, and leave out what is made anew for each application', () => {
    const options = { retryMs: 0, channels: [pricesChannel], backplane: new MemoryBackplane() };

    expect(resolveSettings(options)).toEqual({ ...DEFAULT_SETTINGS, retryMs: 0 });
  });

  it.each<[keyof SseChannelsModuleOptions, number, number]>([
    ['heartbeatMs', 10, MAX_TIMER_MS],
    ['retryMs', 0, MAX_TIMER_MS],
    ['maxConnectionAgeMs', 1_000, Number.MAX_SAFE_INTEGER],
    ['writeDeadlineMs', 100, MAX_TIMER_MS],
    ['drainGraceMs', 0, MAX_TIMER_MS],
    ['flushWindowMs', 0, 10_000],
    ['maxBufferedBytes', 1_024, Number.MAX_SAFE_INTEGER],
  ])('hold %s to its range, both ends of it included', (name, min, max) => {
    expect(resolveSettings({ [name]: min })).toMatchObject({ [name]: min });
    expect(resolveSettings({ [name]: max })).toMatchObject({ [name]: max });
    for (const value of [min - 1, max + 1, min + 0.5, NaN, Infinity, String(min), true]) {
      expect(() => resolveSettings({ [name]: value })).toThrow(
        refused(`SseChannelsModule needs ${name} to be a whole number from ${min} to ${max}, not ${String(value)}.`),
      );
    }
  });

  it('take null for a connection without an end, and for nothing else', () => {
    expect(resolveSettings({ maxConnectionAgeMs: null }).maxConnectionAgeMs).toBeNull();
    expect(() => resolveSettings({ heartbeatMs: null } as never)).toThrow(
      refused('SseChannelsModule needs heartbeatMs to be a whole number from 10 to 2147483647, not null.'),
    );
  });

  it.each(['heartbeatMS', 'heartbeat', 'constructor', 'toString', ''])('know no option "%s"', (name) => {
    expect(() => resolveSettings({ [name]: 1 })).toThrow(
      refused(`SseChannelsModule has no option "${name}"; it knows ${KNOWN}.`),
    );
  });

  it.each<[string, unknown, string]>([
    [
      'unknownProperties',
      'ignore',
      'SseChannelsModule needs unknownProperties to be one of reject, strip, keep, not ignore.',
    ],
    ['channels', pricesChannel, CHANNELS],
    ['channels', [pricesChannel, 'prices'], CHANNELS],
    ['channels', null, CHANNELS],
    ['backplane', MemoryBackplane, BACKPLANE],
    ['backplane', { append() {} }, BACKPLANE],
    ['backplane', null, BACKPLANE],
  ])('refuse a wrong %s (case %#)', (name, value, message) => {
    expect(() => resolveSettings({ [name]: value })).toThrow(refused(message));
  });

  it.each([undefined, null, 'heartbeatMs'])('refuse %s in place of options', (options) => {
    expect(() => resolveSettings(options as never)).toThrow(
      refused(`SseChannelsModule needs an object of options, not ${options}; does the factory return one?`),
    );
  });
});

function refused(message: string): Error {
  return expect.objectContaining({ code: 'INVALID_OPTION', message }) as unknown as Error;
}
