import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  CanActivate,
  Controller,
  ExecutionContext,
  Header,
  Injectable,
  Param,
  Query,
  Req,
  SetMetadata,
  UseGuards,
  Version,
  VersioningType,
  type INestApplication,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { EventBus } from '@sse-channels/engine';
import { defineEvent, SseEvent } from '@sse-channels/protocol';
import { SseTestClient } from '@sse-channels/testing';
import { IsString } from 'class-validator';
import { of, type Observable } from 'rxjs';
import { z } from 'zod';
import { SseChannelsModule } from '../module/sse-channels.module.js';
import { SSE_ROUTE } from './sse-route.js';
import { SseStream } from './sse-stream.decorator.js';

@SseEvent('note.taken')
class NoteTaken {
  @IsString() text!: string;
}

const noteDropped = defineEvent('note.dropped', z.object({ text: z.string() }));
const note = (text: string): NoteTaken => Object.assign(new NoteTaken(), { text });

class Plain {}

describe('@SseStream', () => {
  it.each<[string, unknown[]]>([
    ['no events', ['path', {}]],
    ['an empty list of events', ['path', { events: [] }]],
    ['events that are no list', ['path', { events: NoteTaken }]],
    ['a path alone', ['path']],
    ['nothing', []],
    ['a path and undefined', ['path', undefined]],
    ['options without events in place of a path', [{ method: 'POST' }]],
  ])('refuses %s where it is written', (_what, given) => {
    expect(() => (SseStream as (...all: unknown[]) => unknown)(...given)).toThrow(
      refused(
        'INVALID_OPTION',
        '@SseStream declares no event; list at least one: @SseStream("path", { events: [Progress] }).',
      ),
    );
  });

  it.each(['PUT', 'get', null, 7])('refuses the method %j where it is written', (method) => {
    expect(() => SseStream('path', { events: [NoteTaken], method: method as never })).toThrow(
      refused('INVALID_OPTION', `@SseStream: method must be "GET" or "POST", not ${JSON.stringify(method)}.`),
    );
  });

  it('refuses a class that is no event where it is written', () => {
    expect(() => SseStream('path', { events: [NoteTaken, Plain] })).toThrow(
      refused(
        'INVALID_EVENT_DEFINITION',
        'Class Plain is not an event; mark the class with @SseEvent("some.name") or use defineEvent("some.name", schema).',
      ),
    );
  });
});

/** Lets through what the metadata of a method says, and tells that it was asked. */
@Injectable()
class RoleGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const handler = context.getHandler();
    asked.push(`${context.getClass().name}.${handler.name}`);
    return this.reflector.get<string | undefined>('role', handler) === 'reader';
  }
}

const asked: string[] = [];

abstract class InheritedController {
  @SseStream('inherited/:text', { events: [NoteTaken] })
  inherited(@Param('text') text: string): Observable<NoteTaken> {
    return of(note(`${this.constructor.name} ${text}`));
  }
}

@Controller('notes')
class NotesController extends InheritedController {
  readonly #author = 'me';

  constructor(readonly bus: EventBus) {
    super();
  }

  @SetMetadata('role', 'reader')
  @UseGuards(RoleGuard)
  @Header('x-note', 'above')
  @Version('2')
  @SseStream('above', { events: [NoteTaken] })
  above() {
    return of(note('above'));
  }

  @SseStream('below', { events: [NoteTaken] })
  @SetMetadata('role', 'reader')
  @UseGuards(RoleGuard)
  @Header('x-note', 'below')
  @Version('2')
  below() {
    return of(note('below'));
  }

  @SseStream('refused', { events: [NoteTaken] })
  @UseGuards(RoleGuard)
  refused() {
    return of(note('never'));
  }

  @SseStream('bound/:text', { events: [NoteTaken] })
  bound(@Param('text') text: string, @Query('mark') mark = '!', unit = 'u', ...rest: unknown[]): Observable<NoteTaken> {
    return of(note(`${this.#author} ${text}${mark}${unit}${rest.length} ${this.bus instanceof EventBus}`));
  }

  @SseStream('reversed/:text', { events: [NoteTaken, noteDropped] })
  async *reversed(@Req() request: { url: string }, @Param('text') text: string) {
    yield note(text);
    yield noteDropped.of({ text: request.url });
  }

  @SseStream({ events: [NoteTaken] })
  async root(): Promise<Observable<NoteTaken>> {
    return of(note('root'));
  }
}

describe('a controller with @SseStream', () => {
  let app: INestApplication;
  let url: string;

  beforeEach(async () => {
    asked.length = 0;
    const testing = await Test.createTestingModule({
      imports: [SseChannelsModule.forRoot()],
      controllers: [NotesController],
    }).compile();
    app = testing.createNestApplication({ logger: false, forceCloseConnections: true });
    app.enableVersioning({ type: VersioningType.HEADER, header: 'x-version' });
    await app.listen(0, '127.0.0.1');
    url = `${await app.getUrl()}/notes`;
  });

  afterEach(() => app.close());

  const streamed = async (path: string, headers: Record<string, string> = {}): Promise<SseTestClient> =>
    (await SseTestClient.connect(url + path, { headers })).end();
  const texts = (client: SseTestClient): string[] => client.applicationEvents.map(({ data }) => data.text);

  it.each(['above', 'below'])('keeps what decorators %s it say of the method', async (where) => {
    const right = await streamed(`/${where}`, { 'x-version': '2' });
    const wrong = await streamed(`/${where}`, { 'x-version': '3' });

    expect([right.status, texts(right), right.headers['x-note']]).toEqual([200, [where], where]);
    expect(wrong.status).toBe(404);
    expect(asked).toEqual([`NotesController.${where}`]);
  });

  it('is refused by a guard that finds no metadata', async () => {
    expect((await streamed('/refused')).status).toBe(403);
  });

  it('calls the method on its controller, with the parameters as they are declared', async () => {
    expect(texts(await streamed('/bound/hello'))).toEqual(['me hello!u0 true']);
    expect(texts(await streamed('/bound/hello?mark=%3F'))).toEqual(['me hello?u0 true']);
    expect(texts(await streamed('/reversed/a%2Fb'))).toEqual(['a/b', '/notes/reversed/a%2Fb']);
  });

  it('may leave out the path, and may inherit its methods', async () => {
    expect(texts(await streamed(''))).toEqual(['root']);
    expect(texts(await streamed('/inherited/x'))).toEqual(['NotesController x']);
  });

  it('keeps the name of the method and marks it as a stream', () => {
    const { bound, reversed } = NotesController.prototype;

    expect([bound.name, reversed.name]).toEqual(['bound', 'reversed']);
    expect(Reflect.getMetadata(SSE_ROUTE, reversed)).toEqual({
      kind: 'stream',
      events: [NoteTaken, noteDropped],
      options: {},
    });
  });
});

function refused(code: string, message: string): Error {
  return expect.objectContaining({ code, message }) as unknown as Error;
}
