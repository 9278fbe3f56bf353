import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { eventually } from '@sse-channels/testing';
import { chunkOf, chunkSocketOf } from './chunked-writer.js';

describe('a chunk', () => {
  it.each([
    ['a', '1\r\na\r\n'],
    ['x'.repeat(16), `10\r\n${'x'.repeat(16)}\r\n`],
    ['grüße', '7\r\ngrüße\r\n'],
    ['y'.repeat(70_000), `11170\r\n${'y'.repeat(70_000)}\r\n`],
  ])('has its length in hexadecimal before it and CRLF after it', (text, chunk) => {
    expect(chunkOf(Buffer.from(text)).toString()).toBe(chunk);
  });

  it('is made once for bytes that many responses share', () => {
    const [bytes, others] = [Buffer.from('shared'), Buffer.from('others')];
    const first = chunkOf(bytes);
    expect(chunkOf(bytes)).toBe(first);
    expect(chunkOf(others).toString()).toBe('6\r\nothers\r\n');
    expect(chunkOf(bytes)).toEqual(first);
  });
});

describe('the socket for a response’s chunks', () => {
  const answer = async (version: string, write: (response: ServerResponse) => void): Promise<string> => {
    const server = createServer((_request, response) => {
      if (version === '1.1') response.setHeader('Transfer-Encoding', 'chunked');
      response.sendDate = false;
      write(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    let text = '';
    let ended = false;
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('data', (data: Buffer) => (text += data.toString()));
    socket.on('close', () => (ended = true));
    socket.write(`GET / HTTP/${version}\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    await eventually(() => ended, 'the answer');
    server.close();
    return text.slice(text.indexOf('\r\n\r\n') + 4);
  };

  it('is the response’s own, and what is written there stands in order with what the response writes', async () => {
    const body = await answer('1.1', (response) => {
      response.write('one');
      const socket = chunkSocketOf(response);
      socket?.write(chunkOf(Buffer.from('two')));
      response.write('three');
      socket?.write(chunkOf(Buffer.from('four')));
      response.end();
    });
    expect(body).toBe('3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n');
  });

  it.each([
    ['for HTTP/1.0', '1.0', (): void => undefined],
    ['where somebody wrapped the response’s write', '1.1', wrapWrite],
    ['before the head was written', '1.1', null],
  ])('is none %s', async (_where, version, prepare) => {
    let found: unknown = 'not asked';
    await answer(version, (response) => {
      prepare?.(response);
      if (prepare !== null) response.write('one');
      found = chunkSocketOf(response);
      response.end();
    });
    expect(found).toBeNull();
  });
});

/** As a compression middleware does. */
function wrapWrite(response: ServerResponse): void {
  const write = response.write.bind(response);
  response.write = ((chunk: string) => write(chunk)) as typeof response.write;
}
