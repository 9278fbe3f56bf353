import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Module,
  Param,
  Post,
  Req,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  SseTickets,
} from '@sse-channels/nest';
import { SharedMemory, SseTestClient, type SharedMemoryNode } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:user', { events: [CountTold] });

interface Asking {
  readonly headers: Readonly<Record<string, string>>;
  readonly params: { readonly user?: string };
  user?: { readonly id: string } | null;
}

/** Knows a user by a header, or by a ticket. */
@Injectable()
class SignedIn implements CanActivate {
  constructor(private readonly tickets: SseTickets) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<Asking>();
    const { authorization } = request.headers;
    const claims = (await this.tickets.of(request)) as { id: string } | null;
    request.user = claims ?? (authorization === undefined ? null : { id: authorization });
    return request.user !== null;
  }
}

/** Counts are of the user by whose name they are. */
@Injectable()
class IsTheirs implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { user, params } = context.switchToHttp().getRequest<Asking>();
    return user?.id === params.user;
  }
}

@Controller()
@UseGuards(SignedIn)
class CountsController {
  constructor(private readonly tickets: SseTickets) {}

  @Post('tickets')
  ticket(@Req() request: Asking) {
    return { ticket: this.tickets.issue({ id: request.user?.id }) };
  }

  @SseChannel(countsChannel, 'counts/:user')
  @UseGuards(IsTheirs)
  counts(@Param('user') user: string) {
    return countsChannel.topic({ user });
  }

  @SseHub('live', { channels: [countsChannel], reauthorizeMs: 100 })
  live() {}
}

const SECRET = 'a secret of tickets, the same on both nodes';

describe.each(adapters)('tickets on $adapter', ({ make }) => {
  let shared: SharedMemory;
  const running: Array<RunningApp & { readonly line: SharedMemoryNode }> = [];
  const clients: SseTestClient[] = [];

  const start = async (secret: string | string[] = SECRET) => {
    const line = shared.node();
    @Module({
      imports: [
        SseChannelsModule.forRoot({
          backplane: line,
          heartbeatMs: 100,
          reauthorizeMs: 100,
          drain: { windowMs: 0, graceMs: 200 },
          tickets: { secret },
        }),
      ],
      controllers: [CountsController],
    })
    class TicketsModule {}
    const node = { ...(await startApp(make, TicketsModule)), line };
    running.push(node);
    return node;
  };
  const issue = async ({ url }: RunningApp, user = 'alice'): Promise<string> => {
    const response = await fetch(`${url}/tickets`, { method: 'POST', headers: { authorization: user } });
    return ((await response.json()) as { ticket: string }).ticket;
  };
  /** As an EventSource does it: no header but `Accept`. */
  const connect = async ({ url }: RunningApp, path: string, ticket: string): Promise<SseTestClient> => {
    const client = await SseTestClient.connect(`${url}/${path}${path.includes('?') ? '&' : '?'}ticket=${ticket}`);
    clients.push(client);
    return client;
  };

  beforeEach(() => {
    shared = new SharedMemory();
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await Promise.all(running.splice(0).map(({ app }) => app.close()));
  });

  it('open one stream, on any node, for whom they were issued to', async () => {
    const [a, b] = [await start(), await start()];
    const [ticket, other] = [await issue(a), await issue(a)];
    const client = await (await connect(b, 'counts/alice', ticket)).opened();
    const again = [await connect(a, 'counts/alice', ticket), await connect(b, 'counts/alice', ticket)];
    const foreign = await connect(b, 'counts/bob', other);
    await a.app.get(EventBus).publish(countsChannel.topic({ user: 'alice' }), CountTold, { n: 1 });
    await client.receive(1);

    expect([again.map(({ status }) => status), foreign.status]).toEqual([[403, 403], 403]);
    // Whoever has spent it may not have been given anything.
    expect((await connect(a, 'counts/alice', other)).status).toBe(403);
    expect(
      b.app
        .get(EventBus)
        .connections.list()
        .map(({ principal }) => principal),
    ).toEqual(['alice']);
  });

  it('hold for the routes that a hub asks, for topics that are added, and for guards that are asked again', async () => {
    const [a, b] = [await start(), await start()];
    const client = await (await connect(b, 'live?topic=counts/alice&topic=counts/bob', await issue(a))).opened();
    const { connection } = client.open!;
    const change = async (body: object) =>
      (
        await fetch(`${b.url}/live/${connection}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: 'alice' },
          body: JSON.stringify(body),
        })
      ).json() as Promise<Record<string, unknown>>;
    await change({ remove: ['counts/alice'] });
    const changed = await change({ add: ['counts/alice'] });
    // Guards were asked several times.
    await client.until(({ comments }) => comments >= 4, 'four heartbeats');
    await a.app.get(EventBus).publish(countsChannel.topic({ user: 'alice' }), CountTold, { n: 1 });
    await client.receive(1);

    expect(client.named('$error').map(({ data }) => [data.topic, data.status])).toEqual([['counts/bob', 403]]);
    expect([changed['added'], client.ended]).toEqual([['counts/alice'], false]);
  });

  it('are spent once, however many come with one at the same time, on whichever node', async () => {
    const nodes = [await start(), await start()];
    const ticket = await issue(nodes[0]!);
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => connect(nodes[n % 2]!, 'counts/alice', ticket)));
    const statuses = all.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200).length).toBe(1);
    expect(statuses.filter((status) => status === 403).length).toBe(19);
  });

  it('are none when they are changed, made with another secret, or too old; a new secret takes those of the old one', async () => {
    const [a, strange, renewed] = [
      await start(),
      await start(`${SECRET} of somebody else`),
      await start([`${SECRET} by now`, SECRET]),
    ];
    const ticket = await issue(a);
    const at = 20;
    const changed = `${ticket.slice(0, at)}${ticket[at] === 'A' ? 'B' : 'A'}${ticket.slice(at + 1)}`;
    const none = [changed, ticket.slice(0, -4), '', 'x', 'A'.repeat(100), 'A'.repeat(6_000)];
    const statuses = [];
    for (const one of none) statuses.push((await connect(a, 'counts/alice', one)).status);
    statuses.push((await connect(strange, 'counts/alice', ticket)).status);
    const old = new SseTickets(shared.node(), { of: () => undefined }, { secret: SECRET, ttlMs: -1 });
    statuses.push((await connect(a, 'counts/alice', old.issue({ id: 'alice' }))).status);

    expect(statuses).toEqual(statuses.map(() => 403));
    expect((await connect(renewed, 'counts/alice', ticket)).status).toBe(200);
    expect(Buffer.from(ticket, 'base64url').toString('latin1')).not.toContain('alice');
  });

  it('are not taken while nobody can know whether they are spent', async () => {
    const a = await start();
    const ticket = await issue(a);
    a.line.cut();
    const cut = await connect(a, 'counts/alice', ticket);
    a.line.mend();
    expect([cut.status, (await connect(a, 'counts/alice', ticket)).status]).toEqual([503, 200]);
  });

  it('are not made without a secret, nor of what is no claim', async () => {
    const none = new SseTickets(shared.node(), { of: () => undefined }, null);
    const some = new SseTickets(shared.node(), { of: () => undefined }, { secret: SECRET });
    expect(() => none.issue({ id: 'alice' })).toThrow('Tickets need a secret that all nodes have');
    for (const claims of [null, undefined, () => 1, 'x'.repeat(2_047)]) {
      expect(() => some.issue(claims)).toThrow('issue: the claims must be JSON of at most 2048 bytes');
    }
    expect(some.issue('x'.repeat(2_046)).length).toBeLessThan(4_096);
  });
});
