/** Streams that are sent as gzip, compressed once for all: over real sockets, to Node's own decoders. */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createGunzip } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventBus } from '@sse-channels/nest';
import { FrameParser } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderShipped, OrdersModule, parcelsChannel } from './orders.module.js';

/** A client that decodes what it takes, piece by piece. */
class Client {
  readonly numbers: number[] = [];
  readonly names: string[] = [];
  wireBytes = 0;
  ended = false;
  failure: Error | undefined;

  private constructor(readonly response: IncomingMessage) {
    const parser = new FrameParser({
      onEvent: ({ name, data }) => {
        this.names.push(name);
        if (name === 'order.shipped') this.numbers.push((JSON.parse(data) as OrderShipped).number);
      },
    });
    response.on('data', (bytes: Buffer) => (this.wireBytes += bytes.length));
    // It ends only after a trailer that is right.
    const body = response.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response;
    body.on('data', (bytes: Buffer) => parser.push(bytes));
    body.on('end', () => (this.ended = true));
    body.on('error', (error: Error) => (this.failure = error));
  }

  static async connect(url: string, encodings?: string): Promise<Client> {
    const request = get(url, { headers: encodings === undefined ? {} : { 'accept-encoding': encodings } });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const client = new Client(response);
    await eventually(() => client.names.includes('$open'));
    return client;
  }
}

describe.each(adapters)('compression on $adapter', ({ make }) => {
  let running: RunningApp;
  let bus: EventBus;
  const url = (): string => `${running.url}/orders/parcels/berlin`;
  const ship = async (from: number, to: number): Promise<void> => {
    for (let number = from; number < to; number += 1) {
      await bus.publish(parcelsChannel.topic({ depot: 'berlin' }), OrderShipped, {
        number,
        carrier: `DHL ${'and some more of it '.repeat(8)}`,
      });
    }
  };
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

  beforeEach(async () => {
    running = await startApp(make, OrdersModule);
    bus = running.app.get(EventBus);
  });
  afterEach(async () => {
    await running.app.close();
  });

  it('gives every client every event at once, whenever it joined, and ends with a right trailer', async () => {
    const clients = [await Client.connect(url(), 'gzip'), await Client.connect(url(), 'br, gzip;q=0.5')];
    for (let round = 0; round < 10; round += 1) {
      await ship(round * 30, round * 30 + 30);
      for (const { numbers } of clients) await eventually(() => numbers.at(-1) === round * 30 + 29);
      if (round === 3) clients.push(await Client.connect(url(), 'gzip'));
    }
    await running.app.close();
    for (const client of clients) await eventually(() => client.ended);
    expect(clients.map(({ numbers }) => numbers)).toEqual([range(0, 300), range(0, 300), range(120, 300)]);
    expect(clients.map(({ names, failure }) => [names.at(-1), failure])).toEqual(
      clients.map(() => ['$closing', undefined]),
    );
  });

  it('sends much less, says so in the headers, and sends nothing else to who does not take it', async () => {
    const [small, plain, refusing] = [
      await Client.connect(url(), 'gzip, deflate, br'),
      await Client.connect(url()),
      await Client.connect(url(), 'gzip;q=0'),
    ];
    expect([small, plain, refusing].map(({ response }) => response.headers['content-encoding'])).toEqual([
      'gzip',
      undefined,
      undefined,
    ]);
    expect([small, plain, refusing].every(({ response }) => response.headers.vary === 'Accept-Encoding')).toBe(true);
    await ship(0, 300);
    for (const { numbers } of [small, plain, refusing]) await eventually(() => numbers.length === 300);
    expect(small.wireBytes).toBeLessThan(plain.wireBytes * 0.6);
  });

  it('leaves other channels as they are', async () => {
    const client = await Client.connect(`${running.url}/orders/7/events`, 'gzip');
    expect([client.response.headers['content-encoding'], client.response.headers.vary]).toEqual([undefined, undefined]);
    client.response.destroy();
  });
});
