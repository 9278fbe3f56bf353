/** The HTTP adapters that every test list runs on. */
import type { INestApplication, Type } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';

export const adapters = [
  { adapter: 'Express', make: () => new ExpressAdapter() },
  { adapter: 'Fastify', make: () => new FastifyAdapter() },
] as const;

/** A listening application and where it listens. */
export interface RunningApp {
  readonly app: INestApplication;
  readonly url: string;
}

/** Starts an application of a module on a free port of the loopback interface. */
export async function startApp(
  make: () => ExpressAdapter | FastifyAdapter,
  module: Type,
  configure: (app: INestApplication) => void = () => undefined,
): Promise<RunningApp> {
  const testing = await Test.createTestingModule({ imports: [module] }).compile();
  const app = testing.createNestApplication(make() as ExpressAdapter, { logger: false, forceCloseConnections: true });
  configure(app);
  await app.listen(0, '127.0.0.1');
  return { app, url: (await app.getUrl()).replace('localhost', '127.0.0.1') };
}
