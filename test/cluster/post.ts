/** One request over a connection of its own, so that a balancer decides anew each time. */
import { request } from 'node:http';

export interface Posted {
  readonly status: number;
  readonly body: unknown;
}

/**
 * @param timeoutMs null: waits for an answer as long as the connection lives
 * @throws rejects when there was no answer
 */
export function post(port: number, path: string, body: unknown, timeoutMs: number | null): Promise<Posted> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/json', connection: 'close' },
        ...(timeoutMs === null ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (text += part));
        response.once('error', reject);
        response.once('end', () => resolve({ status: response.statusCode ?? 0, body: bodyOf(text) }));
      },
    );
    sent.once('error', reject);
    sent.end(JSON.stringify(body));
  });
}

/** The text itself where it is no JSON. */
function bodyOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
