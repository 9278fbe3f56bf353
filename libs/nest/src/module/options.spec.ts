import { describe, expect, it } from '@jest/globals';
import { MemoryBackplane } from '@sse-channels/engine';
import { defineChannel, SseEvent } from '@sse-channels/protocol';
import { DEFAULT_SETTINGS, resolveSettings, type SseChannelsModuleOptions } from './options.js';

@SseEvent('price.changed')
class PriceChanged {}

const pricesChannel = defineChannel('prices', { events: [PriceChanged] });

const SECRET = 'x'.repeat(32);
const MAX_TIMER_MS = 2_147_483_647;
const KNOWN =
  'heartbeatMs, retryMs, maxConnectionAgeMs, writeDeadlineMs, flushWindowMs, maxBufferedBytes, reauthorizeMs, drain, limits, node, allowedHosts, allowedOrigins, principal, principalChannel, unknownProperties, channels, backplane, observer, cursor, tickets';
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
      flushWindowMs: 0,
      maxBufferedBytes: 1_048_576,
      unknownProperties: 'reject',
      drain: { noticeMs: 0, windowMs: 5_000, graceMs: 1_000 },
      limits: {
        connections: 50_000,
        perPrincipal: 100,
        perAddress: null,
        perTopic: null,
        topicsPerConnection: 100,
        eventBytes: 1_048_576,
        replayEvents: 10_000,
        acrossNodes: false,
      },
      node: { name: expect.stringMatching(/^.+:\d+$/), leaseMs: 15_000 },
      principal: expect.any(Function),
      principalChannel: null,
      reauthorizeMs: null,
      allowedHosts: null,
      allowedOrigins: null,
    });
  });

  it('take what is given, and leave out secrets and what is made anew for each application', () => {
    const options = {
      retryMs: 0,
      channels: [pricesChannel],
      backplane: new MemoryBackplane(),
      cursor: { secret: 'x'.repeat(32) },
    };

    expect(resolveSettings(options)).toEqual({ ...DEFAULT_SETTINGS, retryMs: 0 });
  });

  it.each<[keyof SseChannelsModuleOptions, number, number]>([
    ['heartbeatMs', 10, MAX_TIMER_MS],
    ['retryMs', 0, MAX_TIMER_MS],
    ['maxConnectionAgeMs', 1_000, Number.MAX_SAFE_INTEGER],
    ['writeDeadlineMs', 100, MAX_TIMER_MS],
    ['flushWindowMs', 0, 10_000],
    ['maxBufferedBytes', 1_024, Number.MAX_SAFE_INTEGER],
    ['reauthorizeMs', 100, MAX_TIMER_MS],
  ])('hold %s to its range, both ends of it included', (name, min, max) => {
    expect(resolveSettings({ [name]: min })).toMatchObject({ [name]: min });
    expect(resolveSettings({ [name]: max })).toMatchObject({ [name]: max });
    for (const value of [min - 1, max + 1, min + 0.5, NaN, Infinity, String(min), true]) {
      expect(() => resolveSettings({ [name]: value })).toThrow(
        refused(`SseChannelsModule needs ${name} to be a whole number from ${min} to ${max}, not ${String(value)}.`),
      );
    }
  });

  it('take null for a connection without an end, for guards that are not asked again, and for nothing else', () => {
    expect(resolveSettings({ maxConnectionAgeMs: null, reauthorizeMs: null })).toEqual(DEFAULT_SETTINGS);
    expect(() => resolveSettings({ heartbeatMs: null } as never)).toThrow(
      refused('SseChannelsModule needs heartbeatMs to be a whole number from 10 to 2147483647, not null.'),
    );
  });

  it('fill in what a group of options leaves out', () => {
    const settings = resolveSettings({
      drain: { windowMs: 0 },
      limits: { perPrincipal: null, perTopic: 7, acrossNodes: true },
      node: { name: 'eu-1' },
    });

    expect(settings.drain).toEqual({ ...DEFAULT_SETTINGS.drain, windowMs: 0 });
    expect(settings.limits).toEqual({
      ...DEFAULT_SETTINGS.limits,
      perPrincipal: null,
      perTopic: 7,
      acrossNodes: true,
    });
    expect(settings.node).toEqual({ name: 'eu-1', leaseMs: 15_000 });
  });

  it.each<[SseChannelsModuleOptions, string]>([
    [{ drain: { window: 1 } } as never, 'has no option "drain.window"; it knows noticeMs, windowMs, graceMs.'],
    [{ tickets: 'secret' } as never, 'needs tickets to be an object: { secret }, or { secret, ttlMs }.'],
    [{ tickets: {} } as never, 'needs tickets.secret to be a string, or a list of at least one.'],
    [
      { tickets: { secret: 'x'.repeat(32), ttlMs: 999 } },
      'needs tickets.ttlMs to be a whole number from 1000 to 300000, not 999.',
    ],
    [
      { principalChannel: 'users/:user' } as never,
      'needs principalChannel to be a channel; make it with defineChannel("users/:user", { … }).',
    ],
    [
      { principalChannel: defineChannel('users/:user/of/:tenant', { events: [PriceChanged] }) },
      'needs principalChannel to have one parameter, the principal, as in "users/:user"; "users/:user/of/:tenant" has not.',
    ],
    [{ drain: 5 } as never, 'needs drain to be an object of options, not 5.'],
    [{ drain: { graceMs: null } } as never, 'needs drain.graceMs to be a whole number from 0 to 2147483647, not null.'],
    [{ limits: { eventBytes: 0 } }, 'needs limits.eventBytes to be a whole number from 1 to 9007199254740991, not 0.'],
    [{ limits: { acrossNodes: 1 } } as never, 'needs limits.acrossNodes to be true or false, not 1.'],
    [{ node: { id: 'a' } } as never, 'has no option "node.id"; it knows leaseMs, name.'],
    [{ node: { name: '' } }, 'needs node.name to be a text of 1 to 255 characters, not "".'],
    [{ node: { leaseMs: 999 } }, 'needs node.leaseMs to be a whole number from 1000 to 600000, not 999.'],
    [{ limits: { perTopic: 0 } }, 'needs limits.perTopic to be a whole number from 1 to 9007199254740991, not 0.'],
  ])('refuse a wrong group of options (case %#)', (options, why) => {
    expect(() => resolveSettings(options)).toThrow(refused(`SseChannelsModule ${why}`));
  });

  it.each([
    ['api.example', ['api.example']],
    ['API.example:8443', ['api.example:8443']],
    ['[::1]:3000', ['[::1]:3000']],
  ])('take the host %s', (host, hosts) => {
    expect(resolveSettings({ allowedHosts: [host] }).allowedHosts).toEqual(hosts);
  });

  it.each(['https://api.example', 'api.example/x', 'user@api.example', '', 'a b', 7])('refuse the host %p', (host) => {
    expect(() => resolveSettings({ allowedHosts: [host as string] })).toThrow(
      refused(
        `SseChannelsModule needs each of allowedHosts to be a host such as "api.example.com" or "localhost:3000", not ${JSON.stringify(host)}.`,
      ),
    );
  });

  it.each(['https://shop.example/', 'https://SHOP.example', 'shop.example', '*', 'https://shop.example:443'])(
    'refuse the origin %p, which no browser sends',
    (origin) => {
      expect(() => resolveSettings({ allowedOrigins: [origin] })).toThrow(
        refused(
          `SseChannelsModule needs each of allowedOrigins to be an origin such as "https://shop.example.com", not ${JSON.stringify(origin)}.`,
        ),
      );
    },
  );

  it.each([
    [{ user: 'ada' }, 'ada'],
    [{ user: { id: 7 } }, '7'],
    [{ user: { sub: 'auth0|1' } }, 'auth0|1'],
    [{ user: { name: 'ada' } }, null],
    [{}, null],
  ])('name the principal of %j', (request, principal) => {
    expect(DEFAULT_SETTINGS.principal(request)).toBe(principal);
    expect(resolveSettings({ principal: () => undefined }).principal(request)).toBeNull();
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
    [
      'observer',
      'console',
      'SseChannelsModule needs observer to be an object with methods of an Observer, such as { failed(error, context) { … } }.',
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

  it.each<[string, unknown]>([
    ['a secret', { secret: SECRET }],
    ['one of 32 bytes that are fewer characters', { secret: 'é'.repeat(16) }],
    ['a topic to bind to', { secret: SECRET, bindTo: 'topic' }],
    ['a principal to bind to', { secret: [SECRET], bindTo: 'principal' }],
    ['several secrets', { secret: [SECRET, 'y'.repeat(40)] }],
  ])('take %s for cursors', (_what, cursor) => {
    expect(resolveSettings({ cursor } as SseChannelsModuleOptions)).toEqual(DEFAULT_SETTINGS);
  });

  it.each<[unknown, string]>([
    ['secret', 'needs cursor to be an object: { secret }, or { secret, bindTo }.'],
    [null, 'needs cursor to be an object: { secret }, or { secret, bindTo }.'],
    [{ secrets: [SECRET] }, 'has no option "cursor.secrets"; it knows secret, bindTo.'],
    [{}, 'needs cursor.secret to be a string, or a list of at least one.'],
    [{ secret: [] }, 'needs cursor.secret to be a string, or a list of at least one.'],
    [{ secret: [SECRET, 7] }, 'needs cursor.secret to be a string, or a list of at least one.'],
    [
      { secret: 'x'.repeat(31) },
      'needs cursor.secret to have at least 32 bytes, not 31; make one with: openssl rand -base64 32',
    ],
    [
      { secret: [SECRET, ''] },
      'needs cursor.secret[1] to have at least 32 bytes, not 0; make one with: openssl rand -base64 32',
    ],
    [{ secret: SECRET, bindTo: 'user' }, 'needs cursor.bindTo to be one of topic, principal, not user.'],
  ])('refuse a wrong cursor (case %#), without its secret', (cursor, message) => {
    expect(() => resolveSettings({ cursor } as SseChannelsModuleOptions)).toThrow(
      refused(`SseChannelsModule ${message}`),
    );
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
