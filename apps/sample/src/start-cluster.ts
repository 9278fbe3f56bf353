/**
 * `npm run start:cluster`: the sample on three nodes behind a balancer, with an engine of its own for the logs. What is killed is
 * started again, as an orchestrator would. `PORT` (3000) and `HOST` (127.0.0.1) say where it listens.
 */
import { parseArgs } from 'node:util';
import { Cluster, type ClusterOptions } from './cluster/cluster.js';

const USAGE = [
  'npm run start:cluster                            with a Redis or NATS server of its own',
  'npm run start:cluster -- --engine redis          with that one; or nats',
  'npm run start:cluster -- --url redis://host:6379 with one that runs already; or nats://host:4222',
].join('\n');

/** Nobody may read any more, such as after `| head`. */
process.stdout.on('error', () => undefined);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

try {
  await run(optionsIn(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function run(options: ClusterOptions): Promise<void> {
  const cluster = new Cluster(options);
  const asked = new Promise<void>((resolve) => {
    let isAsked = false;
    const onSignal = (): void => {
      // Who asks twice does not want to wait.
      if (isAsked) void cluster.kill();
      isAsked = true;
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  });
  try {
    await Promise.race([cluster.start().then(() => asked), asked]);
    say('\nEnding: the nodes end their streams, the engine goes last.');
  } finally {
    await cluster.end();
  }
}

/** @throws Error for what is no option */
function optionsIn(words: readonly string[]): ClusterOptions {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: { engine: { type: 'string' }, url: { type: 'string' } },
    });
    const { engine = null, url = null } = values;
    if (engine !== null && engine !== 'redis' && engine !== 'nats') throw new Error(`--engine is "${engine}".`);
    const port = Number(process.env['PORT'] ?? 3000);
    return { engine, url, port, host: process.env['HOST'] ?? '127.0.0.1', say };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${USAGE}`, { cause: error });
  }
}
