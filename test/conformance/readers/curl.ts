/** Reads streams with curl, as a program of its own. */
import { spawn } from 'node:child_process';
import { FrameParser } from '@sse-channels/protocol';
import { headersOf, Reading, urlOf, type Reader } from '../reading.js';

export function curlReader(path: string): Reader {
  return {
    name: 'curl',
    sendsHeader: true,
    reconnects: false,

    open(request): Promise<Reading> {
      const headers = Object.entries(headersOf(request)).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
      const curl = spawn(path, ['-sS', '-N', '-i', '--globoff', ...headers, urlOf(request)], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const reading = new Reading();
      const parser = new FrameParser({
        onEvent: ({ name, data, lastEventId }) => reading.event(name, data, lastEventId),
        onComment: () => reading.comment(),
      });
      reading.handle = { leave: () => curl.kill('SIGKILL') };
      let head = Buffer.alloc(0);
      let complaints = '';
      curl.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
      return new Promise((resolve, reject) => {
        const take = (chunk: Buffer): void => {
          reading.text += chunk.toString('utf8');
          parser.push(chunk);
          if (!reading.left) reading.cursor = parser.lastEventId;
          reading.look();
        };
        curl.stdout.on('data', (chunk: Buffer) => {
          if (reading.status !== null) return take(chunk);
          head = Buffer.concat([head, chunk]);
          const end = head.indexOf('\r\n\r\n');
          if (end === -1) return;
          const [statusLine = '', ...lines] = head.toString('latin1', 0, end).split('\r\n');
          reading.status = Number(statusLine.split(' ')[1]);
          reading.headers = Object.fromEntries(
            lines.map((line) => [line.split(':', 1)[0]?.toLowerCase() ?? '', line.slice(line.indexOf(':') + 1).trim()]),
          );
          resolve(reading);
          take(head.subarray(end + 4));
        });
        curl.on('error', reject);
        curl.on('close', () => {
          if (reading.status === null) reject(new Error(`curl: ${complaints.trim() || 'no answer'}`));
          reading.end();
        });
      });
    },
  };
}
