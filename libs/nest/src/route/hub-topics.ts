/** The topics of a hub's streams: each is given, or refused, by the route of its own channel. */
import { Injectable } from '@nestjs/common';
import type { Grant, RefusedTopic, TopicRequest, WantedTopic } from '@sse-channels/engine';
import type { Channel } from '@sse-channels/protocol';
import { ChannelUrls } from './channel-urls.js';
import type { Exchange } from './exchange.js';
import { mayComeBack } from './refusal.js';
import { isRefusal, RouteInquiries } from './route-inquiries.js';
import type { StreamRequest } from './stream-request.js';

/** How many routes are asked at a time for one stream. */
const INQUIRIES_AT_ONCE = 16;

/** A topic that was given. */
export interface GivenTopic {
  readonly request: TopicRequest;
  readonly grant: Grant;
}

/** What became of topics that were wanted. */
export interface TopicAnswers {
  readonly given: readonly GivenTopic[];
  readonly refused: readonly RefusedTopic[];
}

/** Who asks. */
export interface Asking {
  readonly channels: ReadonlyArray<Channel<any, any>>;
  readonly exchange: Exchange;
  readonly request: StreamRequest;
}

@Injectable()
export class HubTopics {
  constructor(
    private readonly urls: ChannelUrls,
    private readonly inquiries: RouteInquiries,
  ) {}

  /** Asks for each topic, as the request that opens the stream, or opened it. */
  async ask(wanted: readonly WantedTopic[], asking: Asking): Promise<TopicAnswers> {
    const given: GivenTopic[] = [];
    const refused: RefusedTopic[] = [];
    const waiting = [...wanted];
    const askInTurn = async (): Promise<void> => {
      for (let topic = waiting.shift(); topic !== undefined; topic = waiting.shift()) {
        const answer = await this.#askOne(topic, asking);
        if ('grant' in answer) given.push(answer);
        else refused.push(answer);
      }
    };
    await Promise.all(Array.from({ length: INQUIRIES_AT_ONCE }, askInTurn));
    return { given, refused };
  }

  async #askOne(
    { name, lastEventId }: WantedTopic,
    { channels, exchange, request }: Asking,
  ): Promise<GivenTopic | RefusedTopic> {
    const topic = channels.map((channel) => channel.topicNamed(name)).find((one) => one !== null);
    if (topic == null) return noSuchTopic(name);
    const answer = await this.inquiries.ask(this.urls.urlOf(topic), exchange.request, request);
    if (isRefusal(answer)) {
      const { status, message } = answer;
      // As where who is not signed in is sent to a page for that: whatever it is, the topic is not given.
      if (status < 400) {
        return {
          topic: name,
          status: 403,
          message: `The topic's route answered ${status}, and gave no topic.`,
          comeBack: false,
        };
      }
      return { topic: name, status, message, comeBack: mayComeBack(status) };
    }
    const found = answer.requests.find((one) => one.topic.name === name);
    if (found === undefined) {
      return { topic: name, status: 403, message: "The topic's route gave another topic.", comeBack: false };
    }
    return { request: lastEventId === undefined ? found : { ...found, lastEventId }, grant: answer.grant };
  }
}

/** The answer where no channel has a topic of that name. */
export function noSuchTopic(topic: string): RefusedTopic {
  return { topic, status: 404, message: 'There is no such topic here.', comeBack: false };
}
