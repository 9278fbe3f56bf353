/** nchan, the push module of nginx, in C: one worker, published to over HTTP on one pipelined connection by this process. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessUsage, SseServer, StartOptions, Tick } from '../sse-server.js';

const NGINX = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/bin/nginx'].find(existsSync);
const MODULE = ['/usr/lib/nginx/modules', '/usr/lib64/nginx/modules', '/usr/share/nginx/modules']
  .map((folder) => join(folder, 'ngx_nchan_module.so'))
  .find(existsSync);
const PAGE_BYTES = 4_096;
/** How nginx's answer to a taken event begins. */
const ACCEPTED = 'HTTP/1.1 20';

/** Why nchan cannot take part; undefined when it can. */
export function nchanMissing(): string | undefined {
  if (NGINX !== undefined && MODULE !== undefined) return undefined;
  return 'nchan is left out: no nginx with its module was found (Debian: apt-get install nginx-light libnginx-mod-nchan)';
}

export async function start({ heartbeatMs }: StartOptions): Promise<SseServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'bench-nchan-'));
  const configuration = join(folder, 'nginx.conf');
  writeFileSync(configuration, nginxConfiguration(folder, port, heartbeatMs));
  const words = ['-p', folder, '-c', configuration];
  const stdio = ['ignore', 'ignore', 'inherit'] as const;
  // This process publishes, next to the load generator; nginx has the servers' core.
  const nginx = existsSync('/usr/bin/taskset')
    ? spawn('taskset', ['-c', '0', NGINX as string, ...words], { stdio: [...stdio] })
    : spawn(NGINX as string, words, { stdio: [...stdio] });
  const worker = await startedWorker(nginx.pid as number);
  const publisher = new Publisher(await connected(port));
  return {
    port,
    path: '/events/{channel}',
    publish: (channel, event) => publisher.publish(channel, event),
    async remember(channel, events) {
      for (const event of events) await publisher.publish(channel, event);
      // The time part of an nchan id: everything after it.
      return '1:0';
    },
    usage: () => usageOf(worker),
    close() {
      nginx.kill('SIGKILL');
      process.kill(worker, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Posts events on one connection, without waiting for the answers of those before. */
class Publisher {
  readonly #socket: Socket;
  readonly #waiting: Array<() => void> = [];
  #rest = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      const answers = (this.#rest + text).split(ACCEPTED);
      this.#rest = (answers.at(-1) as string).slice(1 - ACCEPTED.length);
      for (let index = 1; index < answers.length; index += 1) this.#waiting.shift()?.();
    });
  }

  publish(channel: string, event: Tick): Promise<void> {
    const body = JSON.stringify(event);
    this.#socket.write(
      `POST /publish/${channel} HTTP/1.1\r\nHost: bench\r\nX-EventSource-Event: ticked\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function nginxConfiguration(folder: string, port: number, heartbeatMs: number | null): string {
  return `
load_module ${MODULE};
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log crit;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  nchan_shared_memory_size 512M;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/events/(.+)$ {
      nchan_channel_id $1;
      nchan_subscriber eventsource;
      nchan_subscriber_first_message newest;
      nchan_message_buffer_length 1000;
      ${heartbeatMs === null ? '' : `nchan_websocket_ping_interval 0; nchan_eventsource_ping_interval ${Math.ceil(heartbeatMs / 1000)};`}
    }
    location ~ ^/publish/(.+)$ {
      nchan_channel_id $1;
      nchan_publisher http;
      nchan_message_buffer_length 1000;
      client_body_buffer_size 128k;
      client_max_body_size 1m;
    }
  }
}
`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function connected(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function startedWorker(master: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    await sleep(50);
    const worker = workerOf(master);
    if (worker !== undefined) return worker;
  }
  throw new Error('nginx did not start a worker');
}

/** The one child of nginx's master that is its worker. */
function workerOf(master: number): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return parent === master && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('worker process');
      } catch {
        return false;
      }
    });
}

function usageOf(pid: number): ProcessUsage {
  const [ranNanos = 0] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ').map(Number);
  const [, pages = 0] = readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ').map(Number);
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The fields after the name in brackets, proc(5): the 12th and 13th are the ticks in user and in system mode.
  const ticks = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  const [user = 0, system = 0] = ticks;
  const cpuMicros = ranNanos / 1000;
  return { cpuMicros, kernelMicros: (cpuMicros * system) / Math.max(1, user + system), rssBytes: pages * PAGE_BYTES };
}
