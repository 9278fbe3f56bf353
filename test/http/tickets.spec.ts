import type { Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  Module,
  Param,
  Post,
  Req,
  UnauthorizedException,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { createSseClient, hub, type SseHubClientOptions } from '@sse-channels/client';
import {
  defineChannel,
  EventBus,
  SseChannel,
  SseChannelsModule,
  SseEvent,
  SseHub,
  SseTickets,
} from '@sse-channels/nest';
import { eventually, SharedMemory, SseTestClient, type SharedMemoryNode } from '@sse-channels/testing';
import { IsInt } from 'class-validator';
import { adapters, startApp, type RunningApp } from './adapters.js';

@SseEvent('count.told')
class CountTold {
  static readonly eventName = 'count.told';
  @IsInt() n!: number;
}

const countsChannel = defineChannel('counts/:user', { events: [CountTold] });
const newsChannel = defineChannel('news/:subject', { events: [CountTold] });

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
    if (request.user === null) throw new UnauthorizedException();
    return true;
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

  @SseChannel(newsChannel, 'news/:subject')
  news(@Param('subject') subject: string) {
    return newsChannel.topic({ subject });
  }

  @SseHub('live', { channels: [countsChannel, newsChannel], reauthorizeMs: 100 })
  live() {}
}

const SECRET = 'a secret of tickets, the same on both nodes';

describe.each(adapters)('tickets on $adapter', ({ make }) => {
  let shared: SharedMemory;
  const running: Array<RunningApp & { readonly line: SharedMemoryNode }> = [];
  const clients: Array<{ leave(): void }> = [];

  const start = async (secret: string | string[] = SECRET, heartbeatMs = 100) => {
    const line = shared.node();
    @Module({
      imports: [
        SseChannelsModule.forRoot({
          backplane: line,
          heartbeatMs,
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

    expect([again.map(({ status }) => status), foreign.status]).toEqual([[401, 401], 403]);
    // Whoever has spent it may not have been given anything.
    expect((await connect(a, 'counts/alice', other)).status).toBe(401);
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

  /** The client of the house on a hub, with what it asks for tickets with. */
  const follow = (node: RunningApp, options: Pick<SseHubClientOptions, 'query' | 'onUnauthorized' | 'fetch'>) => {
    const client = createSseClient<typeof countsChannel | typeof newsChannel>(`${node.url}/live`, {
      hub,
      retryMs: 10,
      maxRetryMs: 50,
      ...options,
    });
    clients.push({ leave: client.close });
    const numbers: number[] = [];
    const listen = <S extends { on(name: 'count.told', handler: (event: CountTold) => void): unknown }>(way: S): S => {
      way.on('count.told', ({ n }) => numbers.push(n));
      return way;
    };
    return { client, numbers, listen };
  };
  type Followed = ReturnType<typeof follow>['client'];
  const counts = (client: Followed, user: string) => client.subscribe('counts/:user', { user });
  const news = (client: Followed, subject: string) => client.subscribe('news/:subject', { subject });
  const publish = ({ app }: RunningApp, subject: string, n: number): Promise<string> =>
    app.get(EventBus).publish(newsChannel.topic({ subject }), CountTold, { n });
  const cutAll = ({ app }: RunningApp): void => (app.getHttpServer() as Server).closeAllConnections();

  it('carry a client of a hub through its changes and reconnects, where each of its requests brings a new one', async () => {
    const a = await start(SECRET, 10_000);
    const asked: string[] = [];
    const { client, numbers, listen } = follow(a, {
      query: async () => ({ ticket: await issue(a) }),
      fetch: (url, init) => {
        asked.push(`${init.method} ${new URL(url).searchParams.get('ticket')}`);
        return fetch(url, init);
      },
    });
    const own = listen(counts(client, 'alice'));
    await eventually(() => own.state.status === 'open', 'the stream');
    const [later, foreign] = [listen(news(client, 'one')), listen(counts(client, 'bob'))];
    await eventually(() => later.state.status === 'open' && foreign.state.status === 'closed', 'the change');
    await publish(a, 'one', 1);
    await eventually(() => numbers.length === 1, 'an event of the topic that was added');
    cutAll(a);
    await publish(a, 'one', 2);
    await eventually(() => numbers.length === 2, 'what was published while it was away');
    later.close();
    await eventually(() => a.app.get(EventBus).connections.count({ topic: 'news/one' }) === 0, 'the topic taken out');

    expect(foreign.state.error).toMatchObject({ status: 403 });
    expect([own.state.status, numbers]).toEqual(['open', [1, 2]]);
    expect(asked.map((one) => one.split(' ')[0])).toEqual(['GET', 'POST', 'GET', 'POST']);
    expect(new Set(asked.map((one) => one.split(' ')[1])).size).toBe(4);
  });

  it('are asked for again by a client that keeps one, whenever a request is answered 401', async () => {
    const a = await start(SECRET, 10_000);
    let ticket = await issue(a);
    let renewals = 0;
    const { client, numbers, listen } = follow(a, {
      query: () => ({ ticket }),
      onUnauthorized: async () => {
        renewals += 1;
        ticket = await issue(a);
      },
    });
    for (const [before, subject] of ['one', 'two', 'three'].entries()) {
      const way = listen(news(client, subject));
      await eventually(() => way.state.status === 'open', 'the topic');
      expect(renewals).toBe(before);
    }
    cutAll(a);
    await publish(a, 'three', 1);
    await eventually(() => numbers.length === 1, 'an event after the cut');
    expect(renewals).toBe(3);
  });

  it('end a client that has none but a spent one, with what was answered', async () => {
    const a = await start(SECRET, 10_000);
    const ticket = await issue(a);
    const { client, listen } = follow(a, { query: { ticket } });
    const first = listen(news(client, 'one'));
    await eventually(() => first.state.status === 'open', 'the stream');
    const second = listen(news(client, 'two'));
    await eventually(() => second.state.status === 'closed', 'the change is refused');
    expect([first.state.status, second.state.error]).toEqual(['open', expect.objectContaining({ status: 401 })]);
    cutAll(a);
    await eventually(() => client.state.status === 'closed', 'the end');
    expect(client.state).toMatchObject({ reason: 'refused', error: { status: 401 } });
  });

  it('let nobody change the stream of another, who has its id and a ticket of their own', async () => {
    const [a, b] = [await start(), await start()];
    const client = await (await connect(b, 'live?topic=counts/alice', await issue(a))).opened();
    const change = async (node: RunningApp, ticket: string) => {
      const { status } = await fetch(`${node.url}/live/${client.open!.connection}?ticket=${ticket}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ remove: ['counts/alice'] }),
      });
      return status;
    };
    const [bobs, hers] = [await issue(a, 'bob'), await issue(a)];
    await eventually(() => a.app.get(EventBus).connections.everywhere.nodes().length === 2, 'they know each other');
    const statuses = [
      await change(b, bobs),
      await change(b, bobs),
      await change(a, await issue(a, 'bob')),
      await change(b, ''),
      await change(a, hers),
    ];
    expect(statuses).toEqual([404, 401, 404, 401, 200]);
  });

  it('are spent once, however many come with one at the same time, on whichever node', async () => {
    const nodes = [await start(), await start()];
    const ticket = await issue(nodes[0]!);
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => connect(nodes[n % 2]!, 'counts/alice', ticket)));
    const statuses = all.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200).length).toBe(1);
    expect(statuses.filter((status) => status === 401).length).toBe(19);
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

    expect(statuses).toEqual(statuses.map(() => 401));
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
