/** The own application as a target: a process, or inside this one, where faults can be made. */
import { join } from 'node:path';
import type { Server } from 'node:http';
import { INestApplication } from '@nestjs/common';
import type { Backplane } from '@sse-channels/nest';
import { freePort } from '../free-port.js';
import { AppProcess } from './app-process.js';
import { createOwnApp, OWN_RETAINED_EVENTS, type AdapterName } from './own-app.js';
import type { Target } from './target.js';

/** A target that the suite has started. */
export interface RunningTarget {
  readonly target: Target;
  /** What its process said of errors, where it is one. */
  readonly complaints: () => readonly string[];
  stop(): Promise<void>;
}

/**
 * Starts the own application as a process.
 * @param compiled the folder that `.ci/compile-program.mjs` fills
 */
export async function startOwnProcess(adapter: AdapterName, compiled: string): Promise<RunningTarget> {
  const port = await freePort();
  const main = join(compiled, 'test', 'conformance', 'own-app-main.js');
  const app = new AppProcess(`"${process.execPath}" "${main}" ${adapter} ${port}`, `http://127.0.0.1:${port}/`);
  await app.start();
  return {
    target: { ...targetAt(`own application on ${adapter}`, port), pid: () => app.pid, process: app },
    complaints: () => app.complaints,
    stop: () => app.kill(),
  };
}

/** What may be wrong with an application, made anew with each start. */
export interface Fault {
  readonly backplane?: () => Backplane;
  /** Looks at the server before it listens. */
  readonly server?: (server: Server) => void;
}

/** Starts the own application inside this process, with a fault. */
export async function startOwnApp(adapter: AdapterName, fault: Fault = {}): Promise<RunningTarget> {
  const port = await freePort();
  let app: INestApplication;
  const start = async (): Promise<void> => {
    app = await createOwnApp(adapter, { backplane: fault.backplane?.(), silent: true });
    await app.init();
    const server = app.getHttpServer() as Server;
    fault.server?.(server);
    await app.listen(port, '127.0.0.1');
  };
  const kill = async (): Promise<void> => {
    (app.getHttpServer() as Server).closeAllConnections();
    await app.close();
  };
  await start();
  return {
    target: {
      ...targetAt(`own application inside this process, on ${adapter}`, port),
      pid: () => process.pid,
      process: { start, kill, terminate: () => app.close() },
    },
    complaints: () => [],
    stop: kill,
  };
}

function targetAt(name: string, port: number): Target {
  return {
    name,
    streamUrl: `http://127.0.0.1:${port}/counts/%topic/events`,
    publishUrl: `http://127.0.0.1:${port}/counts/%topic`,
    body: '{"number": %n, "text": %text}',
    headers: {},
    retainedEvents: OWN_RETAINED_EVENTS,
    log: 'memory',
  };
}
