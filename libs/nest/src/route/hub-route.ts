/** What a route of `@SseHub` does: one stream of many topics, each given by its own channel's route, added to and taken from while it is open. */
import {
  BadRequestException,
  HttpException,
  Inject,
  Injectable,
  MethodNotAllowedException,
  NotFoundException,
  type ExecutionContext,
} from '@nestjs/common';
import {
  ChannelRegistry,
  EventBus,
  FOR_EVER,
  Hub,
  Nodes,
  type FrameForm,
  type Grant,
  type Observer,
  type Party,
  type RefusedTopic,
  type WantedTopic,
} from '@sse-channels/engine';
import { encodeFrame, LimitError, SseChannelsError, Topic } from '@sse-channels/protocol';
import { SSE_CHANNELS_OBSERVER, SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import type { Exchange } from './exchange.js';
import { HubStream, refusedFor } from './hub-stream.js';
import { HubTopics, type GivenTopic } from './hub-topics.js';
import { errorDataOf } from './refusal.js';
import type { HubRouteOptions } from './sse-route.js';
import { StreamGrants } from './stream-grants.js';
import { StreamOpening } from './stream-opening.js';
import type { StreamRequest } from './stream-request.js';
import { handlerName, selectionOf } from './topic-selection.js';
import { changesInBody, namesFor, topicsInBody, topicsInQuery } from './wanted-topics.js';

/** Where topics are in the body; the others have them in the URL. */
const WITH_BODY = new Set(['POST', 'QUERY']);
const METHODS = new Set(['GET', 'HEAD', ...WITH_BODY]);
const CHANGE_METHODS = new Set(['POST']);

@Injectable()
export class HubRoute {
  constructor(
    private readonly hub: Hub,
    private readonly bus: EventBus,
    private readonly nodes: Nodes,
    private readonly channels: ChannelRegistry,
    private readonly topics: HubTopics,
    private readonly grants: StreamGrants,
    private readonly opening: StreamOpening,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
    @Inject(SSE_CHANNELS_OBSERVER) private readonly observer: Observer,
  ) {}

  /** What the ids of streams end with. */
  get mark(): string {
    return this.nodes.mark;
  }

  /**
   * Sees whether a request may be one for a stream, or, with a connection, for a change of it: the route is there for every method.
   * @throws MethodNotAllowedException
   */
  checkMethod(exchange: Exchange, connection: string | null): void {
    const allowed = connection === null ? METHODS : CHANGE_METHODS;
    if (allowed.has(exchange.request.method ?? '')) return;
    const names = [...allowed].join(', ');
    exchange.setHeader('Allow', names);
    throw new MethodNotAllowedException(`This is for ${names}.`);
  }

  /** The connection that a request is about to change; null where it opens a stream. */
  connectionIn(context: ExecutionContext): string | null {
    const { params } = context.switchToHttp().getRequest<{ readonly params?: { readonly connection?: unknown } }>();
    return typeof params?.connection === 'string' ? params.connection : null;
  }

  /**
   * Opens a stream with the topics that the request names, and those that the hub's own handler returned.
   * @throws HttpException where nothing of it can be given, SseChannelsError as the hub's `join`
   */
  async open(
    context: ExecutionContext,
    route: HubRouteOptions,
    result: unknown,
    exchange: Exchange,
    request: StreamRequest,
    party: Party,
  ): Promise<void> {
    const { channels, dynamic = true } = route.options;
    const most = this.#mostOf(route);
    const { wanted, form } = this.#wantedIn(context, exchange, most);
    // The client may have a cursor of its own in what every stream carries; asked for it is not.
    const cursors = new Map(wanted.map(({ name, lastEventId }) => [name, lastEventId]));
    const own = [...this.#ofPrincipal(party), ...ownTopics(result, handlerName(context))].map(
      ({ request: topic, grant }) => {
        const cursor = cursors.get(topic.topic.name);
        return { request: cursor === undefined ? topic : { ...topic, lastEventId: cursor }, grant };
      },
    );
    const carried = new Set(own.map(({ request: { topic } }) => topic.name));
    const others = wanted.filter(({ name }) => !carried.has(name));
    const room = Math.max(0, most - own.length);
    const asking = { channels, exchange, request };
    const answers = await this.topics.ask(others.slice(0, room), asking);
    // One that is full is refused alone.
    const given = answers.given.filter(({ request: { topic } }) => this.hub.hasRoom(topic));
    const full = answers.given.filter((one) => !given.includes(one));
    const perTopic = errorDataOf(new LimitError('perTopic', this.settings.limits.perTopic ?? 0));
    const refused = [
      ...answers.refused,
      ...full.map(({ request: { topic } }) => ({ ...perTopic, topic: topic.name })),
      ...refusedFor(most, others.slice(room)),
    ];
    const topics = [...own, ...given];
    const [first] = refused;
    if (topics.length === 0 && first !== undefined && !dynamic) throw new HttpException(first.message, first.status);
    const streamGrant = await this.grants.grantOf(context, route);
    const requests = topics.map((topic) => topic.request);
    const source = await this.hub.joinMany(requests, request.lastEventId, { ...party, form });
    for (const topic of topics) if (topic.grant !== FOR_EVER) source.grant(topic.request.topic.name, topic.grant);
    for (const refusal of refused) source.say(errorFrame(refusal));
    const { heartbeatMs, retryMs } = this.settings;
    const plan = { source, heartbeatMs, retryMs, grant: streamGrant, compression: false };
    const parts = { hub: this.hub, topics: this.topics, channels: this.channels, observer: this.observer };
    const stream = new HubStream({ ...parts, source, asking, party, form, heartbeatMs, most, dynamic });
    // Who asks again and again names other topics the next time.
    this.opening.open(exchange, request, request.waitMs === null ? { ...plan, stream } : plan, party);
  }

  /**
   * Adds topics to a stream that is open, on whatever node, and takes others out. Each is asked for as the request that opened the
   * stream.
   * @throws NotFoundException where there is no such stream, SseChannelsError `UNAVAILABLE` where its node cannot be reached
   */
  async change(
    context: ExecutionContext,
    route: HubRouteOptions,
    connection: string,
    exchange: Exchange,
  ): Promise<void> {
    const request = context.switchToHttp().getRequest<{ readonly body?: unknown }>();
    const changes = changesInBody(request.body, namesFor(this.#mostOf(route)));
    const changed = await this.nodes.change(connection, {
      ...changes,
      by: 'client',
      principal: this.settings.principal(request),
    });
    if (changed === null) throw new NotFoundException('There is no such stream; it may have ended meanwhile.');
    exchange.answer(200, changed);
  }

  /** The topic of whom the stream is of. */
  #ofPrincipal({ principal }: Party): GivenTopic[] {
    if (this.settings.principalChannel === null || principal === null || principal === '') return [];
    return [{ request: { topic: this.bus.toPrincipal(principal) }, grant: FOR_EVER }];
  }

  /** The most topics of a stream; Infinity where there is no limit. */
  #mostOf({ options: { maxTopics = Infinity } }: HubRouteOptions): number {
    return Math.min(maxTopics, this.settings.limits.topicsPerConnection ?? Infinity);
  }

  #wantedIn(
    context: ExecutionContext,
    exchange: Exchange,
    most: number,
  ): { readonly wanted: readonly WantedTopic[]; readonly form: FrameForm } {
    const query = exchange.query;
    const frames = query.get('frames') ?? 'topic';
    if (frames !== 'topic' && frames !== 'envelope') {
      throw new BadRequestException(`frames is "topic" or "envelope", not ${JSON.stringify(frames)}.`);
    }
    const { body } = context.switchToHttp().getRequest<{ readonly body?: unknown }>();
    const names = namesFor(most);
    const isInBody = WITH_BODY.has(exchange.request.method ?? '');
    return { wanted: isInBody ? topicsInBody(body, names) : topicsInQuery(query, names), form: frames };
  }
}

/** Topics that the hub's handler gives to every stream, of whatever channel. */
function ownTopics(result: unknown, handler: string): GivenTopic[] {
  if (result === undefined || result === null) return [];
  return [result].flat().map((entry: unknown) => {
    const named = entry instanceof Topic ? entry : (entry as { readonly topic?: unknown } | null)?.topic;
    if (!(named instanceof Topic)) {
      throw new SseChannelsError(
        'INVALID_HANDLER_RESULT',
        `${handler} returned what is no topic; return topics that every stream of the hub carries, or nothing.`,
      );
    }
    const { topic, start, filter, expiresAt } = selectionOf(entry, named.channel, handler);
    const grant: Grant = expiresAt === undefined ? FOR_EVER : { endsAt: Number(expiresAt) };
    return { request: { topic, start, filter }, grant };
  });
}

function errorFrame(error: RefusedTopic): Buffer {
  return Buffer.from(encodeFrame({ event: '$error', data: JSON.stringify(error) }));
}
