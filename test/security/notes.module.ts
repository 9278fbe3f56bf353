/** The application that the security tests attack: notes of owners, streams of one connection, and doors for all that is hostile. */
import {
  Body,
  CanActivate,
  Controller,
  ExecutionContext,
  HttpException,
  Injectable,
  Module,
  Param,
  Post,
  Query,
  SseSignal,
  UseGuards,
} from '@nestjs/common';
import {
  defineChannel,
  defineEvent,
  EventBus,
  formatCursor,
  formatOffset,
  LastEventId,
  replayFrom,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseStream,
} from '@sse-channels/nest';
import { IsObject, IsOptional, IsString } from 'class-validator';
import { concat, from, NEVER, Observable, of } from 'rxjs';
import { z } from 'zod';

@SseEvent('note.taken')
export class NoteTaken {
  @IsString() text!: string;
  @IsOptional() @IsObject() meta?: object;
}

/** A schema that lets everything through: what is refused then, the library refuses. */
export const anythingSaid = defineEvent('anything.said', z.any());

export const notesChannel = defineChannel('notes/:owner/:title', {
  events: [NoteTaken, anythingSaid],
  replay: { maxEvents: 100, maxBytes: 8_000_000 },
  retryMs: 20,
});

/** Answers with the status that the path asks for, as an application's own guard would. */
@Injectable()
export class RefusingGuard implements CanActivate {
  static readonly asked: number[] = [];

  canActivate(context: ExecutionContext): boolean {
    const { params } = context.switchToHttp().getRequest<{ params: { status: string } }>();
    const status = Number(params.status);
    RefusingGuard.asked.push(status);
    throw new HttpException('No', status);
  }
}

@Controller('notes')
export class NotesController {
  constructor(private readonly bus: EventBus) {}

  @SseChannel(notesChannel, ':owner/:title/events')
  events(@Param('owner') owner: string, @Param('title') title: string) {
    return notesChannel.topic({ owner, title });
  }

  /** An application that trusts its query string. */
  @SseChannel(notesChannel, 'found')
  found(@Query() query: { owner: string; title: string }) {
    return notesChannel.topic(query);
  }

  @SseChannel(notesChannel, 'later')
  async later(@Query('owner') owner: string) {
    return [notesChannel.topic({ owner: 'a', title: 'b' }), notesChannel.topic({ owner, title: 'x' })];
  }

  @SseChannel(notesChannel, 'refused/:status')
  @UseGuards(RefusingGuard)
  refused() {
    return notesChannel.topic({ owner: 'a', title: 'b' });
  }

  /** A handler with a mistake, which is no fault of the request. */
  @SseChannel(notesChannel, 'mistaken')
  mistaken(): any {
    return undefined;
  }

  @Post(':owner/:title')
  async take(@Param('owner') owner: string, @Param('title') title: string, @Body() body: NoteTaken) {
    return { cursor: await this.bus.publish(notesChannel.topic({ owner, title }), NoteTaken, body) };
  }
}

@Controller('streams')
export class StreamsController {
  /** What `placed` gives its item as a cursor. */
  static cursor = '';

  @SseStream('asked', { events: [NoteTaken], method: 'POST' })
  asked(@Body() body: unknown): Observable<NoteTaken> {
    return of(note(typeof body));
  }

  @SseStream('over', { events: [NoteTaken] })
  over(): Observable<NoteTaken> {
    return of(note('the last'));
  }

  @SseStream('placed', { events: [NoteTaken] })
  placed() {
    return of({ event: note('placed'), cursor: StreamsController.cursor });
  }

  @SseStream('numbered', { events: [NoteTaken] })
  numbered(@LastEventId() lastEventId: string | null, @SseSignal() _signal: AbortSignal) {
    const items = [1, 2, 3].map((n) => ({ event: note(String(n)), cursor: formatCursor('run', formatOffset(n, 0)) }));
    return concat(from(items), NEVER).pipe(replayFrom(lastEventId));
  }
}

export function note(text: string): NoteTaken {
  return Object.assign(new NoteTaken(), { text });
}

@Module({
  imports: [SseChannelsModule.forRoot({ heartbeatMs: 10_000, retryMs: 20 })],
  controllers: [NotesController, StreamsController],
})
export class NotesModule {}
