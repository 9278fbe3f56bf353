/** Streams behind HAProxy. */
import { describe } from '@jest/globals';
import { adapters, startApp } from '../http/adapters.js';
import { OrdersModule } from '../http/orders.module.js';
import { haproxy, startHaproxy, type HaproxyConfig } from './reverse-proxy.js';
import { claimHeartbeatsKeepIdleStreams, claimStreamsPass, type Way } from './stream-claims.js';
import { StreamReader } from './stream-reader.js';

const behind = async (adapter: (typeof adapters)[number], config: HaproxyConfig = {}): Promise<Way> => {
  const running = await startApp(adapter.make, OrdersModule);
  const { port, stop } = await startHaproxy(running.url, config);
  return { running, open: StreamReader.http1(`http://127.0.0.1:${port}`), stop };
};

(haproxy === null ? describe.skip : describe).each(adapters)('a client behind HAProxy, on $adapter', (adapter) => {
  describe('with its usual time-outs', () => {
    // It takes a client's end for half of one, and looks after the other half when there is something to send.
    claimStreamsPass(() => behind(adapter), { released: 'when something is sent' });
  });

  describe('with option abortonclose and option http-no-delay', () => {
    claimStreamsPass(() => behind(adapter, { defaults: 'option abortonclose\noption http-no-delay' }));
  });

  describe('with time-outs of 1 s', () => {
    claimHeartbeatsKeepIdleStreams(() => behind(adapter, { idle: '1s' }));
  });
});
