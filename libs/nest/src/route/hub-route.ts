/** What a route of `@SseHub` does: one stream of many topics, each given by its own channel's route, added to and taken from while it is open. */
import {
  BadRequestException,
  HttpException,
  Inject,
  Injectable,
  NotFoundException,
  type ExecutionContext,
} from '@nestjs/common';
import {
  FOR_EVER,
  Hub,
  type FrameForm,
  type Grant,
  type Party,
  type TopicRequest,
  type TopicSource,
} from '@sse-channels/engine';
import {
  encodeFrame,
  PROTOCOL_VERSION,
  SseChannelsError,
  Topic,
  type Channel,
  type ErrorData,
  type OpenData,
  type OpenTopic,
} from '@sse-channels/protocol';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { ChannelUrls } from './channel-urls.js';
import type { Exchange } from './exchange.js';
import { isRefusal, RouteInquiries } from './route-inquiries.js';
import type { HubRouteOptions } from './sse-route.js';
import { StreamGrants } from './stream-grants.js';
import { StreamOpening } from './stream-opening.js';
import type { StreamRequest } from './stream-request.js';
import { handlerName, selectionOf } from './topic-selection.js';
import { topicsInBody, topicsInQuery, changesInBody, type WantedTopic } from './wanted-topics.js';

/** How many routes are asked at a time for one stream. */
const INQUIRIES_AT_ONCE = 16;

/** A stream that topics may be added to. */
interface OpenHubStream {
  readonly source: TopicSource;
  readonly route: HubRouteOptions;
  readonly exchange: Exchange;
  readonly request: StreamRequest;
  readonly party: Party;
  readonly form: FrameForm;
  /** Changes come one after the other. */
  changing: Promise<unknown>;
}

/** A topic that its channel's route gave. */
interface GivenTopic {
  readonly request: TopicRequest;
  readonly grant: Grant;
}

/** A topic that was not given; told as `$error`. */
type RefusedTopic = ErrorData & { readonly topic: string };

@Injectable()
export class HubRoute {
  readonly #streams = new Map<string, OpenHubStream>();

  constructor(
    private readonly hub: Hub,
    private readonly urls: ChannelUrls,
    private readonly inquiries: RouteInquiries,
    private readonly grants: StreamGrants,
    private readonly opening: StreamOpening,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

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
    const { wanted, form } = this.#wantedIn(context, exchange);
    const own = ownTopics(result, handlerName(context));
    this.#assertRoom(route, wanted.length + own.length);
    const { given, refused } = await this.#inquire(wanted, route, exchange, request);
    const topics = [...own, ...given];
    const [first] = refused;
    if (topics.length === 0 && first !== undefined && route.options.dynamic === false) {
      throw new HttpException(first.message, first.status);
    }
    const grant = await this.grants.grantOf(context, route);
    const requests = topics.map((topic) => topic.request);
    const source = await this.hub.joinMany(requests, request.lastEventId, { ...party, form });
    for (const topic of topics) if (topic.grant !== FOR_EVER) source.grant(topic.request.topic.name, topic.grant);
    for (const refusal of refused) source.say(errorFrame(refusal));
    const { heartbeatMs, retryMs } = this.settings;
    const plan = { source, heartbeatMs, retryMs, grant, compression: false };
    if (this.opening.open(exchange, request, plan, party) === null) return;
    // Who asks again and again names other topics the next time.
    if (route.options.dynamic === false || request.waitMs !== null) return;
    this.#streams.set(request.id, { source, route, exchange, request, party, form, changing: Promise.resolve() });
    exchange.onGone(() => this.#streams.delete(request.id));
  }

  /**
   * Adds topics to a stream that is open, and takes others out. Each is asked for as the request that opened the stream.
   * @throws NotFoundException where there is no such stream
   */
  async change(context: ExecutionContext, connection: string, exchange: Exchange): Promise<void> {
    const stream = this.#streams.get(connection);
    if (stream === undefined) throw new NotFoundException('There is no such stream; it may have ended meanwhile.');
    const { add, remove } = changesInBody(context.switchToHttp().getRequest<{ readonly body?: unknown }>().body);
    const changing = stream.changing.then(() => this.#change(stream, add, remove));
    stream.changing = changing.catch(() => undefined);
    exchange.answer(200, await changing);
  }

  async #change(stream: OpenHubStream, add: readonly WantedTopic[], remove: readonly string[]) {
    const { source, route, exchange, request, party, form } = stream;
    const removed = remove.filter((topic) => source.remove(topic, { reason: 'done', comeBack: false }));
    const wanted = add.filter(({ name }) => !source.has(name));
    this.#assertRoom(route, source.size + wanted.length);
    const { given, refused } = await this.#inquire(wanted, route, exchange, request);
    const added: string[] = [];
    for (const { request: topic, grant } of given) {
      const opening = (opened: OpenTopic, cursor: string): Buffer => this.#openFrame(request, opened, cursor);
      if (await this.hub.add(source, topic, grant, opening, { ...party, form })) added.push(topic.topic.name);
    }
    return { added, removed, refused };
  }

  #openFrame(request: StreamRequest, topic: OpenTopic, id: string): Buffer {
    const data: OpenData = {
      protocol: PROTOCOL_VERSION,
      connection: request.id,
      heartbeatMs: this.settings.heartbeatMs,
      topics: [topic],
    };
    return Buffer.from(encodeFrame({ id, event: '$open', data: JSON.stringify(data) }));
  }

