/** Posts events over connections that it keeps, so that publishing is fast and takes no descriptors by and by. */
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

const MAX_SOCKETS = 16;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export class Poster {
  #http = new HttpAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  #https = new HttpsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });

  /** @throws rejects when there is no answer */
  post(url: string, body: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const secure = url.startsWith('https:');
    return new Promise((resolve, reject) => {
      const request = (secure ? httpsRequest : httpRequest)(
        url,
        {
          method: 'POST',
          agent: secure ? this.#https : this.#http,
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (text += chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
          response.on('error', reject);
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Lets go of every connection; the next post opens its own. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
    this.#http = new HttpAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });
    this.#https = new HttpsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  }
}
