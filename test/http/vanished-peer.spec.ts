import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, describe, expect, it } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import {
  defineChannel,
  Hub,
  SSE_CHANNELS_OBSERVER,
  SseChannel,
  SseChannelsModule,
  type EndReason,
} from '@sse-channels/nest';
import { SseTestClient } from '@sse-channels/testing';
import { Test } from '@nestjs/testing';
import { findProgram, leaveOut } from '../programs.js';
import { adapters } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

const quietChannel = defineChannel('vanishing', { events: [OrderPlaced] });

@Controller()
class QuietController {
  @SseChannel(quietChannel, 'quiet')
  quiet() {
    return quietChannel.topic();
  }
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 200, writeDeadlineMs: 1_000 })],
  controllers: [QuietController],
})
class QuietModule {}

/** A second host, in a network namespace of this test's own, joined to this one by a cable that can be pulled. */
class OtherHost {
  /** Of this process alone: two runs of the tests on one machine would hear each other's answers. */
  static readonly #subnet = `10.${200 + (process.pid % 50)}.${(process.pid >> 4) % 256}`;
  static readonly here = `${OtherHost.#subnet}.1`;
  static readonly there = `${OtherHost.#subnet}.2`;
  readonly #name = `sse${process.pid % 100_000}`;
  readonly #cable = `s${process.pid % 100_000}a`;
  readonly #end = `s${process.pid % 100_000}b`;

  constructor(private readonly ip: string) {}

  up(): void {
    this.#run('netns', 'add', this.#name);
    this.#run('link', 'add', this.#cable, 'type', 'veth', 'peer', 'name', this.#end, 'netns', this.#name);
    this.#run('addr', 'add', `${OtherHost.here}/30`, 'dev', this.#cable);
    this.#run('link', 'set', this.#cable, 'up');
    this.#run('-n', this.#name, 'addr', 'add', `${OtherHost.there}/30`, 'dev', this.#end);
    this.#run('-n', this.#name, 'link', 'set', this.#end, 'up');
  }

  /** Runs a program over there. */
  node(script: string, ...args: string[]): ChildProcess {
    return spawn(this.ip, ['netns', 'exec', this.#name, process.execPath, '-e', script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  pullTheCable(): void {
    this.#run('-n', this.#name, 'link', 'set', this.#end, 'down');
  }

  down(): void {
    this.#run('netns', 'del', this.#name);
  }

  #run(...args: string[]): void {
    execFileSync(this.ip, args, { stdio: 'pipe' });
  }
}

function findOtherHost(): OtherHost | null {
  const ip =
    process.platform === 'linux' ? findProgram('iproute2, for a peer that vanishes,', 'IP_PATH', ['ip']) : null;
  if (ip === null) return null;
  const host = new OtherHost(ip);
  try {
    host.up();
    return host;
  } catch (error) {
    leaveOut(`No network namespace for a peer that vanishes (it needs root): ${(error as Error).message.trim()}`);
    return null;
  }
}

const host = findOtherHost();

(host === null ? describe.skip : describe)('a peer whose cable is pulled', () => {
  const children: ChildProcess[] = [];

  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    host?.down();
  });

  it('is released, though it said nothing, and nobody else is', async () => {
    const ended: EndReason[] = [];
    const testing = await Test.createTestingModule({ imports: [QuietModule] })
      .overrideProvider(SSE_CHANNELS_OBSERVER)
      .useValue({ connectionEnded: (_id: string, reason: EndReason) => ended.push(reason) })
      .compile();
    const app = testing.createNestApplication(adapters[0].make(), { logger: false, forceCloseConnections: true });
    await app.listen(0, '0.0.0.0');
    const { port } = app.getHttpServer().address() as { port: number };
    const hub = app.get(Hub);
    const near = await (await SseTestClient.connect(`http://127.0.0.1:${port}/quiet`)).opened();
    const far = host?.node(
      `require('node:http').get(process.argv[1], (r) => r.once('data', () => console.log('open')).resume())`,
      `http://${OtherHost.here}:${port}/quiet`,
    );
    if (far?.stdout == null) throw new Error('No other host.');
    children.push(far);
    await once(far.stdout, 'data');
    expect(hub.snapshot().connections).toBe(2);

    host?.pullTheCable();
    await near.until(() => hub.snapshot().connections < 2, 'the vanished peer released', 20_000);

    expect([ended, hub.snapshot().connections, near.ended]).toEqual([['slow'], 1, false]);
    near.leave();
    await app.close();
  }, 40_000);
});
