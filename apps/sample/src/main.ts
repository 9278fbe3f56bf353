/** Starts the sample. `PORT` (3000) and `HOST` (127.0.0.1) say where it listens. */
import { Logger } from '@nestjs/common';
import { createApp } from './create-app.js';

const app = await createApp();
await app.listen(process.env['PORT'] ?? 3000, process.env['HOST'] ?? '127.0.0.1');
new Logger('Sample').log(`The trading floor is open: ${(await app.getUrl()).replace('127.0.0.1', 'localhost')}`);
