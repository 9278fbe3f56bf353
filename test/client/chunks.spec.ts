/** What LaunchDarkly's contract tests ask of a client: any cut of the bytes, large messages, and what a request may be. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ClientEvent } from '@sse-channels/client';
import { eventually, randomOf } from '@sse-channels/testing';
import { places, type PlacedClient, type PlainOptions } from './places.js';
import { RawServer, streamOf } from './raw-server.js';

let server: RawServer;

// Anew for each test: a request that the client of the one before had on its way would come to a server that lives on, and be counted.
beforeEach(async () => {
  server = await RawServer.listen();
});

afterEach(() => server.close());

const bytes = (text: string): Uint8Array[] => [...Buffer.from(text)].map((byte) => Buffer.from([byte]));
const text = (count: number): string => Array.from({ length: count }, (_, n) => String(n % 10)).join('');

const MIXED =
  '\uFEFF: hello\r\nid: 1\r\nevent: greeting\r\ndata: Hello 👋 wörld\r\n\r\nid: 2\rdata: one\rdata: two\r\r:\n\nretry: 5\n\ndata: …\r\n\n';
const MIXED_EVENTS = [
  { name: 'greeting', data: 'Hello 👋 wörld', cursor: '1', topic: null },
  { name: 'message', data: 'one\ntwo', cursor: '2', topic: null },
  { name: 'message', data: '…', cursor: '2', topic: null },
];

describe.each(places)('in $place', (place) => {
  let client: PlacedClient;

  beforeAll(() => place.start(), 60_000);

  afterAll(() => place.stop());

  afterEach(() => client.close());

  async function open(options: PlainOptions = {}): Promise<void> {
    client = await place.open(`${server.origin}/stream`, { retryMs: 5, longPoll: false, ...options });
  }

  /** Waits for so many events. */
  async function received(count: number): Promise<readonly ClientEvent[]> {
    await eventually(async () => (await client.count()) >= count, `${count} events`, 20_000);
    return client.events();
  }

  describe('bytes', () => {
    it('may come one at a time: characters, line ends and the byte order mark are cut', async () => {
      server.answer(streamOf(...bytes(MIXED)));
      await open();
      expect(await received(3)).toEqual(MIXED_EVENTS);
    });

    it.each([1, 2, 3, 4, 5, 6, 7, 8])('may be cut anywhere (seed %d)', async (seed) => {
      const random = randomOf(seed);
      const all = Buffer.from(MIXED);
      const chunks: Buffer[] = [];
      for (let from = 0; from < all.length;) {
        const to = from + 1 + Math.floor(random() * 9);
        chunks.push(all.subarray(from, to));
        from = to;
      }
      server.answer(streamOf(...chunks));
      await open();
      expect(await received(3)).toEqual(MIXED_EVENTS);
    });

    it('between CR and LF may be long apart: the event is there at the CR', async () => {
      let goOn = (): void => undefined;
      server.answer(async (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: a\r\r');
        await new Promise<void>((resolve) => (goOn = resolve));
        response.write('\ndata: b\r\n\r\n');
      });
      await open();
      await received(1);
      goOn();

      expect((await received(2)).map(({ data }) => data)).toEqual(['a', 'b']);
    });
  });

  describe('messages', () => {
    it.each([
      ['10 MB in one line', 10_000_000, 1],
      ['many lines of 10 MB together', 100_000, 100],
    ])(
      'of %s arrive whole',
      async (_name, length, lines) => {
        const line = text(length);
        server.answer(streamOf(...Array.from({ length: lines }, () => `data: ${line}\n`), '\n', 'data: end\n\n'));
        await open();
        const events = await received(2);

        const whole = Array.from({ length: lines }, () => line).join('\n');
        expect(events[0]?.data === whole).toBe(true);
        expect(events[1]?.data).toBe('end');
      },
      30_000,
    );

    it('may be many in one chunk, and many comments between them', async () => {
      const block = (n: number): string => `:${'.'.repeat(n % 50)}\n:\n\nid: ${n}\ndata: ${n}\n\n`;
      server.answer(streamOf(Array.from({ length: 20_000 }, (_, n) => block(n)).join('')));
      await open();
      const events = await received(20_000);

      expect(events.every(({ data, cursor }, n) => data === String(n) && cursor === String(n))).toBe(true);
    });
  });

  describe('ids', () => {
    it.each(['\0', 'a\0', 'a\0b', '\0b'])('with a NUL (%j) are ignored, and the one before them holds', async (id) => {
      server.answer(streamOf(`id: good\ndata: 1\n\nid: ${id}\ndata: 2\n\n`));
      await open();
      expect((await received(2)).map(({ cursor }) => cursor)).toEqual(['good', 'good']);
    });
  });

  describe('a request', () => {
    it('may have any method, body and headers, and a cursor from the beginning', async () => {
      server.answer(streamOf('data: end\n\n'));
      await open({
        method: 'REPORT',
        body: '<q/>',
        headers: { 'content-type': 'text/xml', 'x-a': 'b' },
        lastEventId: 'abc',
      });
      await received(1);

      expect(server.requests[0]).toMatchObject({
        method: 'REPORT',
        body: '<q/>',
        headers: { 'content-type': 'text/xml', 'x-a': 'b', 'last-event-id': 'abc' },
      });
    });

    it('comes again after each end, with what came last', async () => {
      server.answer((response, _request, number) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`retry: 1\nid: ${number}\ndata: ${number}\n\n`);
      });
      await open();
      const events = await received(6);

      expect(server.requests.slice(0, 6).map(({ headers }) => headers['last-event-id'])).toEqual([
        undefined,
        '0',
        '1',
        '2',
        '3',
        '4',
      ]);
      expect(events.slice(0, 6).map(({ data }) => data)).toEqual(['0', '1', '2', '3', '4', '5']);
    });
  });
});
