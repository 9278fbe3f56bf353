/** Starts a server's process, and ends it. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Remote } from '../../bench/remote.js';
import type { methods, StartOptions } from './server.js';

export interface ServerProcess {
  readonly remote: Remote<typeof methods>;
  readonly port: number;
  readonly child: ChildProcess;
}

/** Resolves when it listens. */
export async function startServer(options: StartOptions): Promise<ServerProcess> {
  const child = fork(fileURLToPath(new URL('server.js', import.meta.url)), {
    execArgv: ['--expose-gc'],
    env: { ...process.env, NODE_ENV: 'production', NO_COLOR: '1' },
  });
  const remote = new Remote<typeof methods>(options.adapter, child);
  await remote.ready;
  const { port } = await remote.call('start', options);
  return { remote, port, child };
}
