/** Streams of an Express application whose responses a middleware compresses. */
import { describe } from '@jest/globals';
import { adapters, startApp } from '../http/adapters.js';
import { OrdersModule } from '../http/orders.module.js';
import { compressing } from './compressing-middleware.js';
import { claimStreamsPass, type Way } from './stream-claims.js';
import { StreamReader } from './stream-reader.js';

const headers = { 'accept-encoding': 'gzip' };

const withMiddleware = async (options?: Parameters<typeof compressing>[0]): Promise<Way> => {
  const running = await startApp(adapters[0].make, OrdersModule, (app) => app.use(compressing(options)));
  return { running, open: StreamReader.http1(running.url), stop: async () => undefined };
};

describe('a client of an Express application that compresses its responses', () => {
  describe('as Cache-Control: no-transform allows', () => {
    claimStreamsPass(() => withMiddleware(), { headers, expected: { 'content-encoding': undefined } });
  });

  describe('whatever Cache-Control says', () => {
    claimStreamsPass(() => withMiddleware({ ignoreNoTransform: true }), {
      headers,
      expected: { 'content-encoding': 'gzip' },
    });
  });
});
