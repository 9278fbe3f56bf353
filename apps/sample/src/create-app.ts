/** Makes the sample application; the program and its tests start it alike. */
import 'reflect-metadata';
import { ValidationPipe, type NestApplicationOptions } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Response } from 'express';
import { AppModule } from './app.module.js';
import { ThisNode } from './node/this-node.js';
import { PAGE_DIRECTORY, SCRIPT_DIRECTORY } from './page/page-files.js';

export async function createApp(options: NestApplicationOptions = {}): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule, options);
  app.useGlobalPipes(new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true }));
  const { id } = app.get(ThisNode);
  // Who is served by several nodes can see by which.
  app.use((_request: unknown, response: Response, next: () => void) => {
    response.setHeader('X-Node', id);
    next();
  });
  for (const directory of [PAGE_DIRECTORY, SCRIPT_DIRECTORY]) {
    app.useStaticAssets(directory, { prefix: '/assets/', index: false });
  }
  // A deploy sends SIGTERM: streams end in order, and clients come back to the next process.
  app.enableShutdownHooks();
  return app;
}
