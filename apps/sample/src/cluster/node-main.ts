/** One node of the cluster: the sample, quieter, and not without who started it. */
import { createApp } from '../create-app.js';

// However the program that started it ends, this node ends in order then.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
const app = await createApp({ logger: ['fatal', 'error', 'warn'] });
await app.listen(process.env['PORT'] ?? 0, '127.0.0.1');