  #wantedIn(context: ExecutionContext, exchange: Exchange): { wanted: WantedTopic[]; form: FrameForm } {
    const query = exchange.query;
    const frames = query.get('frames') ?? 'topic';
    if (frames !== 'topic' && frames !== 'envelope') {
      throw new BadRequestException(`frames is "topic" or "envelope", not ${JSON.stringify(frames)}.`);
    }
    const { body } = context.switchToHttp().getRequest<{ readonly body?: unknown }>();
    const wanted = exchange.request.method === 'POST' ? topicsInBody(body) : topicsInQuery(query);
    return { wanted, form: frames };
  }

  #assertRoom({ options }: HubRouteOptions, topics: number): void {
    const most = options.maxTopics ?? this.settings.limits.topicsPerConnection ?? Infinity;
    if (topics > most) throw new BadRequestException(`These are ${topics} topics; one stream carries ${most} at most.`);
  }

  async #inquire(
    wanted: readonly WantedTopic[],
    { options: { channels } }: HubRouteOptions,
    exchange: Exchange,
    request: StreamRequest,
  ): Promise<{ given: GivenTopic[]; refused: RefusedTopic[] }> {
    const given: GivenTopic[] = [];
    const refused: RefusedTopic[] = [];
    const waiting = [...wanted];
    const askInTurn = async (): Promise<void> => {
      for (let topic = waiting.shift(); topic !== undefined; topic = waiting.shift()) {
        const answer = await this.#ask(topic, channels, exchange, request);
        if ('grant' in answer) given.push(answer);
        else refused.push(answer);
      }
    };
    await Promise.all(Array.from({ length: INQUIRIES_AT_ONCE }, askInTurn));
    return { given, refused };
  }

  async #ask(
    { name, lastEventId }: WantedTopic,
    channels: ReadonlyArray<Channel<any, any>>,
    exchange: Exchange,
    request: StreamRequest,
  ): Promise<GivenTopic | RefusedTopic> {
    const topic = channels.map((channel) => channel.topicNamed(name)).find((one) => one !== null);
    if (topic == null) return { topic: name, status: 404, message: 'There is no such topic here.', comeBack: false };
    const answer = await this.inquiries.ask(this.urls.urlOf(topic), exchange.request, request);
    if (isRefusal(answer)) {
      const { status, message } = answer;
      return { topic: name, status, message, comeBack: status >= 500 || status === 408 || status === 429 };
    }
    const found = answer.requests.find((one) => one.topic.name === name);
    if (found === undefined) {
      return { topic: name, status: 403, message: "The topic's route gave another topic.", comeBack: false };
    }
    return { request: lastEventId === undefined ? found : { ...found, lastEventId }, grant: answer.grant };
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
