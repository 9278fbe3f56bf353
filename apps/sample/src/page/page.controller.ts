/** The pages, and whether the server is well. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { Controller, Get, Header, StreamableFile } from '@nestjs/common';
import { Hub } from '@sse-channels/nest';
import { PAGE_DIRECTORY } from './page-files.js';

const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

@Controller()
export class PageController {
  constructor(private readonly hub: Hub) {}

  @Get()
  @Header('Content-Security-Policy', POLICY)
  page() {
    return fileOf('index.html');
  }

  /** The same live data, with React. */
  @Get('react')
  @Header('Content-Security-Policy', POLICY)
  reactPage() {
    return fileOf('react.html');
  }

  @Get('healthz')
  health() {
    return { status: this.hub.draining ? 'draining' : 'ok', ...this.hub.snapshot() };
  }
}

function fileOf(name: string): StreamableFile {
  return new StreamableFile(createReadStream(join(PAGE_DIRECTORY, name)), { type: 'text/html; charset=utf-8' });
}
