import { createHook } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import { connect, type Server, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Injectable, Module, Param, UseGuards, type CanActivate } from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  Hub,
  MemoryBackplane,
  SSE_CHANNELS_BACKPLANE,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseStream,
} from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsString } from 'class-validator';
import { interval, map } from 'rxjs';
import { adapters, startApp, type RunningApp } from '../http/adapters.js';

@SseEvent('storm.blew')
class StormBlew {
  @IsString() text!: string;
}

const stormsChannel = defineChannel('storms/:name', { events: [StormBlew], replay: { maxAgeMs: 300 } });
const STORM = stormsChannel.topic({ name: 'a' });

/** Holds what passes through it until it is opened. */
class Gate {
  waiting = 0;
  #open!: () => void;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  async pass(): Promise<void> {
    this.waiting += 1;
    await this.#opened;
    this.waiting -= 1;
  }

  open(): void {
    this.#open();
  }
}

let gate: Gate;

@Injectable()
class GateGuard implements CanActivate {
  async canActivate(): Promise<boolean> {
    await gate.pass();
    return true;
  }
}

@Controller()
class StormsController {
  @SseChannel(stormsChannel, 'storms/:name')
  storms(@Param('name') name: string) {
    return stormsChannel.topic({ name });
  }

  @SseChannel(stormsChannel, 'two')
  two() {
    return [STORM, stormsChannel.topic({ name: 'b' })];
  }

  @SseChannel(stormsChannel, 'guarded')
  @UseGuards(GateGuard)
  guarded() {
    return STORM;
  }

  @SseChannel(stormsChannel, 'slow')
  async slow() {
    await gate.pass();
    return STORM;
  }

  @SseStream('ticks', { events: [StormBlew] })
  ticks() {
    return interval(1).pipe(map((n) => Object.assign(new StormBlew(), { text: String(n) })));
  }
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 20, writeDeadlineMs: 250 })],
  controllers: [StormsController],
})
class StormsModule {}

const PATHS = ['/storms/a', '/storms/b', '/two', '/ticks'];
const CUTS: ReadonlyArray<(socket: Socket) => void> = [
  (socket) => socket.destroy(),
  (socket) => socket.resetAndDestroy(),
  (socket) => socket.end(),
];
const LARGE = 'x'.repeat(65_536);

/** Keeps count of timers, those that do not hold the process open as well. */
class TimerWatch {
  readonly #alive = new Map<number, string>();
  #watching = true;
  readonly #hook = createHook({
    init: (id, type) => {
      if (this.#watching && type === 'Timeout') this.#alive.set(id, new Error('made').stack ?? '');
    },
    destroy: (id) => this.#alive.delete(id),
  }).enable();

  /** From now on new ones are not counted. */
  stop(): void {
    this.#watching = false;
  }

  /** Where those that are left were made. */
  get left(): string[] {
    return [...this.#alive.values()];
  }

  end(): void {
    this.#hook.disable();
  }
}

