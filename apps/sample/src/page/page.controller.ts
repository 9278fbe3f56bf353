/** The page, and whether the server is well. */
import { createReadStream } from 'node:fs';
import { Controller, Get, Header, StreamableFile } from '@nestjs/common';
import { Hub } from '@sse-channels/nest';
import { PAGE_FILE } from './page-files.js';

@Controller()
export class PageController {
  constructor(private readonly hub: Hub) {}

  @Get()
  @Header(
    'Content-Security-Policy',
    "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  )
  page() {
    return new StreamableFile(createReadStream(PAGE_FILE), { type: 'text/html; charset=utf-8' });
  }

  @Get('healthz')
  health() {
    return { status: this.hub.draining ? 'draining' : 'ok', ...this.hub.snapshot() };
  }
}
