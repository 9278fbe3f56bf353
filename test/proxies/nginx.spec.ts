/** Streams behind nginx, as it comes and with what sites commonly set. */
import { describe } from '@jest/globals';
import { adapters, startApp } from '../http/adapters.js';
import { OrdersModule } from '../http/orders.module.js';
import { nginx, startNginx, type NginxConfig } from './reverse-proxy.js';
import { claimHeartbeatsKeepIdleStreams, claimStreamsPass, type Way } from './stream-claims.js';
import { StreamReader } from './stream-reader.js';

const behind = async (adapter: (typeof adapters)[number], config: NginxConfig = {}): Promise<Way> => {
  const running = await startApp(adapter.make, OrdersModule);
  const { port, stop } = await startNginx(running.url, config);
  return { running, open: StreamReader.http1(`http://127.0.0.1:${port}`), stop };
};

(nginx === null ? describe.skip : describe).each(adapters)('a client behind nginx, on $adapter', (adapter) => {
  describe('as it comes', () => {
    claimStreamsPass(() => behind(adapter));
  });

  describe('with a proxy_read_timeout of 1 s', () => {
    claimHeartbeatsKeepIdleStreams(() => behind(adapter, { location: 'proxy_read_timeout 1s;' }));
  });

  describe('with gzip for event streams', () => {
    claimStreamsPass(() => behind(adapter, { server: 'gzip on; gzip_types text/event-stream; gzip_proxied any;' }), {
      headers: { 'accept-encoding': 'gzip' },
      expected: { 'content-encoding': 'gzip' },
    });
  });

  describe('with HTTP/1.1 and kept connections to the application', () => {
    claimStreamsPass(() => behind(adapter, { location: 'proxy_http_version 1.1; proxy_set_header Connection "";' }));
  });
});