describe.each(adapters)('after a storm on $adapter', ({ make }) => {
  let running: RunningApp;
  let hub: Hub;
  let bus: EventBus;
  let port: number;
  let server: Server;
  let timers: TimerWatch;

  beforeEach(async () => {
    gate = new Gate();
    running = await startApp(make, StormsModule);
    server = running.app.getHttpServer() as Server;
    hub = running.app.get(Hub);
    bus = running.app.get(EventBus);
    port = Number(new URL(running.url).port);
  });

  afterEach(async () => {
    timers.end();
    await running.app.close();
  });

  it('nothing is left: no connection, no listener, no timer, no handle, and the log goes with its retention', async () => {
    const backplane = running.app.get<MemoryBackplane>(SSE_CHANNELS_BACKPLANE);
    const before = {
      server: listenersOf(server),
      process: listenersOf(process),
      resources: process.getActiveResourcesInfo(),
    };
    timers = new TimerWatch();

    for (let round = 0; round < 3; round += 1) await cutAnywhere();
    await leaveBeforeTheHead();
    await leaveBeforeTheHandler();
    await stall();
    timers.stop();

    const none = { connections: 0, feeds: 0, subscriptions: 0 };
    await eventually(() => hub.snapshot().connections + hub.snapshot().feeds === 0, 'the hub is empty');
    expect(hub.snapshot()).toEqual(none);
    await eventually(() => backplane.topics === 0, 'the logs are forgotten');
    await eventually(() => addedTo(before.resources).length === 0, 'no handle is left').catch(() => undefined);
    expect(addedTo(before.resources)).toEqual([]);
    await eventually(() => timers.left.length === 0, 'no timer is left').catch(() => undefined);
    expect(timers.left).toEqual([]);
    expect([listenersOf(server), listenersOf(process)]).toEqual([before.server, before.process]);
  }, 20_000);

  /** Connections that are cut in each way, while events come. */
  async function cutAnywhere(): Promise<void> {
    const sockets = Array.from({ length: 60 }, (_, index) => ask(PATHS[index % PATHS.length] as string));
    await Promise.all(sockets.map((socket) => hasRead(socket, '$open')));
    expect(hub.snapshot().connections).toBe(60);
    for (let event = 0; event < 20; event += 1)
      void bus.publish(STORM, StormBlew, { text: LARGE.slice(0, event * 100) });
    for (const [index, socket] of sockets.entries()) {
      CUTS[index % CUTS.length]?.(socket);
      if (index % 10 === 0) await bus.publish(stormsChannel.topic({ name: 'b' }), StormBlew, { text: 'between' });
    }
    await Promise.all(sockets.map(isClosed));
  }

  /** Requests that are never finished, and some that wait behind a stream on the same connection. */
  async function leaveBeforeTheHead(): Promise<void> {
    const halves = Array.from({ length: 20 }, (_, index) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(requestOf('/storms/a').slice(0, 5 + 3 * index));
      // Half a request is answered with 400 when its peer closes its half.
      return socket.on('error', () => undefined).resume();
    });
    await Promise.all(halves.map(isConnected));
    const pipelined = Array.from({ length: 5 }, () => ask('/storms/a'));
    for (const socket of pipelined) socket.write(requestOf('/storms/b'));
    await Promise.all(pipelined.map((socket) => hasRead(socket, '$open')));
    for (const [index, socket] of [...halves, ...pipelined].entries()) CUTS[index % CUTS.length]?.(socket);
    await Promise.all([...halves, ...pipelined].map(isClosed));
  }

  /** Peers that are gone when the guard, or the handler, lets them pass. */
  async function leaveBeforeTheHandler(): Promise<void> {
    const sockets = Array.from({ length: 20 }, (_, index) => ask(index % 2 === 0 ? '/guarded' : '/slow'));
    await eventually(() => gate.waiting === sockets.length, 'all wait at the gate');
    for (const socket of sockets) socket.resetAndDestroy();
    await Promise.all(sockets.map(isClosed));
    await eventually(async () => (await connectionsOf(server)) === 0, 'the server has noticed');
    gate.open();
    await eventually(() => gate.waiting === 0, 'all passed the gate');
  }

  /** Readers that stop reading: some are killed, the others are ended by the server's deadline. */
  async function stall(): Promise<void> {
    const sockets = Array.from({ length: 6 }, () => ask('/storms/a'));
    await Promise.all(sockets.map((socket) => hasRead(socket, '$open')));
    for (const socket of sockets) socket.pause();
    for (let event = 0; event < 300; event += 1) {
      await bus.publish(STORM, StormBlew, { text: LARGE });
      // In turns of their own, or the log would have moved on before the first is written.
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const socket of sockets.slice(0, 3)) socket.resetAndDestroy();
    await eventually(() => hub.snapshot().connections === 0, 'the deadline ended the others');
    for (const socket of sockets) socket.destroy();
  }

  function ask(path: string): Socket {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(requestOf(path));
    return socket;
  }
});

function requestOf(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`;
}

async function hasRead(socket: Socket, wanted: string): Promise<void> {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('latin1')).slice(-4_096);
  });
  await eventually(() => text.includes(wanted), `${wanted} has come`);
  socket.removeAllListeners('data').resume();
}

function isClosed(socket: Socket): Promise<void> {
  return eventually(() => socket.closed, 'the socket is closed');
}

function isConnected(socket: Socket): Promise<void> {
  return eventually(() => !socket.connecting, 'the socket is connected');
}

function connectionsOf(server: Server): Promise<number> {
  return promisify(server.getConnections.bind(server))();
}

function listenersOf(emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
}

/** What holds the process open and did not before, by kind; timers are watched by themselves. */
function addedTo(before: readonly string[]): string[] {
  const known = [...before, 'Timeout', 'Immediate'];
  return process.getActiveResourcesInfo().filter((kind) => {
    const at = known.indexOf(kind);
    if (at >= 0 && at < before.length) known[at] = '';
    return at === -1;
  });
}
