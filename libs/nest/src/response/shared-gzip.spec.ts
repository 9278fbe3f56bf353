import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { constants, gunzipSync } from 'node:zlib';
import { SharedGzip, type GzipStream } from './shared-gzip.js';

const eventOf = (n: number, bytes = 200): Buffer =>
  Buffer.from(
    `id: 6W3EVMSJ~${(n * 7_919).toString(36)}-0\nevent: price.ticked\ndata: ${JSON.stringify({ sequence: n, price: (n * 37) % 1_000, body: 'abcdefghij'.repeat(bytes / 10) })}\n\n`,
  );

/** A peer: what it was sent must decode at once, and be what was written. */
class Peer {
  readonly sent: Buffer[] = [];
  readonly written: Buffer[] = [];

  constructor(readonly stream: GzipStream) {
    this.write(Buffer.from('event: $open\n\n'));
  }
  write(bytes: Buffer): Buffer {
    this.written.push(bytes);
    const encoded = this.stream.encode(bytes);
    this.sent.push(encoded);
    return encoded;
  }
  get decoded(): Buffer {
    return gunzipSync(Buffer.concat(this.sent), { finishFlush: constants.Z_SYNC_FLUSH });
  }
  /** With the trailer, which gunzip compares. */
  get decodedWhole(): Buffer {
    return gunzipSync(Buffer.concat([...this.sent, this.stream.end()]));
  }
  get bytes(): Buffer {
    return Buffer.concat(this.written);
  }
}

describe('SharedGzip', () => {
  it('decodes for every peer, whoever joins, lags, is written something of its own, or leaves', () => {
    const step = fc.oneof(
      { weight: 2, arbitrary: fc.constant({ join: true } as const) },
      { weight: 12, arbitrary: fc.record({ all: fc.constantFrom(10, 200, 3_000, 20_000), times: fc.nat(12) }) },
      { weight: 2, arbitrary: fc.record({ own: fc.nat(9), bytes: fc.constantFrom(10, 500) }) },
      { weight: 2, arbitrary: fc.record({ lag: fc.nat(9) }) },
      { weight: 1, arbitrary: fc.record({ leave: fc.nat(9) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const gzip = new SharedGzip();
        const peers = [new Peer(gzip.stream()), new Peer(gzip.stream())];
        const gone: Peer[] = [];
        let n = 0;
        for (const action of steps) {
          if ('join' in action) peers.push(new Peer(gzip.stream()));
          else if ('own' in action) peers[action.own % peers.length]?.write(eventOf((n += 1), action.bytes));
          else if ('lag' in action) {
            const [first, second] = [eventOf((n += 1)), eventOf((n += 1))];
            const both = Buffer.concat([first, second]);
            peers.forEach((peer, index) => {
              if (index % 10 === action.lag) peer.write(both);
              else for (const event of [first, second]) peer.write(event);
            });
          } else if ('leave' in action) {
            if (peers.length > 1) gone.push(...peers.splice(action.leave % peers.length, 1));
          } else {
            for (let time = 0; time <= action.times; time += 1) {
              const event = eventOf((n += 1), action.all);
              for (const peer of peers) peer.write(event);
            }
          }
        }
        for (const peer of [...peers, ...gone]) {
          expect(peer.decoded.equals(peer.bytes)).toBe(true);
          expect(peer.decodedWhole.equals(peer.bytes)).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives all streams that have the same past the very same bytes', () => {
    const gzip = new SharedGzip();
    const peers = Array.from({ length: 10 }, () => new Peer(gzip.stream()));
    let shared = 0;
    for (let n = 0; n < 300; n += 1) {
      const event = eventOf(n);
      if (new Set(peers.map((peer) => peer.write(event))).size === 1) shared += 1;
    }
    expect(shared).toBe(300);
  });

  it('makes events that are alike small, for who was there and soon for who joins', () => {
    const gzip = new SharedGzip();
    const peer = new Peer(gzip.stream());
    const send = (from: number, to: number, peers: readonly Peer[]): number => {
      let bytes = 0;
      for (let n = from; n < to; n += 1) {
        const event = eventOf(n);
        for (const each of peers) bytes = n === to - 1 ? each.write(event).length : (each.write(event), bytes);
      }
      return bytes;
    };
    send(0, 200, [peer]);
    const alone = new SharedGzip().stream();
    alone.encode(eventOf(0));
    const independent = alone.encode(eventOf(199)).length;
    const late = new Peer(gzip.stream());
    send(200, 400, [peer, late]);
    const event = eventOf(400);
    const [small, same] = [peer.write(event), late.write(event)];
    expect(same).toBe(small);
    expect(small.length).toBeLessThan(independent * 0.6);
    expect(late.decodedWhole.equals(late.bytes)).toBe(true);
  });

  it('keeps the majority together when one of them is written something of its own first', () => {
    const gzip = new SharedGzip();
    const peers = Array.from({ length: 5 }, () => new Peer(gzip.stream()));
    for (let n = 0; n < 40; n += 1) {
      const event = eventOf(n);
      for (const peer of peers) peer.write(event);
    }
    peers[0]?.write(eventOf(1_000));
    const event = eventOf(40);
    const [, ...others] = peers.map((peer) => peer.write(event));
    expect(new Set(others).size).toBe(1);
    expect((others[0] as Buffer).length).toBeLessThan(50);
    expect(peers.every((peer) => peer.decodedWhole.equals(peer.bytes))).toBe(true);
  });

  it('ends an envelope in which nothing is', () => {
    expect(gunzipSync(new SharedGzip().stream().end()).length).toBe(0);
  });

  it('has a trailer that is wrong when a byte is', () => {
    const stream = new SharedGzip().stream();
    const pieces = [stream.encode(eventOf(1)), stream.encode(eventOf(2)), stream.end()];
    const whole = Buffer.concat(pieces);
    whole[whole.length - 6] = (whole[whole.length - 6] as number) ^ 1;
    expect(() => gunzipSync(whole)).toThrow('incorrect data check');
  });
});
