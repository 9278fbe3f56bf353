/** Runs nginx or HAProxy in front of an application: a process of its own, a free port, a directory that goes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@sse-channels/testing';
import { freePort } from '../free-port.js';
import { findProgram } from '../programs.js';

export const nginx = findProgram('nginx', 'NGINX_PATH', ['nginx']);
export const haproxy = findProgram('HAProxy', 'HAPROXY_PATH', ['haproxy']);

/** A proxy that listens. */
export interface ReverseProxy {
  readonly port: number;
  stop(): Promise<void>;
}

/** What a proxy does beside passing requests on. */
export interface NginxConfig {
  /** Directives of the server. */
  readonly server?: string;
  /** Directives of the location. */
  readonly location?: string;
  /** Parameters of `listen`. */
  readonly listen?: string;
  /** Files that the configuration names. */
  readonly files?: Readonly<Record<string, string>>;
}

/** nginx with nothing set but what makes it run without privileges, and what is given. */
export function startNginx(upstream: string, config: NginxConfig = {}): Promise<ReverseProxy> {
  const { server = '', location = '', listen = '', files } = config;
  return startNginxWith(
    (port) => `
        server {
          listen 127.0.0.1:${port} ${listen};
          ${server}
          location / {
            proxy_pass ${upstream};
            ${location}
          }
        }`,
    files,
  );
}

/**
 * nginx with servers and upstreams of one's own.
 * @param http what stands in the block `http`, for the port that it is to listen on
 */
export function startNginxWith(
  http: (port: number) => string,
  files: Readonly<Record<string, string>> = {},
): Promise<ReverseProxy> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return start(
    nginx,
    (directory) => ['-e', 'stderr', '-p', directory, '-c', join(directory, 'proxy.conf')],
    (port) => `
      daemon off;
      master_process off;
      pid nginx.pid;
      events {}
      http {
        access_log off;
        ${temporary.map((name) => `${name}_temp_path ${name};`).join(' ')}
        ${http(port)}
      }`,
    files,
  );
}

/** HAProxy with the time-outs that its manual's examples and Debian's configuration have, or others. */
export function startHaproxy(
  upstream: string,
  { bind = '', server = '', defaults = '', idle = '50s', files = {} }: HaproxyConfig = {},
): Promise<ReverseProxy> {
  return start(
    haproxy,
    (directory) => ['-db', '-C', directory, '-f', join(directory, 'proxy.conf')],
    (port) => `
      defaults
        mode http
        timeout connect 5s
        timeout client ${idle}
        timeout server ${idle}
        ${defaults}
      frontend front
        bind 127.0.0.1:${port} ${bind}
        default_backend back
      backend back
        server app ${new URL(upstream).host} ${server}
      `,
    files,
  );
}

export interface HaproxyConfig {
  /** Parameters of `bind`. */
  readonly bind?: string;
  /** Directives of both sides. */
  readonly defaults?: string;
  /** Parameters of `server`. */
  readonly server?: string;
  /** How long either side may be silent. @default '50s' */
  readonly idle?: string;
  /** Files that the configuration names. */
  readonly files?: Readonly<Record<string, string>>;
}

async function start(
  program: string | null,
  argumentsIn: (directory: string) => readonly string[],
  configFor: (port: number) => string,
  files: Readonly<Record<string, string>>,
): Promise<ReverseProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'proxy-'));
  const port = await freePort();
  for (const [name, text] of Object.entries({ ...files, 'proxy.conf': configFor(port) })) {
    writeFileSync(join(directory, name), `${text}\n`);
  }
  const child = spawn(program ?? '', argumentsIn(directory), { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    // Both cut what they hold and go at once.
    child.kill('SIGTERM');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${said}`);
      return listens(port);
    }, `${program} listens`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, stop };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
