import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Module,
  Param,
  Scope,
  SetMetadata,
  UnauthorizedException,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { APP_GUARD, Reflector } from '@nestjs/core';
import { defineChannel, EventBus, SseChannel, SseChannelsModule, SseStream } from '@sse-channels/nest';
import { eventually, SseTestClient } from '@sse-channels/testing';
import { NEVER } from 'rxjs';
import { adapters, startApp, type RunningApp } from './adapters.js';
import { OrderPlaced } from './orders.module.js';

const REVIEW_MS = 100;
const watchedChannel = defineChannel('watched/:room', { events: [OrderPlaced], heartbeatMs: 200 });

/** What the guards answer, and which of them was asked how often. */
class Access {
  readonly asked: string[] = [];
  readonly refused = new Map<string, Error | false>();

  ask(guard: string): boolean {
    this.asked.push(guard);
    const answer = this.refused.get(guard);
    if (answer instanceof Error) throw answer;
    return answer !== false;
  }
}

let access = new Access();
let expiresAt: number | undefined;
const Level = (level: string) => SetMetadata('level', level);

@Injectable()
class GlobalGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const level = this.reflector.getAllAndOverride<string>('level', [context.getHandler(), context.getClass()]);
    context.switchToHttp().getRequest<{ user?: unknown }>().user = { id: 'ada' };
    return access.ask(`global ${level} ${context.getClass().name}.${context.getHandler().name}`);
  }
}

@Injectable()
class ClassGuard implements CanActivate {
  // Injected: a guard of a class has its dependencies when it is run again, too.
  constructor(private readonly bus: EventBus) {}

  canActivate(): boolean {
    return access.ask(this.bus instanceof EventBus ? 'class' : 'class without its bus');
  }
}

@Injectable({ scope: Scope.REQUEST })
class RequestGuard implements CanActivate {
  readonly made = access.asked.push('request made');

  canActivate(): boolean {
    return access.ask(this.made === undefined ? 'request without itself' : 'request');
  }
}

const instanceGuard: CanActivate = { canActivate: () => access.ask('instance') };

@Controller('watched')
@UseGuards(ClassGuard)
@Level('class')
class WatchedController {
  @SseChannel(watchedChannel, ':room', { reauthorizeMs: REVIEW_MS })
  @UseGuards(instanceGuard)
  @Level('handler')
  room(@Param('room') room: string) {
    access.asked.push('handler');
    return watchedChannel.topic({ room });
  }

  @SseStream('stream/of/one', { events: [OrderPlaced], reauthorizeMs: REVIEW_MS })
  one() {
    return NEVER;
  }
}

@Controller('granted')
class GrantedController {
  @SseChannel(watchedChannel, ':room', {
    reauthorizeMs: REVIEW_MS,
    authorize: (_request, topic) => {
      access.asked.push(`authorize ${topic.name}`);
      return access.ask('authorize') && (expiresAt === undefined || { expiresAt });
    },
  })
  room(@Param('room') room: string) {
    return [watchedChannel.topic({ room }), watchedChannel.topic({ room: 'lobby' })];
  }
}

@Controller('scoped')
@UseGuards(RequestGuard)
class ScopedController {
  @SseChannel(watchedChannel, ':room', { reauthorizeMs: REVIEW_MS })
  room(@Param('room') room: string) {
    return watchedChannel.topic({ room });
  }
}

@Module({
  imports: [SseChannelsModule.forRoot({ retryMs: 10 })],
  controllers: [WatchedController, GrantedController, ScopedController],
  providers: [{ provide: APP_GUARD, useClass: GlobalGuard }],
})
class WatchedModule {}

describe.each(adapters)('live authorization, on $adapter', ({ make }) => {
  let running: RunningApp;
  const clients: SseTestClient[] = [];

  beforeEach(async () => {
    access = new Access();
    expiresAt = undefined;
    running = await startApp(make, WatchedModule);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await running.app.close();
  });

  const open = async (path: string, lastEventId?: string): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(running.url + path, lastEventId === undefined ? {} : { lastEventId });
    clients.push(client);
    return client;
  };
  const timesAsked = (what: string): number => access.asked.filter((asked) => asked === what).length;

  it('runs global guards, those of the class and of the handler again, in their order, and not the handler', async () => {
    const global = 'global handler WatchedController.room';
    await (await open('/watched/a')).opened();
    await eventually(() => timesAsked('instance') >= 3, 'two more rounds');

    expect(access.asked.slice(0, 7)).toEqual([global, 'class', 'instance', 'handler', global, 'class', 'instance']);
    expect(timesAsked('handler')).toBe(1);
  });

  it.each(['/watched/a', '/watched/stream/of/one'])('ends a stream whose guard refuses by now: %s', async (path) => {
    const client = await (await open(path)).opened();
    access.refused.set('class', path.endsWith('one') ? new UnauthorizedException() : false);
    await client.end();
    const again = await open(path, client.cursor);

    expect(client.closing).toEqual({ reason: 'revoked', comeBack: true });
    expect(again.status).toBe(path.endsWith('one') ? 401 : 403);
  });

  it('ends as failed, with leave to come back, where nobody could say', async () => {
    const client = await (await open('/watched/a')).opened();
    access.refused.set('class', new Error('the session store is down'));
    await client.end();

    expect(client.named('$error').map(({ data }) => data)).toEqual([
      { message: 'Internal server error', status: 500, comeBack: true },
    ]);
    expect(client.closing).toEqual({ reason: 'failed', comeBack: true });
    expect(client.text).not.toContain('session store');
  });

  it('goes on with events and heartbeats while the guards agree', async () => {
    const client = await (await open('/watched/a')).opened();
    await running.app.get(EventBus).publish(watchedChannel.topic({ room: 'a' }), OrderPlaced, { number: 1 });
    await client.receive(1);
    await eventually(() => client.comments >= 2 && timesAsked('class') >= 3, 'heartbeats between reviews');

    expect(client.ended).toBe(false);
  });

  it('runs the very guard of a request scope again', async () => {
    const client = await (await open('/scoped/a')).opened();
    await eventually(() => timesAsked('request') >= 2, 'another round');
    expect(timesAsked('request made')).toBe(1);
    access.refused.set('request', false);
    await client.end();

    expect(client.closing).toEqual({ reason: 'revoked', comeBack: true });
  });

  it('asks `authorize` for each topic before the first byte, and again', async () => {
    const client = await (await open('/granted/a')).opened();
    expect(access.asked.filter((asked) => asked.startsWith('authorize w'))).toEqual([
      'authorize watched/a',
      'authorize watched/lobby',
    ]);
    await eventually(() => timesAsked('authorize watched/lobby') >= 2, 'another round');
    access.refused.set('authorize', false);
    await client.end();
    const again = await open('/granted/a');

    expect(client.closing).toEqual({ reason: 'revoked', comeBack: true });
    expect(again.status).toBe(403);
  });

  it('ends at the expiry that `authorize` answered, and later where it answered a later one meanwhile', async () => {
    expiresAt = Date.now() + 60_000;
    const client = await (await open('/granted/a')).opened();
    expiresAt = Date.now();
    await client.end();

    expect(client.closing).toEqual({ reason: 'expired', comeBack: true });
  });
});
