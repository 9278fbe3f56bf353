/** Starts the own application as a process: `own-app-main.js <adapter> <port>`; says where it listens. */
import { createOwnApp, type AdapterName } from './own-app.js';

const [adapter = 'express', port = '0'] = process.argv.slice(2);
const app = await createOwnApp(adapter as AdapterName);
app.enableShutdownHooks();
await app.listen(Number(port), '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
