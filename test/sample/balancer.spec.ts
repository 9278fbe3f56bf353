import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually } from '@sse-channels/testing';
import { Balancer } from '../../apps/sample/src/cluster/balancer.js';

describe('the balancer of the sample', () => {
  let nodes: Server[];
  let ready: boolean[];
  let back: Array<string | null>;
  let balancer: Balancer;
  let url: string;

  beforeEach(async () => {
    ready = [true, true, true];
    back = [];
    nodes = await Promise.all(ready.map((_, index) => startNode(index, 0)));
    balancer = new Balancer(nodes.map(portOf), ({ id }) => back.push(id));
    url = `http://127.0.0.1:${await balancer.listen(0, '127.0.0.1')}`;
    await eventually(() => balancer.targets.every(({ takes }) => takes));
  });

  afterEach(() => {
    balancer.close();
    for (const node of nodes) stop(node);
  });

  it('gives connections to each node in turn', async () => {
    expect([await ask(), await ask(), await ask()].sort()).toEqual(['a', 'b', 'c']);
  });

  it('gives the connections of a node that takes none to another', async () => {
    stop(nodes[1] as Server);
    const served = [await ask(), await ask(), await ask(), await ask()];
    expect(new Set(served)).toEqual(new Set(['a', 'c']));
  });

  it('leaves out a node that says it is not ready, and takes it in again', async () => {
    ready[0] = false;
    await eventually(() => balancer.targets[0]?.takes === false);
    expect(new Set([await ask(), await ask(), await ask(), await ask()])).toEqual(new Set(['b', 'c']));
    ready[0] = true;
    await eventually(() => balancer.targets[0]?.takes === true);
    expect(new Set([await ask(), await ask(), await ask()])).toEqual(new Set(['a', 'b', 'c']));
  });

  it('tells of each node once, and of the one that comes after it on its port', async () => {
    stop(nodes[2] as Server);
    await eventually(() => balancer.targets[2]?.takes === false);
    nodes[2] = await startNode(3, balancer.targets[2]?.port ?? 0);
    await eventually(() => back.length === 4);
    expect(new Set(back)).toEqual(new Set(['a', 'b', 'c', 'd']));
  });

  it('ends the connection of a client that no node takes', async () => {
    for (const node of nodes) stop(node);
    await expect(ask()).rejects.toThrow('fetch failed');
  });

  async function ask(): Promise<string> {
    const answer = await fetch(url, { headers: { connection: 'close' } });
    return answer.text();
  }

  async function startNode(index: number, port: number): Promise<Server> {
    const name = 'abcd'[index] as string;
    const node = createServer((request, response) => {
      response.setHeader('X-Node', name);
      if (request.url === '/ready' && ready[index] === false) response.statusCode = 503;
      response.end(name);
    });
    await new Promise<void>((resolve) => node.listen(port, '127.0.0.1', resolve));
    return node;
  }
});

function portOf(node: Server): number {
  return (node.address() as AddressInfo | null)?.port ?? 0;
}

function stop(node: Server): void {
  node.close();
  node.closeAllConnections();
}
